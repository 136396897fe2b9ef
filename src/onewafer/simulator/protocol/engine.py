"""The contract of a simulator engine: small, so that a second engine can replace the first.

An engine executes a loaded program by the rules of `docs/explanation/machine.md`. It owns time,
wavelets and operations in flight; memory and other visible state are in the given `MachineState`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from onewafer.simulator.protocol.findings import NO_CHECKING
from onewafer.trace import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage
    from onewafer.simulator.protocol.findings import Checking, Finding
    from onewafer.simulator.protocol.leftovers import Waiting
    from onewafer.simulator.state.schema import MachineState
    from onewafer.simulator.state.snapshot import Snapshot
    from onewafer.simulator.state.statistics import Activity, Statistics
    from onewafer.trace import EventSink


class StopReason(Enum):
    """Why `run` returned."""

    QUIESCENT = "quiescent"
    """No unit can act without the host (M80)."""
    CYCLE_LIMIT = "cycle-limit"
    """The given number of cycles is over (M82)."""


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """The inputs of an engine."""

    image: WaferImage
    architecture: Architecture
    state: MachineState
    """Initialised: data and patches in memory, start-up flags set."""
    sink: EventSink | None = None
    threads: int | None = None
    """Most threads, None: as many as are useful; no result depends on it (M2)."""
    detail: Detail = Detail.EVENTS
    """Level of detail for the sink; only the reference engine records more than events."""
    checking: Checking = NO_CHECKING
    """The checks of memory accesses, which only the reference engine supports."""
    written: NDArray[np.uint8] | None = None
    """`[num_pes, memory_bytes]`, 1: the byte was written; None: not recorded."""

    @property
    def details(self) -> EventSink | None:
        """The sink, if it gets more than events."""
        return self.sink if self.detail >= Detail.CAUSES else None


class Engine(Protocol):
    """One implementation of the machine model."""

    @property
    def cycle(self) -> int:
        """The current cycle (M3)."""
        ...

    def run(self, *, max_cycles: int | None = None) -> StopReason:
        """Run until quiescent or for at most `max_cycles` cycles.

        Raise `DeadlockError` (M81), or `SimulationError` if the program did what the machine
        cannot do. After the latter the cycle is that of the error and all earlier events are
        complete, but PEs may have run on beyond it, differently far on each engine (M2). With host
        streams, a quiescent program is no deadlock: data may still come (M74).
        """
        ...

    def find_deadlock(self) -> str | None:
        """Return the deadlock report after a quiescent run; None if the program is done (M81)."""
        ...

    def launch(self, name: str, words: Sequence[int]) -> None:
        """Start an exported function on every PE that has it (M70)."""
        ...

    def inject(self, pe_index: int, color: int, words: Sequence[int]) -> None:
        """Put wavelets into the router of a PE (M72)."""
        ...

    def collect(self, pe_index: int, color: int, most: int) -> list[int]:
        """Take up to `most` wavelets that wait for the host, control wavelets marked (M73)."""
        ...

    def statistics(self) -> Statistics:
        """Return the counters since loading."""
        ...

    def totals(self) -> NDArray[np.int64]:
        """Return the totals of the counters, for samples during a run.

        They are `[total, pe]`, see `Total`.
        """
        ...

    def activity(self) -> Activity:
        """Return the counters that show the activity of PEs."""
        ...

    def findings(self) -> list[Finding]:
        """Return the findings since this engine was made, by kind, program and place."""
        ...

    def waiting(self) -> Waiting:
        """Return the wavelets that wait in queues and routers, between two runs."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the state of the machine between two runs, in the format of all engines."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Set a newly made engine to the state of a snapshot."""
        ...


class EngineFactory(Protocol):
    """The entry of an engine in the table by name."""

    def __call__(self, loaded: LoadedProgram, /) -> Engine:
        """Return an engine at cycle 0."""
        ...
