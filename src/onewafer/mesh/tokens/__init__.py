"""Operations that know which tokens the rows are."""

from onewafer.mesh.tokens.gradients import AddPositions, AddTokens, PlaceRow, TurnAngles
from onewafer.mesh.tokens.operations import (
    LookUpPositions,
    LookUpTokens,
    Rotate,
    TakeLastRows,
    TakeRow,
)

__all__ = [
    "AddPositions",
    "AddTokens",
    "LookUpPositions",
    "LookUpTokens",
    "PlaceRow",
    "Rotate",
    "TakeLastRows",
    "TakeRow",
    "TurnAngles",
]
