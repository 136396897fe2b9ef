"""Operations that depend on tokens and positions: lookups, rotation, one row of many."""

from onewafer.mesh.tokens.gradients import AddPositions, AddTokens, PlaceRow, PlaceRowAt, TurnAngles
from onewafer.mesh.tokens.operations import (
    LookUpPositions,
    LookUpTokens,
    Rotate,
    TakeLastRows,
    TakeRow,
    TakeRowAt,
)

__all__ = [
    "AddPositions",
    "AddTokens",
    "LookUpPositions",
    "LookUpTokens",
    "PlaceRow",
    "PlaceRowAt",
    "Rotate",
    "TakeLastRows",
    "TakeRow",
    "TakeRowAt",
    "TurnAngles",
]
