"""The params that differ between PEs of one role, which decide the cost of compiling."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Variant(StrEnum):
    """The values of the param `place` of the whole-wafer programs."""

    SAME = "same"
    """It is 0 everywhere."""
    BY_COLUMN = "by-column"
    """It is x."""
    BY_PE = "by-pe"
    """It is y · width + x."""

    @property
    def number(self) -> int:
        """The value of the programs' param `kind`."""
        return list(Variant).index(self)

    def places(self, width: int, height: int) -> NDArray[np.int64]:
        """Return `place` of every PE, `[height, width]`."""
        y, x = np.mgrid[:height, :width]
        match self:
            case Variant.SAME:
                return np.zeros((height, width), np.int64)
            case Variant.BY_COLUMN:
                return x
            case Variant.BY_PE:
                return y * width + x
