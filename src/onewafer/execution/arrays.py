"""Arrays: comparison of their bits, and conversion to another format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onewafer.mesh import numpy_dtype

if TYPE_CHECKING:
    from onewafer.graph import DataType

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by the names of tensors."""

_BITS = {size: np.dtype(f"i{size}") for size in (1, 2, 4, 8)}
"""Bytes of a number → the integer type of that size, for comparing bits."""


def is_same(array: NDArray[Any], sent: NDArray[Any] | None) -> bool:
    """Tell whether two arrays have the same bits.

    All bits are compared at each call: a write through `.data` or NumPy leaves no other trace.
    """
    if sent is None or (array.dtype, array.shape) != (sent.dtype, sent.shape):
        return False
    bits = _BITS[array.itemsize]
    return bool((array.view(bits) == sent.view(bits)).all())


def convert(array: NDArray[Any], dtype: DataType) -> NDArray[Any]:
    """Return the elements in another format, infinite where they are beyond its range."""
    with np.errstate(over="ignore"):
        return array.astype(numpy_dtype(dtype))
