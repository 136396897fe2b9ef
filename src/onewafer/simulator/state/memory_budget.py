"""The memory that a simulation needs on its computer, estimated before it starts.

need = Σ over tile programs: PEs × (engine state + pages of SRAM that hold its variables)

A page counts as touched if a variable lies in it. The state of an engine for each PE is measured,
see `tests/simulator/state/test_memory_budget.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onewafer.errors import SimulationError
from onewafer.image import REGISTER_BYTES, SectionKind
from onewafer.settings import available_memory
from onewafer.simulator.state.loading import HOST_STREAM_WORDS, host_streams
from onewafer.simulator.state.sram import PAGE_BYTES
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from onewafer.image import TileProgram, WaferImage

ENGINE_BYTES: Final = {"fast": 3_500, "reference": 40_000}
"""State of a PE and its router beside the SRAM, by engine, for programs of a few queues."""
_USUAL_REGISTERS: Final = 128
"""Registers of a PE that its engine state includes."""

_WAVELET_BYTES: Final = 16
"""Most bytes of a wavelet that waits for the host: rings are rounded up to a power of two slots."""


class NotEnoughMemoryError(SimulationError):
    """The simulation needs more memory than there is."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The memory of a machine, in bytes."""

    num_pes: int
    engine_bytes: int
    """Bytes of one PE."""
    sram_bytes: int
    """Bytes of the touched pages of all PEs."""
    stream_bytes: int = 0
    """Bytes of wavelets that wait for the host, over all colors."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.num_pes * self.engine_bytes + self.sram_bytes + self.stream_bytes


def memory_need(image: WaferImage, *, engine: str) -> MemoryNeed:
    """Return the memory that an image's machine needs once all variables have been used."""
    num_pes = np.bincount(image.program_of_pe.ravel() + 1, minlength=len(image.programs) + 1)[1:]
    sram_bytes = PAGE_BYTES * sum(
        int(count) * _touched_pages(program)
        for count, program in zip(num_pes, image.programs, strict=False)
    )
    registers = max((program.num_registers for program in image.programs), default=1)
    more = REGISTER_BYTES * max(0, registers - _USUAL_REGISTERS)
    waiting = int(host_streams(image)[1].sum()) * HOST_STREAM_WORDS * _WAVELET_BYTES
    return MemoryNeed(image.width * image.height, ENGINE_BYTES[engine] + more, sram_bytes, waiting)


def _touched_pages(program: TileProgram) -> int:
    pages: set[int] = set()
    for section in program.sections:
        if section.kind is SectionKind.DATA and section.num_bytes:
            last = section.address + section.num_bytes - 1
            pages.update(range(section.address // PAGE_BYTES, last // PAGE_BYTES + 1))
    return len(pages)


def refuse_without_memory(image: WaferImage, *, engine: str, limit: int | None) -> None:
    """Raise `NotEnoughMemoryError` if the image's machine needs more than `limit` bytes.

    None: what the computer has available at the moment.
    """
    allowed = available_memory() if limit is None else limit
    need = memory_need(image, engine=engine)
    if allowed is None or need.total <= allowed:
        return
    source = "is available" if limit is None else "is allowed (ONEWAFER_MAX_MEMORY)"
    sram = need.sram_bytes // need.num_pes
    streams = f" + {format_bytes(need.stream_bytes)} of streams" if need.stream_bytes else ""
    raise NotEnoughMemoryError(
        f"the simulation of {image.width}×{image.height} PEs needs {format_bytes(need.total)} of "
        f"memory: {need.num_pes:,} PEs × ({need.engine_bytes:,} B of engine state + {sram:,} B of "
        f"touched SRAM pages){streams}; {format_bytes(allowed)} {source}. Use a smaller rectangle "
        "or smaller arrays, or a computer with more memory; ONEWAFER_MAX_MEMORY=64G sets the limit "
        "by hand"
    )
