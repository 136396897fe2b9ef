"""The SDK's `debug_util`: variables and `<debug>` traces of the last run."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onewafer.errors import HostError
from onewafer.host.program.core_file import Core
from onewafer.host.program.exports import find_variable, suggest
from onewafer.host.program.scalars import numpy_type
from onewafer.host.sdk.arguments import find_folder
from onewafer.host.sdk.keyword_names import also_named
from onewafer.host.sdk.platform import refuse_real_system
from onewafer.image import load

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import DTypeLike, NDArray

Recorded = bool | int | float | str
"""A value of a trace; timestamps are in cycles."""

_TYPES: Final = {
    1: np.dtype(np.bool_),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.float16),
    7: np.dtype(np.uint32),
    8: np.dtype(np.int32),
    9: np.dtype(np.float32),
}
"""Tag of a record, as in `<debug>` → its type."""
_STRING, _TIMESTAMP = 10, 11
_TIMESTAMP_WORDS = 3


class DebugUtil:
    """A view of a finished run. Coordinates are those of the fabric, column first."""

    def __init__(self, bindir: str | PathLike[str], cmaddr: str | None = None) -> None:
        refuse_real_system("debug_util", cmaddr)
        folder = find_folder(bindir)
        self._core = Core(load(folder), folder)

    @also_named(px="col", py="row")
    def get_symbol(self, col: int, row: int, symbol: str, dtype: DTypeLike) -> NDArray[Any]:
        """Return the whole memory of a variable, exported or not.

        `col` and `row` may be called `px` and `py`: the SDK's documentation has both.

        Raises:
            HostError: no such PE or variable, or the type does not divide it.
        """
        variables = self._core.variables(col, row)
        element = numpy_type(dtype)
        found = find_variable(variables, symbol, element, where=f"fabric PE ({col}, {row})")
        return self._core.read(col, row, found.address, found.num_bytes).copy().view(element)

    def get_symbol_rect(
        self, rectangle: tuple[tuple[int, int], tuple[int, int]], symbol: str, dtype: DTypeLike
    ) -> NDArray[Any]:
        """Return a variable of many PEs, `[width, height, elements]`.

        `rectangle` is ((column, row), (width, height)).

        Raises:
            HostError: as `get_symbol`.
        """
        try:
            (column, row), (width, height) = rectangle
        except (TypeError, ValueError):
            raise HostError(
                f"{rectangle!r} is not a rectangle: write ((column, row), (width, height))"
            ) from None
        return np.array(
            [
                [self.get_symbol(column + x, row + y, symbol, dtype) for y in range(height)]
                for x in range(width)
            ]
        )

    def read_trace(self, px: int, py: int, name: str) -> list[Recorded]:
        """Return the values recorded by the `<debug>` module with the key `name`, in order.

        Warns if records did not fit into its buffer.

        Raises:
            HostError: no such PE, or it has no such module.
        """
        variables = self._core.variables(px, py)
        keys = {
            bytes(self._core.read(px, py, symbol.address, symbol.num_bytes)).decode(): module
            for module, symbol in (
                (found.removesuffix(".trace_key"), symbol)
                for found, symbol in variables.items()
                if found.endswith(".trace_key")
            )
        }
        if name not in keys:
            raise HostError(
                f"fabric PE ({px}, {py}) has no <debug> module with the key {name!r}; "
                f"{suggest(name, tuple(keys))}"
            )
        module = keys[name]
        if f"{module}.trace_used" not in variables:
            return []
        used = int(self.get_symbol(px, py, f"{module}.trace_used", np.uint16)[0])
        dropped = int(self.get_symbol(px, py, f"{module}.trace_dropped", np.uint16)[0])
        if dropped:
            warnings.warn(
                f"{dropped} records of {name!r} on fabric PE ({px}, {py}) did not fit: "
                f"import <debug> with a larger buffer_size",
                stacklevel=2,
            )
        words = self.get_symbol(px, py, f"{module}.trace_buffer", np.uint16)[:used]
        return self._decode(px, py, words)

    def _decode(self, col: int, row: int, words: NDArray[np.uint16]) -> list[Recorded]:
        values: list[Recorded] = []
        at = 0
        while at < len(words):
            tag, low = int(words[at]) >> 8, int(words[at]) & 0xFF
            at += 1
            if tag == _STRING:
                values.append(self._string(col, row, int(words[at])))
                at += 1
            elif tag == _TIMESTAMP:
                low_first = words[at : at + _TIMESTAMP_WORDS].tolist()
                values.append(sum(word << 16 * i for i, word in enumerate(low_first)))
                at += _TIMESTAMP_WORDS
            elif tag in _TYPES:
                type_ = _TYPES[tag]
                num_words = type_.itemsize // 2
                payload = words[at : at + num_words] if num_words else np.array([low], np.uint8)
                values.append(payload.view(type_)[0].item())
                at += num_words
            else:  # a raw word of `put_u16`
                values.append(int(words[at - 1]))
        return values

    def _string(self, col: int, row: int, address: int) -> str:
        end = self._core.read(col, row, address, 1 << 16)
        return bytes(end[: int(np.argmin(end != 0))]).decode()
