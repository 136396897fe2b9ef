"""Operations that know which tokens the rows are."""

from onewafer.mesh.tokens.operations import (
    LookUpPositions,
    LookUpTokens,
    Rotate,
    TakeLastRows,
    TakeRow,
)

__all__ = ["LookUpPositions", "LookUpTokens", "Rotate", "TakeLastRows", "TakeRow"]
