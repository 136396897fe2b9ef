"""Values of a graph: a name, a logical shape and a storage type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class DataType(StrEnum):
    """Storage type of a tensor's elements."""

    F16 = "f16"
    F32 = "f32"
    I32 = "i32"
    """Indices of rows in a table or of features; nothing is computed with them."""

    @property
    def num_bytes(self) -> int:
        """Bytes of one element."""
        match self:
            case DataType.F16:
                return 2
            case DataType.F32 | DataType.I32:
                return 4


FLOATING = (DataType.F16, DataType.F32)
"""The types that a wafer computes in."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value with a name, a logical shape and a storage type."""

    name: str
    shape: tuple[int, ...]
    dtype: DataType

    @property
    def is_floating(self) -> bool:
        """True if it is computed with, and no indices."""
        return self.dtype in FLOATING

    @property
    def num_elements(self) -> int:
        """Product of the dimensions."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of all elements, unpadded."""
        return self.num_elements * self.dtype.num_bytes
