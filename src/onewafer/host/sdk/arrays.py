"""`sdk_utils`: 16-bit data packed into 32-bit words, and views of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.host.program.scalars import numpy_type
from onewafer.host.sdk.keyword_names import also_named

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


_WORD_BYTES = 4


@also_named(dtype="datatype")
def memcpy_view(arr: NDArray[Any], datatype: DTypeLike) -> NDArray[Any]:
    """Return a writable view of an array of 32-bit words as values of 8, 16 or 32 bits.

    The shape stays: a narrow value is the low bits of its word. Nothing is copied. `datatype` may
    be called `dtype`, as in older SDKs.

    >>> words = np.array([0x3C00, 0x4000], np.uint32)
    >>> memcpy_view(words, np.float16)
    array([1., 2.], dtype=float16)

    Raises:
        HostError: the elements of the array are not 32-bit, the type has another size, or is none.
    """
    element = numpy_type(datatype)
    if _item_bytes(arr, "memcpy_view") != _WORD_BYTES:
        raise HostError(f"memcpy_view needs an array of 32-bit words, not of {arr.dtype}")
    match element.itemsize:
        case 4:
            return arr.view(element)
        case 1 | 2:
            rest = f"V{_WORD_BYTES - element.itemsize}"
            return arr.view(np.dtype([("low", element), ("rest", rest)]))["low"]
        case _:
            raise HostError(f"memcpy_view reads types of 8, 16 or 32 bits, not {element}")


@also_named(np_arr="arr")
def input_array_to_u32(
    arr: NDArray[Any], sentinel: int | None, fast_dim_sz: int
) -> NDArray[np.uint32]:
    """Return 16-bit values widened to 32-bit words, in the shape of the input.

    With `sentinel` None the high half is zero; otherwise it is the running index modulo
    `fast_dim_sz`, which a data task with two arguments receives beside the value. An array of
    32-bit values is viewed as words: `sentinel` means nothing to it. `arr` may be called `np_arr`,
    as in older SDKs.

    >>> input_array_to_u32(np.array([7, 8, 9], np.int16), None, 1)
    array([7, 8, 9], dtype=uint32)
    >>> [hex(word) for word in input_array_to_u32(np.array([7, 8, 9], np.int16), 1, 2)]
    ['0x7', '0x10008', '0x9']

    Raises:
        HostError: the values have neither 16 nor 32 bits, or the indices do not fit 16 bits.
    """
    match _item_bytes(arr, "input_array_to_u32"):
        case 4:
            return arr.view(np.uint32)
        case 2:
            words = np.ascontiguousarray(arr).view("<u2").astype(np.uint32).reshape(arr.shape)
        case _:
            raise HostError(
                f"input_array_to_u32 takes arrays of 16 or 32 bits an element, not of {arr.dtype}: "
                "convert it with arr.astype(…)"
            )
    if sentinel is None:
        return words
    if not 1 <= fast_dim_sz <= 2**16:
        raise HostError(f"fast_dim_sz is {fast_dim_sz}, but an index has 16 bits: 1 to 65536")
    indices = np.arange(words.size).reshape(words.shape) % fast_dim_sz
    return words | indices.astype(np.uint32) << np.uint32(16)


def _item_bytes(arr: object, call: str) -> int:
    """Return the bytes of an element of a script's array."""
    if not isinstance(arr, np.ndarray):
        raise HostError(f"{call} needs a NumPy array, not {type(arr).__name__}")
    return arr.itemsize
