"""Write `docs/explanation/costs.md`: the closed form of each mesh operation beside the fabric.

    python tools/cost_table.py            simulate the programs and write the page (minutes)
    python tools/cost_table.py --check    exit with 1 if a line of it is out of date (minutes, too)
    python tools/cost_table.py --levels   print what the optimiser saves in some (minutes)

The fabric's cycles of an operation are from the trace: from the latest start of its step on any PE
to the latest start of the next step. They add up to the cycles of the launch.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cost_programs import ARCHITECTURE, LEVELLED, PROGRAMS

from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import Embedding
from onewafer.mesh import Estimator, emit, numpy_dtype
from onewafer.mesh.blocks import RowKind
from onewafer.mesh.budget import LOCAL_TASK_IDS
from onewafer.mesh.kernel_costs import kernel_costs
from onewafer.mesh.schedule import build_schedule, steps_of
from onewafer.simulator import Machine
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cost_programs import CostProgram
    from numpy.typing import NDArray

    from onewafer.graph import DataType
    from onewafer.mesh import EmittedProgram, Launch, MeshProgram
    from onewafer.mesh.kernel_costs import Counts, Size
    from onewafer.mesh.kinds import Kind
    from onewafer.trace import Event, EventSink

PATH = Path(__file__).parents[1] / "docs/explanation/costs.md"
_MOST_POINTS = 3
"""Sizes of a kind that are shown."""
_FLAGS = {"filled", "cut", "padded", "present", "used", "holds", "seeing"}
"""Sizes that say which PEs, chunks or rows a term is for."""


# --- the fabric ----------------------------------------------------------------------------------


class StepStarts:
    """Keeps the latest start of each step of the state machine, over all PEs."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.latest: list[int] = []

    def record(self, event: Event) -> None:
        """Take one event."""
        if event.kind is not EventKind.TASK_START or event.subject not in LOCAL_TASK_IDS:
            return
        place = event.x, event.y
        step = self._counts[place]
        self._counts[place] = step + 1
        if step == len(self.latest):
            self.latest.append(event.cycle)
        self.latest[step] = max(self.latest[step], event.cycle)

    def clear(self) -> None:
        """Forget the steps of the last launch."""
        self._counts.clear()
        self.latest = []


@dataclass(frozen=True, slots=True)
class Measured:
    """One launch on the fabric."""

    cycles: int
    operations: tuple[int, ...]
    """Cycles of each mesh operation."""


LEVELS = {"-O0": (False, False), "-O1": (True, True), "default": (True, False)}
"""`optimizes` and `by_function` of each level of the compiler; `-O1` is that of mesh programs."""


def measure(program: MeshProgram, launches: Iterable[Launch]) -> Iterator[Measured]:
    """Compile a program, give it random parameters, and yield what each launch takes."""
    steps = StepStarts()
    loaded = Loaded.of(program, sink=steps)
    for launch in launches:
        steps.clear()
        start, end = loaded.run(launch)
        ends = [*steps.latest[1:], end]
        cycles = [end - begin for begin, end in zip(steps.latest, ends, strict=True)]
        yield Measured(end - start, tuple(_of_operations(program, cycles)))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program on a machine, with random parameters."""

    machine: Machine
    emitted: EmittedProgram

    @classmethod
    def of(
        cls, program: MeshProgram, *, level: str = "-O1", sink: EventSink | None = None
    ) -> Loaded:
        """Compile a program at a level and load it; trace events go to the sink."""
        optimizes, by_function = LEVELS[level]
        emitted = emit(program, ARCHITECTURE)
        options = CompileOptions(
            entry=emitted.entry,
            architecture=ARCHITECTURE,
            params=emitted.params,
            optimizes=optimizes,
            by_function=by_function,
        )
        image = compile_program(options, MemoryFiles(emitted.files))
        machine = Machine(image, ARCHITECTURE, sink=sink)
        machine.run()
        _write_memory(program, machine)
        return cls(machine, emitted)

    def run(self, launch: Launch) -> tuple[int, int]:
        """Return the cycle in which a launch begins and the one in which it ends."""
        start = self.machine.cycle
        self.machine.launch(launch.entry, self.emitted.arguments(launch))
        self.machine.run()
        return start, self.machine.cycle


def _write_memory(program: MeshProgram, machine: Machine) -> None:
    """Fill the parameters of every PE, and give all PEs the same token ids."""
    generator = np.random.default_rng(0)
    dtype = numpy_dtype(program.dtype)
    ids = _draw_ids(program, generator).tobytes()
    for y in range(program.height):
        for x in range(program.width):
            symbol = machine.symbol(x, y, "model.parameters")
            size = symbol.num_bytes // program.dtype.num_bytes
            values = (0.3 * generator.standard_normal(size)).astype(dtype)
            machine.poke(x, y, symbol.address, values.tobytes())
            if ids:
                machine.poke(x, y, machine.symbol(x, y, "model.indices").address, ids)


def _draw_ids(program: MeshProgram, generator: np.random.Generator) -> NDArray[np.int32]:
    """Return tokens for every row of a launch, none where the program takes no tokens."""
    graph = program.graph
    lookups = [operation for operation in graph.operations if isinstance(operation, Embedding)]
    if not lookups:
        return np.zeros(0, np.int32)
    vocabulary = graph.tensor(lookups[0].table).shape[0]
    return generator.integers(0, vocabulary, graph.inputs[0].shape[0]).astype(np.int32)


def _of_operations(program: MeshProgram, cycles: list[int]) -> Iterator[int]:
    """Yield the cycles of the steps that are mesh operations, in their order."""
    steps = steps_of(build_schedule(program))
    for index, count in zip(steps, cycles, strict=True):
        if index is not None:
            yield count


# --- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """One kind of operation at one size."""

    kind: Kind
    dtype: DataType
    sizes: str
    expected: int
    measured: int

    @property
    def excess(self) -> float:
        """The error of the closed form, as a multiple of the promised error."""
        return abs(self.expected - self.measured) / max(0.1 * self.measured, 200)


@dataclass(frozen=True, slots=True)
class Line:
    """One launch of one program."""

    name: str
    width: int
    height: int
    launch: Launch
    expected: int
    measured: int


_KIND_COLUMNS = ("operation", "sizes", "closed form", "fabric", "error")
_LAUNCH_COLUMNS = ("model", "PEs", "launch", "closed form", "fabric", "error")


def expect(cost: CostProgram, program: MeshProgram) -> list[tuple[Launch, list[Point], int]]:
    """Return the closed form of every launch: of its operations, not yet measured, and in all."""
    estimator = Estimator(program, ARCHITECTURE)
    found: list[tuple[Launch, list[Point], int]] = []
    for launch in cost.launches:
        estimate = estimator.estimate(launch)
        points = [
            Point(
                operation.kind,
                program.dtype,
                _show_sizes(operation.kind, program.dtype, operation.sizes(program, launch)),
                one.cycles,
                0,
            )
            for operation, one in zip(program.operations, estimate.operations, strict=True)
        ]
        found.append((launch, points, estimate.cycles))
    return found


def _show_sizes(kind: Kind, dtype: DataType, sizes: Mapping[str, Size]) -> str:
    """Return the sizes that the terms of a kind name; for collectives, how many words they move."""
    used = set(re.findall(r"[a-z_]+", _formula(kind, dtype)))
    if kind.is_collective:
        used |= {"rows", "columns", "num_heads", "slots"}
    most = {name: int(np.max(size)) for name, size in sizes.items() if name in used - _FLAGS}
    shown = [f"{name} {size}" for name, size in most.items() if size]
    return ", ".join(shown) or "–"


def run_all() -> tuple[list[Line], list[Point]]:
    """Simulate every program."""
    lines: list[Line] = []
    points: list[Point] = []
    for cost in PROGRAMS:
        print(f"simulating {cost.name}", file=sys.stderr)
        program = cost.shard()
        found = measure(program, cost.launches)
        for (launch, expected, total), measured in zip(expect(cost, program), found, strict=True):
            lines.append(Line(cost.name, cost.width, cost.height, launch, total, measured.cycles))
            points += [
                Point(point.kind, point.dtype, point.sizes, point.expected, cycles)
                for point, cycles in zip(expected, measured.operations, strict=True)
            ]
    return lines, points


def _choose(points: list[Point]) -> list[Point]:
    """Return the least, the middle and the most costly size of a kind, each where it is worst."""
    worst: dict[tuple[DataType, str, int], Point] = {}
    for point in points:
        key = point.dtype, point.sizes, point.expected
        if key not in worst or point.excess > worst[key].excess:
            worst[key] = point
    known = sorted(worst.values(), key=lambda point: (point.expected, point.sizes))
    if len(known) <= _MOST_POINTS:
        return known
    return [known[0], known[len(known) // 2], known[-1]]


def _formula(kind: Kind, dtype: DataType) -> str:
    """Return the terms of a kind: cycles of instructions and DSD operations by size."""
    terms: list[str] = []
    for rounds, counts in kernel_costs(dtype, rows=RowKind.SEQUENCE).of(kind).items():
        inner = _terms_of(counts)
        if rounds == "1":
            terms += inner
        elif inner:
            text = " + ".join(inner)
            terms.append(f"{rounds.replace('*', '·')}·{text if len(inner) == 1 else f'({text})'}")
    return " + ".join(terms) + (" + traffic" if kind.is_collective else "")


def _terms_of(counts: Counts) -> list[str]:
    timing = ARCHITECTURE.timing
    costs = {
        **timing.instruction_cycles,
        "branch_taken": timing.branch_taken_cycles,
        "map_begin": timing.map_begin_cycles,
    }
    scalar = sum(count * costs[name] for name, count in counts.items() if name in costs)
    terms = [str(scalar)] if scalar else []
    for name, count in counts.items():
        if name not in costs:
            terms.append(f"{count}·{name}" if count > 1 else name)
    return terms


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], aligned: int) -> str:
    """Return a table whose last `aligned` columns are numbers."""
    rule = ["---"] * (len(columns) - aligned) + ["---:"] * aligned
    lines = [columns, tuple(rule), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _error(expected: int, measured: int) -> str:
    return f"{expected - measured:+,} ({expected / measured - 1:+.1%})"


def _show_line(line: Line) -> tuple[str, ...]:
    rows = line.launch.num_rows
    what = f"{rows} rows" if rows > 1 else f"1 token at position {line.launch.start}"
    rectangle = f"{line.width}×{line.height}"
    error = _error(line.expected, line.measured)
    return line.name, rectangle, what, f"{line.expected:,}", f"{line.measured:,}", error


def _show_point(point: Point) -> tuple[str, ...]:
    name = f"{point.kind.name}, {point.dtype}"
    error = _error(point.expected, point.measured)
    return name, point.sizes, f"{point.expected:,}", f"{point.measured:,}", error


PAGE_HEAD = """\
# What operations cost

<!-- Generated by `python tools/cost_table.py`, which simulates the models below. -->

Every operation of a mesh program has a closed form: a formula that gives its cycles from its sizes,
without a simulation. Fidelity `model` uses it, onewafer chooses the rectangle by it, and the report
shows it beside the cycles of the fabric. It promises to be within 10 % or 200 cycles, whichever is
more, of an operation and of a launch, and within 3 % or 200 cycles of a launch over tokens or
patches. Tests hold it to that. This page shows it against the fabric ({title}, `{profile}` timing).

The formula (`src/onewafer/mesh/cost.py`) adds up the start of a task, the comparisons by which the
state machine finds the kind of operation, the instructions and DSD operations of the kernel's
compiled listing (`kernel_costs.json`), and for collectives the traffic:

```
chain reduce   F + n·p + D·(2R + H + 1)
broadcast      F + n·p + D·H + 2R + 1
```

with n wavelets, F the dispatch and set-up of a fabric operation, p the cycles a wavelet, R the
ramp, H the hop, D the PEs from the middle of the axis to its end. Chains go from both ends to the
middle, which adds the chain from the lower side first, and the other one no sooner than F + n·p
later. On a long axis chains have two phases: in sections of s PEs to the leader of each section,
then from leader to leader, past the PEs between them. Wavelets then stop at s − 1 + D/s PEs, not at
D:

```
two phases     2·(F + n·p) + (s − 1 + D/s)·(2R + 1) + D·H
```

(`src/onewafer/mesh/chains.py`; `mesh/lowering/middles.py` chooses the middle and s). Some PEs
have less to do, because their block ends in padding or they keep few positions of the KV cache.
They reach the next collective early, and hide their part of it behind the work of the others:
`src/onewafer/mesh/skew.py` follows when each PE begins a step. The cycles of an operation, here and
on the fabric, count from the latest start of its step on any PE to the latest start of the next
step, so they add up to the cycles of the launch.

## Launches

A launch of one row is a token of decode; its position is the number of tokens that the KV cache
holds before it.

"""
_OPERATIONS = """

## Operations

The launches above have {total:,} operations, of which {kept:,} are within the promise; the one with
the largest error is a `{kind}` of {measured:,} cycles with a closed form of {expected:,}. The table
shows the cheapest, a middle and the most costly size of each kind, each at its largest error; sizes
are the largest on any PE. The closed form does not know the tokens of a launch: it takes them to be
spread evenly over the embedding table (`look_up_tokens`). Nor does it know that short operations on
the same numbers wait for each other (M152): convolutions in f16 with two features a PE take up to
14 % longer than it says.

"""
_TERMS = """

## Terms

The cycles of each kernel, from the start of its task, without the comparisons before it; in f32
where the kernel has an f32 form. A DSD operation has its length in parentheses. It takes its
set-up, its elements at the rate of the data path, and the resumption; a mapped one takes its
elements only.

"""


def write_page(lines: list[Line], points: list[Point]) -> str:
    """Return the page."""
    by_kind: defaultdict[Kind, list[Point]] = defaultdict(list)
    for point in points:
        by_kind[point.kind].append(point)
    rows = [_show_point(point) for kind in sorted(by_kind) for point in _choose(by_kind[kind])]
    kept = sum(point.excess <= 1 for point in points)
    formulas = [
        f"{kind.name.lower():<20} {_formula(kind, max(p.dtype for p in found))}"
        for kind, found in sorted(by_kind.items())
    ]
    worst = max(points, key=lambda point: point.excess)
    operations = _OPERATIONS.format(
        total=len(points),
        kept=kept,
        kind=worst.kind.name,
        measured=worst.measured,
        expected=worst.expected,
    )
    parts = (
        PAGE_HEAD.format(title=ARCHITECTURE.title, profile=ARCHITECTURE.profile),
        _table(_LAUNCH_COLUMNS, map(_show_line, lines), 3),
        operations,
        _table(_KIND_COLUMNS, rows, 3),
        _TERMS,
        "```\n" + "\n".join(formulas) + "\n```\n",
    )
    return "".join(parts)


def stale_lines(page: str, programs: Iterable[CostProgram] = PROGRAMS) -> list[str]:
    """Return the launches whose closed form is not what the page says."""
    stale: list[str] = []
    for cost in programs:
        for launch, _, total in expect(cost, cost.shard()):
            line = Line(cost.name, cost.width, cost.height, launch, total, total)
            begin = f"| {' | '.join(_show_line(line)[:4])} |"
            if begin not in page:
                stale.append(begin)
    return stale


def level_rows(programs: Iterable[CostProgram]) -> Iterator[str]:
    """Yield the cycles of each launch by level, and what `-O1` changes."""
    for cost in programs:
        program = cost.shard()
        found = [_launch_cycles(program, cost.launches, level) for level in LEVELS]
        for launch, *cycles in zip(cost.launches, *found, strict=True):
            plain, by_function, _ = cycles
            line = Line(cost.name, cost.width, cost.height, launch, by_function, plain)
            *what, _, _, _ = _show_line(line)
            change = f"{100 * (by_function / plain - 1):+.1f} %"
            yield f"| {' | '.join((*what, *(f'{count:,}' for count in cycles), change))} |"


def _launch_cycles(program: MeshProgram, launches: Iterable[Launch], level: str) -> list[int]:
    loaded = Loaded.of(program, level=level)
    times = map(loaded.run, launches)
    return [end - start for start, end in times]


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    parser.add_argument("--levels", action="store_true", help="print cycles with the optimiser")
    options = parser.parse_args()
    if options.levels:
        for row in level_rows(LEVELLED):
            print(row, flush=True)
        return 0
    is_check = options.check
    page = write_page(*run_all())
    if not is_check:
        PATH.write_text(page, encoding="utf-8")
        print(f"wrote {PATH}")
        return 0
    shown = PATH.read_text(encoding="utf-8")
    for line in unified_diff(
        shown.splitlines(), page.splitlines(), "shown", "today", n=0, lineterm=""
    ):
        print(line)
    if page != shown:
        print("run `python tools/cost_table.py`")
    return int(page != shown)


if __name__ == "__main__":
    sys.exit(main())
