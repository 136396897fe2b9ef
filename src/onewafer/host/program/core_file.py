"""The variables of all PEs at the end of a run: `core.npz` in the program's folder.

The file is written when a run stops, for `debug_util`, which may be another process. It has only
the sections with variables, and is written only for programs of moderate size.
"""

from __future__ import annotations

import contextlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.files.foreign_bytes import DAMAGES, parse_array, read_member
from onewafer.files.whole_files import check_file, whole_file
from onewafer.host.program.exports import to_program
from onewafer.image import SectionKind, SymbolKind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.image import Section, Symbol, TileProgram, WaferImage
    from onewafer.simulator import Machine

FILE_NAME = "core.npz"
MOST_BYTES = 64 * 2**20
"""Larger cores are not written."""


def save_core(machine: Machine, image: WaferImage, folder: Path) -> None:
    """Write the core of a run into the program's folder; an earlier one is deleted in any case.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / FILE_NAME
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    owners = image.program_of_pe.reshape(-1)
    counts = np.bincount(owners[owners >= 0], minlength=len(image.programs)).tolist()
    sizes = [_span(program) for program in image.programs]
    if sum(n * (end - start) for n, (start, end) in zip(counts, sizes, strict=True)) > MOST_BYTES:
        return
    memory = machine.memory
    blocks = {
        str(number): memory[owners == number, start:end]
        for number, (start, end) in enumerate(sizes)
    }
    with whole_file(path) as target, target.open("wb") as file:
        np.savez(file, **blocks)  # pyright: ignore[reportArgumentType]  # NumPy's stub of **kwds


def _span(program: TileProgram) -> tuple[int, int]:
    """Return the half-open range of addresses of the variables."""
    sections: list[Section] = [s for s in program.sections if s.kind is SectionKind.DATA]
    if not sections:
        return 0, 0
    start = min(section.address for section in sections)
    return start, max(section.address + section.num_bytes for section in sections)


class Core:
    """Variables of PEs of the last run, by *fabric* coordinates."""

    def __init__(self, image: WaferImage, folder: Path) -> None:
        """Read the core file of a folder.

        Raises:
            HostError: the last run wrote no core, or the image refers to missing programs.
        """
        highest, count = image.program_of_pe.max(initial=-1), len(image.programs)
        if highest >= count:
            raise HostError(
                f"the program in {str(folder)!r} is broken: a PE has program {highest} of {count}; "
                "compile it again"
            )
        self._image = image
        path = folder / FILE_NAME
        try:
            check_file(path)
            with zipfile.ZipFile(path) as archive:
                self._blocks = {
                    int(name.removesuffix(".npy")): parse_array(read_member(archive, name))
                    for name in archive.namelist()
                }
            self._check_blocks()
        except (OSError, *DAMAGES):
            raise HostError(
                f"there is no core in {str(folder)!r}: it is written when SdkRuntime.stop() ends a "
                f"run, unless the variables of all PEs have more than {MOST_BYTES >> 20} MiB"
            ) from None

    def _check_blocks(self) -> None:
        """Raise ValueError unless the blocks have the shapes that the image's programs need."""
        for number, program in enumerate(self._image.programs):
            start, end = _span(program)
            shape = np.count_nonzero(self._image.program_of_pe == number), end - start
            block = self._blocks[number]
            if block.shape != shape or block.dtype != np.uint8:
                raise ValueError(f"program {number} has {block.dtype} of shape {block.shape}")

    def program(self, x: int, y: int) -> TileProgram:
        """Return the program of the PE at fabric coordinates.

        Raises:
            HostError: there is no such PE, or it has no program.
        """
        return self._image.programs[self._place(x, y)[0]]

    def variables(self, x: int, y: int) -> dict[str, Symbol]:
        """Return the variables of a PE by name.

        Raises:
            HostError: as `program`.
        """
        symbols = self.program(x, y).symbols
        return {symbol.name: symbol for symbol in symbols if symbol.kind is SymbolKind.VARIABLE}

    def read(self, x: int, y: int, address: int, num_bytes: int) -> NDArray[np.uint8]:
        """Return bytes of a PE, `[num_bytes]`.

        Raises:
            HostError: as `program`.
        """
        number, row = self._place(x, y)
        start = address - _span(self._image.programs[number])[0]
        return self._blocks[number][row, start : start + num_bytes]

    def _place(self, x: int, y: int) -> tuple[int, int]:
        """Return the number of the program of a PE, and the row of the PE in its block."""
        image = self._image
        column, line = to_program(image, x, y)
        owners = image.program_of_pe.reshape(-1)
        index = line * image.width + column
        if owners[index] < 0:
            raise HostError(f"fabric PE ({x}, {y}) has no program")
        return int(owners[index]), int(np.count_nonzero(owners[:index] == owners[index]))
