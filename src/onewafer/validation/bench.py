"""The bench on which cases run: programs in memory, one engine, a stopwatch on the fabric."""

from __future__ import annotations

import struct
from importlib import resources
from typing import TYPE_CHECKING, ClassVar

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import InternalError
from onewafer.simulator import Machine
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage
    from onewafer.trace import Event

LARGEST_WORK = {"reference": 300_000}
"""The largest point (`Point.work`) that an engine takes about a minute for."""
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
    """The cycles of a measurement; an engine need not tell it anything else."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._starts: dict[tuple[int, int], list[int]] = {}
        self._ends: dict[tuple[int, int], list[int]] = {}
        self._reads: dict[tuple[int, int], list[int]] = {}
        self._tasks: dict[tuple[int, int], list[int]] = {}
        kept = (self._starts, self._ends, self._reads, self._tasks)
        self._by_kind = dict(zip(self.kinds, kept, strict=True))

    def record(self, event: Event) -> None:
        """Take one event."""
        kept = self._by_kind.get(event.kind)
        if kept is not None:
            kept.setdefault((event.x, event.y), []).append(event.cycle)

    def first_element(self) -> int:
        """Return the cycle of the first DSD element anywhere: the first wavelet on a ramp."""
        return min(min(cycles) for cycles in self._starts.values())

    def starts(self, x: int, y: int = 0) -> list[int]:
        """Return the cycles in which DSD operations of a PE began, in order."""
        return sorted(self._starts[x, y])

    def last_element(self, x: int, y: int = 0) -> int:
        """Return the cycle in which the last DSD operation of a PE ended."""
        return max(self._ends[x, y])

    def last_anywhere(self) -> int:
        """Return the cycle in which the last DSD operation of all ended."""
        return max(max(cycles) for cycles in self._ends.values())

    def reads(self, x: int = 0, y: int = 0) -> list[int]:
        """Return the cycles in which a PE read its cycle counter, in order."""
        return sorted(self._reads[x, y])

    def task_starts(self, x: int = 0, y: int = 0) -> list[int]:
        """Return the cycles in which a PE started tasks and launched functions, in order."""
        return sorted(self._tasks[x, y])


class Run:
    """A program that ran to its end."""

    def __init__(self, machine: Machine, stopwatch: Stopwatch) -> None:
        """Keep what the measurement needs."""
        self._machine = machine
        self.stopwatch = stopwatch

    def floats(self, name: str, x: int, y: int = 0) -> tuple[float, ...]:
        """Return an f32 array of a PE."""
        symbol = self._machine.symbol(x, y, name)
        payload = self._machine.peek(x, y, symbol.address, symbol.num_bytes)
        return struct.unpack(f"<{len(payload) // 4}f", payload)

    def expect(self, name: str, x: int, y: int = 0, *, value: float) -> None:
        """Raise `InternalError` unless every element is `value`: a wrong program has no time."""
        found = set(self.floats(name, x, y))
        if found != {value}:
            raise InternalError(
                f"a validation program computed {sorted(found)[:4]} in '{name}' of PE ({x}, {y}) "
                f"instead of {value}"
            )

    def expect_total(self, name: str, x: int, y: int = 0, *, value: float) -> None:
        """Raise `InternalError` unless the elements add up to `value`."""
        found = sum(self.floats(name, x, y))
        if found != value:
            raise InternalError(
                f"a validation program computed {found} as the total of '{name}' of PE ({x}, {y}) "
                f"instead of {value}"
            )


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
        architecture = load_architecture(machine, profile=profile)
        options = CompileOptions(
            entry=f"{program}.csl",
            architecture=architecture,
            params={name: _to_literal(value) for name, value in params.items()},
            optimizes=self.optimizes,
        )
        return self.run_image(compile_program(options, _program_files()), architecture)

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


def _program_files() -> MemoryFiles:
    folder = resources.files(_PROGRAMS)
    texts = (entry for entry in folder.iterdir() if entry.name.endswith(".csl"))
    return MemoryFiles({entry.name: entry.read_text(encoding="utf-8") for entry in texts})


def _to_literal(value: int) -> str:
    return str(value).lower()
