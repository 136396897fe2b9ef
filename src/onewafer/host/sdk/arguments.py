"""Checks of a script's arguments to the runtime: handles, colors, sizes and files."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.host.program.exports import is_name, suggest
from onewafer.host.program.host_buffer import BufferFormat, MemcpyDataType, MemcpyOrder
from onewafer.image import FIRST_SYMBOL_ID, NUM_COLORS

if TYPE_CHECKING:
    from os import PathLike

    from onewafer.geometry import Rectangle
    from onewafer.image import WaferImage


class Handles:
    """The integer handles of a program's symbols, and its colors."""

    def __init__(self, image: WaferImage) -> None:
        self._exports = image.exports

    def of(self, symbol: str) -> int:
        """Return the handle of an exported symbol."""
        names = tuple(export.name for export in self._exports)
        if not is_name(symbol, names):
            raise HostError(f"the program exports no {symbol!r}; {suggest(symbol, names)}")
        return FIRST_SYMBOL_ID + names.index(symbol)

    def color(self, number: int) -> int:
        """Return the color of a streaming call."""
        if not isinstance(number, Integral):
            raise HostError(f"{number!r} is not a color: with streaming=True pass its number")
        index = int(number) - FIRST_SYMBOL_ID
        if 0 <= index < len(self._exports):
            raise HostError(
                f"streaming=True takes a color, {number} is the handle of "
                f"{self._exports[index].name!r}: leave streaming out to copy to a variable"
            )
        return int(number)

    def variable(self, handle: int) -> str:
        """Return the exported name of a handle."""
        index = handle - FIRST_SYMBOL_ID if isinstance(handle, Integral) else -1
        if 0 <= index < len(self._exports):
            return self._exports[int(index)].name
        advice = (
            "to stream to a color, pass streaming=True"
            if isinstance(handle, Integral) and 0 <= handle < NUM_COLORS
            else "pass what get_id returned for an exported name"
        )
        if isinstance(handle, np.ndarray):
            raise HostError(
                "an array stands where the symbol belongs: it is memcpy_h2d(symbol, array, …), and "
                "memcpy_d2h(array, symbol, …)"
            )
        raise HostError(f"{handle!r} is not a symbol: {advice}")


def find_folder(named: str | PathLike[str]) -> Path:
    """Return the path of a program's folder; scripts often pass None for a missing argument.

    Raises:
        HostError: there is no such folder, or the argument is no path.
    """
    try:
        folder = Path(named)
    except TypeError:
        raise HostError(f"{named!r} is not a folder: pass the one given to cslc with -o") from None
    if not folder.is_dir():
        raise HostError(f"there is no folder {str(folder)!r}: pass the one given to cslc with -o")
    return folder


def to_path(file: str | PathLike[str]) -> Path:
    """Return the path of a script's file argument."""
    try:
        return Path(file)
    except TypeError:
        raise HostError(f"{file!r} is not a file: pass its name") from None


def as_wavelets(layout: BufferFormat) -> BufferFormat:
    """Return the layout with 32-bit elements, which streams always have."""
    return replace(layout, data_type=MemcpyDataType.MEMCPY_32BIT)


def check_whole(*numbers: object) -> None:
    """Refuse coordinates and sizes that are not integers."""
    for number in numbers:
        if not isinstance(number, Integral):
            raise HostError(
                f"{number!r} is not a whole number: coordinates and sizes are, as in width // 2"
            )


def copy_format(
    rectangle: Rectangle, elements_per_pe: int, data_type: int, order: int
) -> BufferFormat:
    """Check the common arguments of copy calls; integers are accepted in place of enums."""
    check_whole(rectangle.x, rectangle.y, rectangle.width, rectangle.height, elements_per_pe)
    if rectangle.width < 1 or rectangle.height < 1 or elements_per_pe < 1:
        raise HostError(
            f"a copy of {elements_per_pe} elements for each PE of {rectangle} moves nothing: "
            f"sizes begin at 1"
        )
    try:
        return BufferFormat(
            rectangle, elements_per_pe, MemcpyDataType(data_type), MemcpyOrder(order)
        )
    except ValueError as error:
        raise HostError(f"{error}: use a member of the class") from None
