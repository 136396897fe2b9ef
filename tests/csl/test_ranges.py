"""A loop goes over what Python's `range` goes over, whoever knows its bounds.

Each of start and stop is written as a number, or as a variable, or is a param that differs between
PEs; ranges lie near the ends of their types, where a counter would wrap around.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine
from tests.csl.exact_integers import Width
from tests.csl.one_task import START

NUM_PES = 3
NUM_LOOPS = 8
MAX_ROUNDS = 50
LAYOUT = """layout {{
  @set_rectangle({num_pes}, 1);
{tiles}
}}"""


KINDS = ("number", "variable", "param")


@dataclass(frozen=True)
class Bound:
    """The start or the stop of a range: how it is written, and what it is on each PE."""

    kind: str
    text: str
    numbers: tuple[int, ...]

    def declaration(self, width: Width) -> list[str]:
        match self.kind:
            case "variable":
                return [f"var {self.text}: {width} = {self.numbers[0]};"]
            case "param":
                return [f"param {self.text}: {width};"]
            case _:
                return []


def draw_bound(random: Random, width: Width, name: str) -> Bound:
    kind, lowest = random.choice(KINDS), -(1 << width.bits - 1) if width.is_signed else 0
    distances = [random.randint(-9, 9) * random.choice((1, 30)) for _ in range(NUM_PES)]
    end = random.choice((lowest, width.maximum))
    numbers = tuple(width.wrap(end + distance) for distance in distances)
    if kind != "param":
        numbers = numbers[:1] * NUM_PES
    return Bound(kind, f"{numbers[0]}" if kind == "number" else name, numbers)


def draw_loop(random: Random, name: str) -> tuple[Width, tuple[Bound, Bound], int]:
    """Return the type, the bounds and the step of a range of few rounds."""
    while True:
        width = Width(random.choice((3, 7, 8, 16, 16, 24, 32, 48, 64)), random.random() < 0.5)
        largest = min(width.maximum, 1 << random.randint(1, 63))
        step = random.choice((1, -1)) * random.randint(1, largest)
        start = draw_bound(random, width, f"{name}_start")
        stop = draw_bound(random, width, f"{name}_stop")
        pairs = zip(start.numbers, stop.numbers, strict=True)
        if all(-((a - b) // step) <= MAX_ROUNDS for a, b in pairs):
            return width, (start, stop), step


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=15)
@given(seed=st.integers(0, 1 << 32))
def test_ranges_are_those_of_python(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    head = [f"var {name} = @zeros([{NUM_LOOPS}]u32);" for name in ("counts", "sums")]
    body: list[str] = []
    params: list[list[str]] = [[] for _ in range(NUM_PES)]
    expected: list[list[range]] = [[] for _ in range(NUM_PES)]
    for at in range(NUM_LOOPS):
        width, bounds, step = draw_loop(random, f"loop{at}")
        start, stop = bounds
        for bound in bounds:
            head += bound.declaration(width)
        for pe in range(NUM_PES):
            expected[pe].append(range(start.numbers[pe], stop.numbers[pe], step))
            given = [bound for bound in bounds if bound.kind == "param"]
            params[pe] += [f".{bound.text} = {bound.numbers[pe]}" for bound in given]
        # One that does not end is left, so that it fails in time.
        body.append(
            f"for (@range({width}, {start.text}, {stop.text}, {step})) |x| {{ counts[{at}] += 1; "
            f"sums[{at}] += @as(u32, x); if (counts[{at}] > {MAX_ROUNDS}) break; }}"
        )
    lines = "\n  ".join(body)
    source = "\n".join((*head, f"task main() void {{\n  {lines}\n}}{START}"))
    for engine in ("reference", "fast"):
        machine = run(source, params, engine)
        for pe, ranges in enumerate(expected):
            assert words(machine, pe, "counts") == [len(r) for r in ranges], source
            assert words(machine, pe, "sums") == [sum(r) & 0xFFFFFFFF for r in ranges], source


@pytest.mark.parametrize("bits", [7, 8, 16, 24, 32, 64])
def test_steps_down_to_the_end_of_a_type(bits: int) -> None:
    """Distances are unsigned there, and the numbers that they are of are not."""
    width = Width(bits, is_signed=True)
    low = width.wrap(1 << bits - 1)
    expected = [range(width.maximum - 3, low + 5, step) for step in (-(width.maximum // 3), low)]
    body = "\n".join(
        f"for (@range({width}, start, {r.stop}, {r.step})) |x| {{ counts[{at}] += 1; "
        f"sums[{at}] += @as(u32, x); if (counts[{at}] > {MAX_ROUNDS}) break; }}"
        for at, r in enumerate(expected)
    )
    head = "".join(f"var {name} = @zeros([{NUM_LOOPS}]u32);\n" for name in ("counts", "sums"))
    head += f"var zero: {width} = 0;\ntask unknown() void {{ zero += 1; }}\n"
    head += "comptime { @bind_local_task(unknown, @get_local_task_id(27)); }\n"
    start = f"const start = zero + {expected[0].start};"
    machine = run(
        f"{head}task main() void {{ {start}\n{body}\n}}{START}", [[]] * NUM_PES, "reference"
    )
    assert words(machine, 0, "counts")[:2] == [len(r) for r in expected]
    assert words(machine, 0, "sums")[:2] == [sum(r) & 0xFFFFFFFF for r in expected]


def run(source: str, params: list[list[str]], engine: str) -> Machine:
    """Run a program on a row of PEs, each with params of its own."""
    tiles = "\n".join(
        f'  @set_tile_code({pe}, 0, "pe.csl", .{{ {", ".join(given)} }});'
        for pe, given in enumerate(params)
    )
    files = {"layout.csl": LAYOUT.format(num_pes=NUM_PES, tiles=tiles), "pe.csl": source}
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    machine = Machine(compile_program(options, MemoryFiles(files)), architecture, engine=engine)
    machine.run(max_cycles=1_000_000)
    return machine


def words(machine: Machine, x: int, name: str) -> list[int]:
    symbol = machine.symbol(x, 0, name)
    payload = machine.peek(x, 0, symbol.address, symbol.num_bytes)
    return list(struct.unpack(f"<{NUM_LOOPS}I", payload))
