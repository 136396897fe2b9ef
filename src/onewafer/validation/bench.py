"""The bench on which cases run: programs in memory, one engine, a stopwatch on the fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onewafer.known_answers import KnownProgram, check_bits
from onewafer.simulator import Machine
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage
    from onewafer.trace import Event

LARGEST_WORK = {"reference": 300_000}
"""The largest point (`Point.work`) that an engine simulates in about a minute."""
_LARGEST_WORK_OF_OTHERS = 10_000_000
_PROGRAMS = "onewafer.validation.programs"


class Stopwatch:
    """Keeps the cycles of DSD operations and of timestamp reads, by PE; nothing else."""

    kinds: ClassVar[tuple[EventKind, ...]] = (
        EventKind.DSD_START,
        EventKind.DSD_END,
        EventKind.TIMESTAMP,
        EventKind.TASK_START,
    )
    """The kinds of events that measurements need."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._cycles: dict[EventKind, dict[tuple[int, int], list[int]]]
        self._cycles = {kind: {} for kind in self.kinds}

    def record(self, event: Event) -> None:
        """Take one event."""
        kept = self._cycles.get(event.kind)
        if kept is not None:
            kept.setdefault((event.x, event.y), []).append(event.cycle)

    def first_element(self) -> int:
        """Return the cycle of the first DSD element anywhere: the first wavelet on a ramp."""
        return min(min(cycles) for cycles in self._cycles[EventKind.DSD_START].values())

    def starts(self, x: int, y: int = 0) -> list[int]:
        """Return the cycles in which DSD operations of a PE began, in order."""
        return sorted(self._cycles[EventKind.DSD_START][x, y])

    def last_element(self, x: int, y: int = 0) -> int:
        """Return the cycle in which the last DSD operation of a PE ended."""
        return max(self._cycles[EventKind.DSD_END][x, y])

    def last_anywhere(self) -> int:
        """Return the cycle in which the last DSD operation of all ended."""
        return max(max(cycles) for cycles in self._cycles[EventKind.DSD_END].values())

    def reads(self, x: int = 0, y: int = 0) -> list[int]:
        """Return the cycles in which a PE read its cycle counter, in order."""
        return sorted(self._cycles[EventKind.TIMESTAMP][x, y])

    def task_starts(self, x: int = 0, y: int = 0) -> list[int]:
        """Return the cycles in which a PE started tasks and launched functions, in order."""
        return sorted(self._cycles[EventKind.TASK_START][x, y])


class Run:
    """A program that ran to its end."""

    def __init__(self, machine: Machine, stopwatch: Stopwatch) -> None:
        """Keep what the measurement needs."""
        self._machine = machine
        self.stopwatch = stopwatch

    def _floats(self, name: str, x: int, y: int) -> NDArray[np.float32]:
        """Return an f32 array of a PE, `[1, 1, num_elements]`."""
        symbol = self._machine.symbol(x, y, name)
        payload = self._machine.peek(x, y, symbol.address, symbol.num_bytes)
        return np.frombuffer(payload, np.dtype("<f4"))[None, None]

    def expect(self, name: str, x: int, y: int = 0, *, value: float) -> None:
        """Raise `WrongResultError` unless every element is `value`."""
        found = self._floats(name, x, y)
        check_bits(name, found, np.full_like(found, value), corner=(x, y))

    def expect_total(self, name: str, x: int, y: int = 0, *, value: float) -> None:
        """Raise `WrongResultError` unless the elements, whole numbers, add up to `value`."""
        found = self._floats(name, x, y).sum(axis=2, keepdims=True)
        check_bits(f"sum of {name}", found, np.full_like(found, value), corner=(x, y))


class Bench:
    """Compiles and runs programs on one engine."""

    def __init__(self, engine: str, *, optimizes: bool = True) -> None:
        """Choose the engine by name; `Machine` refuses one that does not exist."""
        self.engine = engine
        self.optimizes = optimizes
        self.largest_work = LARGEST_WORK.get(engine, _LARGEST_WORK_OF_OTHERS)

    def run(
        self, program: str, machine: str, profile: str, *, params: dict[str, int | bool]
    ) -> Run:
        """Compile `programs/<program>.csl`, launch its `main` on every PE, run to the end."""
        known = KnownProgram(
            folder=_PROGRAMS,
            machine=machine,
            entry=f"{program}.csl",
            params=params,
            profile=profile,
        )
        return self.run_image(known.compile(optimizes=self.optimizes), known.architecture())

    def run_image(
        self, image: WaferImage, architecture: Architecture, arguments: Sequence[int] = ()
    ) -> Run:
        """Launch `main` on every PE of an image with `arguments`, run to the end."""
        stopwatch = Stopwatch()
        machine = Machine(image, architecture, engine=self.engine, sink=stopwatch)
        machine.run()
        machine.launch("main", arguments)
        machine.run()
        return Run(machine, stopwatch)
