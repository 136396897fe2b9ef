"""Tensors of a graph: a name, a logical shape and a storage type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class DataType(StrEnum):
    """Storage type of a tensor's elements."""

    F16 = "f16"
    F32 = "f32"
    I32 = "i32"
    """Indices of rows in a table or of features; no arithmetic."""

    @property
    def num_bytes(self) -> int:
        """Bytes of one element."""
        match self:
            case DataType.F16:
                return 2
            case DataType.F32 | DataType.I32:
                return 4


FLOATING = (DataType.F16, DataType.F32)
"""The types in which a wafer computes."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor with a logical shape and a storage type."""

    name: str
    shape: tuple[int, ...]
    dtype: DataType

    @property
    def is_floating(self) -> bool:
        """True for numbers, false for indices."""
        return self.dtype in FLOATING

    @property
    def num_elements(self) -> int:
        """The product of the dimensions."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """The bytes of all elements, without padding."""
        return self.num_elements * self.dtype.num_bytes
