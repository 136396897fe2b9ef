"""The simulated wafer as its users see it: load, launch, run, peek, poke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import ConfigurationError, SimulationError
from onewafer.simulator.engine import LoadedProgram
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.loading import load_state
from onewafer.simulator.memory_budget import refuse_without_memory
from onewafer.simulator.messages import place
from onewafer.simulator.reference import ReferenceEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import Symbol, TileProgram, WaferImage
    from onewafer.simulator.engine import EngineFactory, StopReason
    from onewafer.simulator.statistics import Statistics
    from onewafer.trace import EventSink

ENGINES: dict[str, EngineFactory] = {"fast": FastEngine, "reference": ReferenceEngine}
"""Engines by the name that users give."""


class Machine:
    """A wafer with one program loaded. Coordinates are program-relative."""

    def __init__(
        self,
        image: WaferImage,
        architecture: Architecture,
        *,
        engine: str = "reference",
        sink: EventSink | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Load `image`. Raise `ImageError` if it uses what the simulator lacks.

        `NotEnoughMemoryError` if it may need more than `memory_limit` bytes of the computer's
        memory; None: what is available.
        """
        if engine not in ENGINES:
            raise ConfigurationError(
                f"there is no engine '{engine}'; there is: {', '.join(ENGINES)}"
            )
        refuse_without_memory(image, engine=engine, limit=memory_limit)
        self._image = image
        self._state = load_state(image, architecture)
        self._engine = ENGINES[engine](LoadedProgram(image, architecture, self._state, sink))

    @property
    def image(self) -> WaferImage:
        """The loaded program."""
        return self._image

    @property
    def cycle(self) -> int:
        """The current cycle (M3)."""
        return self._engine.cycle

    @property
    def memory(self) -> NDArray[np.uint8]:
        """`[num_pes, memory_bytes]`, PE index y·width + x; may be written between runs."""
        return self._state.memory

    def launch(self, name: str, words: Sequence[int] = ()) -> None:
        """Start an exported function on every PE that has it; `words` are canonical registers.

        Raise `SimulationError` if no PE exports it or a PE does not accept commands yet.
        """
        self._engine.launch(name, words)

    def run(self, *, max_cycles: int | None = None) -> StopReason:
        """Go on until nothing can happen any more, or for at most `max_cycles` cycles from now.

        Raise `DeadlockError` if the program waits for itself, `SimulationError` if it does what
        the machine cannot do.
        """
        return self._engine.run(max_cycles=max_cycles)

    def inject(self, x: int, y: int, color: int, words: Sequence[int]) -> None:
        """Put wavelets of a color into the router of PE (x, y), as if the PE had sent them."""
        self._engine.inject(self._index(x, y), color, words)

    def statistics(self) -> Statistics:
        """Return the counters since loading."""
        return self._engine.statistics()

    def peek(self, x: int, y: int, address: int, num_bytes: int) -> bytes:
        """Return bytes of PE memory."""
        return self._bytes(x, y, address, num_bytes).tobytes()

    def poke(self, x: int, y: int, address: int, payload: bytes) -> None:
        """Overwrite bytes of PE memory."""
        self._bytes(x, y, address, len(payload))[:] = np.frombuffer(payload, np.uint8)

    def symbol(self, x: int, y: int, name: str) -> Symbol:
        """Return what `name` (host-visible, or of the program) stands for at PE (x, y)."""
        program = self._program(x, y)
        wanted = program.exports.get(name, name)
        for symbol in program.symbols:
            if symbol.name == wanted:
                return symbol
        known = ", ".join(sorted({*program.exports, *(symbol.name for symbol in program.symbols)}))
        raise SimulationError(f"PE ({x}, {y}) has no symbol '{name}'; it has: {known or 'none'}")

    def describe_place(self, x: int, y: int) -> str:
        """Return the source place where the main thread of a PE was at the end of the last run."""
        program = self._program(x, y)
        # Between two tasks the counter is behind the last instruction of the first.
        pc = min(int(self._state.program_counters[self._index(x, y)]), len(program.code) - 1)
        return place(program, pc)

    def _program(self, x: int, y: int) -> TileProgram:
        self._index(x, y)
        index = int(self._image.program_of_pe[y, x])
        if index < 0:
            raise SimulationError(f"PE ({x}, {y}) has no program")
        return self._image.programs[index]

    def _index(self, x: int, y: int) -> int:
        width, height = self._image.width, self._image.height
        if not (0 <= x < width and 0 <= y < height):
            raise SimulationError(
                f"PE ({x}, {y}) is outside the program's {width}×{height} rectangle"
            )
        return y * width + x

    def _bytes(self, x: int, y: int, address: int, num_bytes: int) -> NDArray[np.uint8]:
        row = self._state.memory[self._index(x, y)]
        if address < 0 or num_bytes < 0 or address + num_bytes > len(row):
            raise SimulationError(
                f"bytes {address} to {address + num_bytes} are outside the {len(row):,} B of a PE"
            )
        return row[address : address + num_bytes]
