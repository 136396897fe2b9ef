"""The exports of an image: the names that a host can use, and their addresses on every PE."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.image import SymbolKind

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from numpy.typing import NDArray

    from onewafer.geometry import Rectangle
    from onewafer.image import Export, Symbol, TileProgram, WaferImage

_POINTER_BYTES = 2


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of a variable in the PEs of a rectangle; arrays have one entry a PE, row by row."""

    pes: NDArray[np.intp]
    """PE index, `y * width + x`."""
    addresses: NDArray[np.int64]
    """Byte address of the first element."""
    room: NDArray[np.int64]
    """Bytes from there to the end of the variable."""


class ExportTable:
    """The exports of one image, by name."""

    def __init__(self, image: WaferImage) -> None:
        self._image = image
        self._exports = {export.name: export for export in image.exports}
        self._symbols: tuple[Mapping[str, Symbol], ...] = tuple(
            {symbol.name: symbol for symbol in program.symbols} for program in image.programs
        )

    def variable(self, name: str) -> Export:
        """Return the export of a variable.

        Raises:
            HostError: there is no such name, or it is a function.
        """
        export = self._named(name)
        if export.kind is not SymbolKind.VARIABLE:
            raise HostError(f"{name!r} is a function: launch it; only variables hold data")
        return export

    def function(self, name: str) -> Export:
        """Return the export of a function.

        Raises:
            HostError: there is no such name, or it is a variable.
        """
        export = self._named(name)
        if export.kind is not SymbolKind.FUNCTION:
            raise HostError(f"{name!r} is a variable: only exported functions can be launched")
        return export

    def _named(self, name: str) -> Export:
        if is_name(name, self._exports):
            return self._exports[name]
        raise HostError(f"the program exports no {name!r}; {suggest(name, tuple(self._exports))}")

    def place(self, name: str, rectangle: Rectangle, memory: NDArray[np.uint8]) -> Placement:
        """Return where a variable lives on every PE of a rectangle.

        `memory` is that of all PEs, `[num_pes, memory_bytes]`: an exported pointer is
        dereferenced with its present value, because a program may change it.

        Raises:
            HostError: a PE of the rectangle does not export the name, or its pointer is invalid.
        """
        y, x = np.mgrid[
            rectangle.y : rectangle.y + rectangle.height,
            rectangle.x : rectangle.x + rectangle.width,
        ]
        pes = (y * self._image.width + x).ravel()
        programs = self._image.program_of_pe.ravel()[pes]
        addresses = np.empty(pes.size, np.int64)
        room = np.empty(pes.size, np.int64)
        for index in map(int, np.unique(programs)):
            rows = np.flatnonzero(programs == index)
            symbol = self._symbol(name, index, int(pes[rows[0]]))
            if _is_pointer(symbol):
                program = self._image.programs[index]
                addresses[rows] = _read_pointers(memory, pes[rows], symbol.address)
                room[rows] = [_room_at(program, name, int(a)) for a in addresses[rows]]
            else:
                addresses[rows] = symbol.address
                room[rows] = symbol.num_bytes
        return Placement(pes, addresses, room)

    def _symbol(self, name: str, program_index: int, pe: int) -> Symbol:
        """Return the symbol that a program exports under a name; `pe` runs it, for errors."""
        if program_index >= 0:
            target = self._image.programs[program_index].exports.get(name)
            if target is not None:
                return self._symbols[program_index][target]
        x, y = pe % self._image.width, pe // self._image.width
        what = f"does not export {name!r}" if program_index >= 0 else "has no program"
        raise HostError(f"PE ({x}, {y}) {what}: choose a rectangle of PEs that export it")


def is_name(name: object, names: Container[str]) -> bool:
    """Tell whether a script's argument, which may be of any type, is one of the names."""
    return isinstance(name, str) and name in names


def suggest(name: object, names: tuple[str, ...]) -> str:
    """Return a hint for an unknown name, which may be no string: similar names, or all names."""
    near = get_close_matches(str(name), names, n=3)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"its names are {', '.join(map(repr, names))}" if names else "it has no names at all"


def find_variable(
    variables: Mapping[str, Symbol], name: object, element: np.dtype[Any], *, where: str
) -> Symbol:
    """Return the variable of a PE that a script names, to be read as elements of a dtype.

    Raises:
        HostError: there is none, or its size is no multiple of the element's.
    """
    found = next((symbol for known, symbol in variables.items() if known == name), None)
    if found is None:
        hint = suggest(name, tuple(variables))
        raise HostError(f"{where} has no variable {name!r} that its program uses; {hint}")
    if found.num_bytes % element.itemsize:
        raise HostError(f"{name!r} has {found.num_bytes} bytes, no whole number of {element}")
    return found


def to_program(image: WaferImage, x: int, y: int) -> tuple[int, int]:
    """Return the coordinates in the program of a PE at fabric coordinates.

    Raises:
        HostError: the PE is outside the program.
    """
    column, row = x - image.offset_x, y - image.offset_y
    if not (0 <= column < image.width and 0 <= row < image.height):
        raise HostError(
            f"fabric PE ({x}, {y}) is outside the program, which is {image.width}×"
            f"{image.height} at fabric ({image.offset_x}, {image.offset_y})"
        )
    return column, row


def _is_pointer(symbol: Symbol) -> bool:
    return symbol.element is None and symbol.num_bytes == _POINTER_BYTES


def _read_pointers(
    memory: NDArray[np.uint8], pes: NDArray[np.intp], address: int
) -> NDArray[np.int64]:
    low, high = memory[pes, address], memory[pes, address + 1]
    return low.astype(np.int64) | high.astype(np.int64) << 8


def _room_at(program: TileProgram, name: str, address: int) -> int:
    """Return the bytes from an address to the end of its variable."""
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.VARIABLE and not _is_pointer(symbol):
            past_end = symbol.address + symbol.num_bytes
            if symbol.address <= address < past_end:
                return past_end - address
    raise HostError(
        f"the pointer {name!r} holds 0x{address:04x}, where {program.name} has no variable"
    )
