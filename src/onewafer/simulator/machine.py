"""The interface of the simulated wafer: load, launch, run, peek, poke."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import CheckpointError, DeadlockError, SimulationError
from onewafer.simulator.arithmetic.control import is_control
from onewafer.simulator.protocol.engine import LoadedProgram, StopReason
from onewafer.simulator.protocol.findings import NO_CHECKING
from onewafer.simulator.protocol.leftovers import find_leftovers
from onewafer.simulator.protocol.messages import place
from onewafer.simulator.protocol.waiting import find_waiting
from onewafer.simulator.selection import DEFAULT_ENGINE, select_engine
from onewafer.simulator.state.checkpoint import check_image, read_checkpoint, write_checkpoint
from onewafer.simulator.state.loading import (
    check_program,
    host_streams,
    load_state,
    written_at_load,
)
from onewafer.simulator.state.memory_budget import refuse_without_memory
from onewafer.trace import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import Symbol, TileProgram, WaferImage
    from onewafer.simulator.protocol.findings import Checking, Finding
    from onewafer.simulator.protocol.leftovers import Leftover
    from onewafer.simulator.protocol.waiting import WaitingOperation
    from onewafer.simulator.selection import Selection
    from onewafer.simulator.state.statistics import Activity, Statistics
    from onewafer.trace import EventSink


_ALL_WORDS = 1 << 30


class Machine:
    """A wafer with one program loaded. Coordinates are program-relative."""

    def __init__(
        self,
        image: WaferImage,
        architecture: Architecture,
        *,
        engine: str = DEFAULT_ENGINE,
        sink: EventSink | None = None,
        detail: Detail = Detail.EVENTS,
        memory_limit: int | None = None,
        threads: int | None = None,
        checking: Checking = NO_CHECKING,
    ) -> None:
        """Load `image`. Raise `ImageError` if it uses what the simulator lacks.

        Features of the reference engine alone, such as more `detail` than events, select it,
        whatever `engine` is: see `engine_note`.
        Raise `NotEnoughMemoryError` if it may need more than `memory_limit` bytes of the
        computer's memory; None: what is available. At most `threads` threads simulate; None: as
        many as are useful.
        """
        seen = detail if sink is not None else Detail.EVENTS
        selection = select_engine(engine, seen, checking)
        check_program(image, architecture)
        refuse_without_memory(image, engine=selection.name, limit=memory_limit)
        state = load_state(image, architecture)
        written = written_at_load(image, architecture) if checking.uninitialised else None
        loaded = LoadedProgram(image, architecture, state, sink, threads, detail, checking, written)
        self._assemble(loaded, selection)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | PathLike[str],
        *,
        engine: str = DEFAULT_ENGINE,
        image: WaferImage | None = None,
        architecture: Architecture | None = None,
        sink: EventSink | None = None,
        memory_limit: int | None = None,
        threads: int | None = None,
        checking: Checking = NO_CHECKING,
    ) -> Machine:
        """Return the machine of a checkpoint file; it continues as if it had never stopped.

        Any engine can continue, whichever wrote the file. The program is in the file; an `image` is
        only compared with it. Without an `architecture` the catalog's is taken.

        Raises:
            CheckpointError: there is no such file, it is damaged, or it is of another image,
                machine or version of onewafer; or accesses are to be checked, of which a file
                knows nothing.
            NotEnoughMemoryError: as the constructor.
        """
        if checking.follows_accesses:
            raise CheckpointError(
                f"{path}: a checkpoint does not say where addresses come from and what was "
                "written; accesses are only checked from the start of a run (--check)"
            )
        checkpoint = read_checkpoint(Path(path), architecture)
        if image is not None:
            check_image(checkpoint, image, Path(path))
        snapshot, image = checkpoint.snapshot, checkpoint.image
        selection = select_engine(engine)
        refuse_without_memory(image, engine=selection.name, limit=memory_limit)
        machine = cls.__new__(cls)
        loaded = LoadedProgram(
            image, checkpoint.architecture, snapshot.state, sink, threads, checking=checking
        )
        machine._assemble(loaded, selection)  # noqa: SLF001  # the other constructor
        machine._engine.restore(snapshot)  # noqa: SLF001  # likewise
        machine._interrupted = checkpoint.header.what  # noqa: SLF001  # likewise
        return machine

    def _assemble(self, loaded: LoadedProgram, selection: Selection) -> None:
        self._image = loaded.image
        self._architecture = loaded.architecture
        self._selection = selection
        self._state = loaded.state
        self._written = loaded.written
        self._interrupted = ""
        self._is_at_rest = False
        """True if a run returns at once."""
        self._is_whole = True
        """True between two runs; False after a run was interrupted in the middle of a cycle."""
        self._host_receives = host_streams(loaded.image)[1]
        self._engine = self._selection.factory(loaded)

    @property
    def image(self) -> WaferImage:
        """The loaded program."""
        return self._image

    @property
    def architecture(self) -> Architecture:
        """The machine's numbers."""
        return self._architecture

    @property
    def engine(self) -> str:
        """The name of the engine that simulates."""
        return self._selection.name

    @property
    def engine_note(self) -> str | None:
        """Why the engine differs from the requested one; None if it does not."""
        return self._selection.note

    @property
    def is_at_rest(self) -> bool:
        """True if no unit can act until the host does."""
        return self._is_at_rest

    @property
    def interrupted(self) -> str:
        """The call that was running when the checkpoint of this machine was written."""
        return self._interrupted

    @property
    def cycle(self) -> int:
        """The current cycle (M3)."""
        return self._engine.cycle

    @property
    def memory(self) -> NDArray[np.uint8]:
        """`[num_pes, memory_bytes]`, PE index y·width + x; may be written between runs.

        Call `note_written` after a write.
        """
        return self._state.memory

    def note_written(self, pes: NDArray[np.intp] | int, columns: slice) -> None:
        """Mark bytes of `memory` that the host wrote as initialised."""
        if self._written is not None:
            self._written[pes, columns] = 1

    def launch(self, name: str, words: Sequence[int] = ()) -> None:
        """Start an exported function on every PE that has it; `words` are canonical registers.

        Raise `SimulationError` if no PE exports it or a PE does not accept commands yet.
        """
        self._engine.launch(name, words)
        self._is_at_rest = False

    def run(self, *, max_cycles: int | None = None) -> StopReason:
        """Run until quiescent, or for at most `max_cycles` cycles from now.

        Raise `DeadlockError` if the program waits for itself, unless the host streams;
        `SimulationError` if it does what the machine cannot do.
        """
        if self._is_at_rest:
            return StopReason.QUIESCENT
        self._is_whole = False
        try:
            reason = self._engine.run(max_cycles=max_cycles)
        except DeadlockError as error:
            self._is_whole = True
            raise DeadlockError(self._with_arrivals(error.reason)) from None
        self._is_whole = True
        self._is_at_rest = reason is StopReason.QUIESCENT
        return reason

    def find_deadlock(self) -> str | None:
        """Return the deadlock report; None if the program is done or not at rest yet (M81).

        With host streams, `run` cannot know whether more data will come, so its caller asks once
        all data was sent.
        """
        report = self._engine.find_deadlock() if self._is_at_rest else None
        return None if report is None else self._with_arrivals(report)

    def _with_arrivals(self, report: str) -> str:
        """Return the report of a deadlock with the wavelets that wait in input queues."""
        lines = [f"    {found.text}" for found in self._leftovers() if found.has_arrived]
        return "\n".join(
            [report, *(["  wavelets that were not received:"] if lines else []), *lines]
        )

    def find_leftovers(self) -> list[Leftover]:
        """Return the wavelets that were not received, by color; empty unless at rest."""
        return self._leftovers() if self._is_at_rest else []

    def _leftovers(self) -> list[Leftover]:
        waiting = self._engine.waiting()
        return find_leftovers(self._image, self._architecture, waiting, self._state)

    def save_checkpoint(self, path: str | PathLike[str], *, what: str = "") -> None:
        """Write the complete state of the machine into one file, atomically.

        `what` says for people what was running. An older file of that name is replaced.

        Raises:
            CheckpointError: the last run failed, or was interrupted in a cycle; or the
                file cannot be written.
        """
        if not self._is_whole:
            raise CheckpointError(
                f"{path}: the last run failed or was interrupted in a cycle, so there is no state "
                "to write; save between runs that end well"
            )
        try:
            write_checkpoint(
                Path(path),
                self._engine.snapshot(),
                self._image,
                self._architecture,
                engine=self.engine,
                what=what,
            )
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror or error}") from None

    def inject(self, x: int, y: int, color: int, words: Sequence[int]) -> None:
        """Put wavelets of a color into the router of PE (x, y), as if the PE had sent them."""
        index = self._index(x, y)
        self._is_at_rest = False
        self._engine.inject(index, color, words)

    def collect(self, x: int, y: int, color: int, most: int | None = None) -> list[int]:
        """Take wavelets of a color that the host receives at PE (x, y); return the data words.

        At most `most` are taken; None: all that are there. Control wavelets are dropped. The
        fabric may hold back more of them: run and collect again. Raise
        `SimulationError` if the color does not go to the host there.
        """
        index = self._index(x, y)
        if not self._host_receives[y, x, color]:
            raise SimulationError(f"PE ({x}, {y}) sends nothing of color {color} to the host")
        missing = _ALL_WORDS if most is None else most
        words: list[int] = []
        while taken := self._engine.collect(index, color, missing - len(words)):
            self._is_at_rest = False
            words += [word for word in taken if not is_control(word)]
        return words

    def findings(self) -> list[Finding]:
        """Return the findings since this machine was made, by kind, program and place."""
        return self._engine.findings()

    def statistics(self) -> Statistics:
        """Return the counters since loading."""
        return self._engine.statistics()

    def totals(self) -> NDArray[np.int64]:
        """Return cheap totals of the counters, `[total, pe]`, see `Total`."""
        return self._engine.totals()

    def activity(self) -> Activity:
        """Return the few counters of PE activity, which are cheap."""
        return self._engine.activity()

    def peek(self, x: int, y: int, address: int, num_bytes: int) -> bytes:
        """Return bytes of PE memory."""
        return self._bytes(x, y, address, num_bytes).tobytes()

    def poke(self, x: int, y: int, address: int, payload: bytes) -> None:
        """Overwrite bytes of PE memory."""
        self._bytes(x, y, address, len(payload))[:] = np.frombuffer(payload, np.uint8)
        self.note_written(self._index(x, y), slice(address, address + len(payload)))

    def symbol(self, x: int, y: int, name: str) -> Symbol:
        """Return the symbol `name` (host-visible, or of the program) at PE (x, y)."""
        program = self._program(x, y)
        wanted = program.exports.get(name, name)
        for symbol in program.symbols:
            if symbol.name == wanted:
                return symbol
        known = ", ".join(sorted({*program.exports, *(symbol.name for symbol in program.symbols)}))
        raise SimulationError(f"PE ({x}, {y}) has no symbol '{name}'; it has: {known or 'none'}")

    @property
    def program_counters(self) -> NDArray[np.int32]:
        """`[num_pes]`: the next instruction of each main thread; between tasks behind the last."""
        return self._state.program_counters

    @property
    def registers(self) -> NDArray[np.uint32]:
        """`[num_pes, registers]`: the registers of each PE's program, padded with 0."""
        return self._state.registers

    def waiting_operations(self) -> list[WaitingOperation]:
        """Return the DSD operations that wait, those of main threads last of their PE.

        Empty after a run that was interrupted in the middle of a cycle.
        """
        return find_waiting(self._engine.snapshot()) if self._is_whole else []

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
