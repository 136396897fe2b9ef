"""FIFOs, DSDs and DSRs are operands wherever a known struct holds them.

Random structs and tuples in each other are the same tree in Python: leaves are FIFOs and memory,
and a program moves numbers from leaf to leaf by the paths that lead there.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine
from tests.csl.one_task import LAYOUT, START

LENGTH = 4
"""Elements of each array; a FIFO holds twice as many."""
MAX_FIFOS = 4
NUM_MOVES = 10
HOLDERS = ("global", "local", "argument", "result", "module")


@dataclass
class Leaves:
    """What the tree leads to: the declarations, and the paths with their values in Python."""

    random: Random
    declarations: list[str] = field(default_factory=list[str])
    memory: list[tuple[str, list[int]]] = field(default_factory=list[tuple[str, list[int]]])
    fifos: list[tuple[str, deque[int]]] = field(default_factory=list[tuple[str, deque[int]]])

    def tree(self, path: str, depth: int) -> str:
        """Return a struct or a tuple whose fields `path` leads to."""
        is_tuple = self.random.choice((False, True))
        fields: list[str] = []
        for index in range(self.random.randint(1, 3)):
            inner = f"{path}[{index}]" if is_tuple else f"{path}.f{index}"
            below = depth and self.random.random() < 0.5
            value = self.tree(inner, depth - 1) if below else self.leaf(inner)
            fields.append(value if is_tuple else f".f{index} = {value}")
        return f".{{ {', '.join(fields)} }}"

    def leaf(self, path: str) -> str:
        if len(self.fifos) < MAX_FIFOS and self.random.choice((False, True)):
            name = f"ring{len(self.fifos)}"
            self.declarations.append(f"var {name} = @zeros([{2 * LENGTH}]i16);")
            self.fifos.append((path, deque()))
            return f"@allocate_fifo({name})"
        name, values = f"m{len(self.memory)}", [self.random.randint(-99, 99) for _ in range(LENGTH)]
        elements = ", ".join(map(str, values))
        self.declarations.append(f"export var {name} = [{LENGTH}]i16{{ {elements} }};")
        self.memory.append((path, values))
        access = f"|i|{{{LENGTH}}} -> {name}[i]"
        return f"@get_dsd(mem1d_dsd, .{{ .tensor_access = {access} }})"

    def move(self) -> str:
        """Return a statement that moves a whole array, having done so here."""
        target, values = self.random.choice(self.memory)
        ready = [fifo for fifo in self.fifos if fifo[1]]
        free = [fifo for fifo in self.fifos if len(fifo[1]) < 2 * LENGTH]
        if ready and self.random.choice((False, True)):
            source, queue = self.random.choice(ready)
            values[:] = [queue.popleft() for _ in range(LENGTH)]
        elif free and self.random.choice((False, True)):
            source, (target, queue) = target, self.random.choice(free)
            queue.extend(values)
        else:
            source, others = self.random.choice(self.memory)
            values[:] = others
        return f"@mov16({target}, {source});"


def program(leaves: Leaves, tree: str, moves: str, holder: str) -> dict[str, str]:
    """Return the files of a program in which `s` is the tree where the moves are."""
    whole, module = "const all = " + tree + ";", "fn go() void {}"
    before = {
        "global": f"const s = all; fn go() void {{ {moves} }}",
        "local": f"fn go() void {{ const s = all; {moves} }}",
        "argument": f"fn with(s: anytype) void {{ {moves} }} fn go() void {{ with(all); }}",
        "result": "fn get() comptime_struct { return .{ .inner = all }; } "
        f"fn go() void {{ const s = get().inner; {moves} }}",
        "module": 'const m = @import_module("m.csl", .{ .s = all }); fn go() void { m.go(); }',
    }[holder]
    if holder == "module":
        module = f"param s: comptime_struct; fn go() void {{ {moves} }}"
    declared = "\n".join(leaves.declarations)
    body = f"{declared}\n{whole}\n{before}\ntask main() void {{ go(); }}\n{START}"
    return {"layout.csl": LAYOUT, "pe.csl": body, "m.csl": module}


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32), holder=st.sampled_from(HOLDERS))
def test_every_path_leads_to_an_operand(seed: int, holder: str) -> None:
    random = Random(seed)  # noqa: S311
    leaves = Leaves(random)
    tree = f".{{ .f0 = {leaves.leaf('s.f0')}, .f1 = {leaves.tree('s.f1', 2)} "
    while not leaves.memory or not leaves.fifos:
        name = f"f{2 + len(leaves.memory) + len(leaves.fifos)}"
        tree += f", .{name} = {leaves.leaf(f's.{name}')}"
    moves = " ".join(leaves.move() for _ in range(NUM_MOVES))
    files = program(leaves, tree + "}", moves, holder)
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    image = compile_program(options, MemoryFiles(files))
    for engine in ("reference", "fast"):
        machine = Machine(image, architecture, engine=engine)
        machine.run(max_cycles=10_000)
        for index, (path, values) in enumerate(leaves.memory):
            symbol = machine.symbol(0, 0, f"m{index}")
            payload = machine.peek(0, 0, symbol.address, 2 * LENGTH)
            assert list(struct.unpack(f"<{LENGTH}h", payload)) == values, (path, engine)
