"""Helpers of SDK programs for 16-bit data in 32-bit containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def memcpy_view(container: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return a writable view of a container of 32-bit words as values of a 16- or 32-bit type.

    The shape stays: a 16-bit value is the low half of its word. Nothing is copied.

    >>> words = np.array([0x3C00, 0x4000], np.uint32)
    >>> memcpy_view(words, np.float16)
    array([1., 2.], dtype=float16)

    Raises:
        HostError: the container's elements are not 32-bit, or the type is neither 16 nor 32.
    """
    element = np.dtype(dtype)
    if container.dtype.itemsize != 4:  # noqa: PLR2004 - bytes of a word
        raise HostError(f"memcpy_view needs a container of 32-bit words, not {container.dtype}")
    match element.itemsize:
        case 4:
            return container.view(element)
        case 2:
            halves = np.dtype([("low", element), ("high", element)])
            return container.view(halves)["low"]
        case _:
            raise HostError(f"memcpy_view reads 16- or 32-bit types, not {element}")


def input_array_to_u32(
    np_arr: NDArray[Any], sentinel: int | None, fast_dim_sz: int
) -> NDArray[np.uint32]:
    """Return 16-bit values widened to 32-bit words, in the shape of the input.

    With `sentinel` None the high half is zero; otherwise it is the running index modulo
    `fast_dim_sz`, which a data task with two arguments receives beside the value.

    >>> input_array_to_u32(np.array([7, 8, 9], np.int16), None, 1)
    array([7, 8, 9], dtype=uint32)
    >>> [hex(word) for word in input_array_to_u32(np.array([7, 8, 9], np.int16), 1, 2)]
    ['0x7', '0x10008', '0x9']

    Raises:
        HostError: the values are not 16-bit, or the indices do not fit 16 bits.
    """
    if np_arr.dtype.itemsize != 2:  # noqa: PLR2004 - bytes of a half word
        raise HostError(f"input_array_to_u32 widens 16-bit arrays, not {np_arr.dtype}")
    words = np.ascontiguousarray(np_arr).view("<u2").astype(np.uint32).reshape(np_arr.shape)
    if sentinel is None:
        return words
    if not 1 <= fast_dim_sz <= 2**16:
        raise HostError(f"fast_dim_sz is {fast_dim_sz}, but an index has 16 bits: 1 to 65536")
    indices = np.arange(words.size).reshape(words.shape) % fast_dim_sz
    return words | indices.astype(np.uint32) << np.uint32(16)
