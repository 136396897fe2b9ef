"""Write `src/onewafer/mesh/kernel_costs.json` from the compiled listing of the mesh kernels.

    python tools/kernel_costs.py            write the file
    python tools/kernel_costs.py --check    exit with 1 if the file is out of date

A program with all kinds of operations is compiled; for every kind the instructions of one step
of the state machine are walked through, with schedule entries of several sizes. Their number is
`call + rows · (row + inner steps · inner)` exactly, so three walks give the coefficients and a
fourth checks them. No engine and no timing is involved: the file holds counts by cost class.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import FLOATING, Add, AddBias, DataType, Graph, Linear, Operation, Relu, Tensor
from onewafer.image import (
    DsdOperation,
    Field,
    Opcode,
    ScalarType,
    SectionKind,
    TaskKind,
    cost_class,
)
from onewafer.mesh import emit_csl, shard
from onewafer.mesh.kernel_costs import Counts, KernelCost, KernelCosts
from onewafer.mesh.schedule import Entry, Kind, build_schedule, kinds_of
from onewafer.simulator.arithmetic import binary, canonical, conversion, unary

if TYPE_CHECKING:
    from onewafer.image import Symbol, TileProgram, WaferImage

PATH = Path(__file__).parents[1] / "src" / "onewafer" / "mesh" / "kernel_costs.json"

_BINARY = range(Opcode.ADD, Opcode.REM + 1)
_BITWISE = (Opcode.AND, Opcode.OR, Opcode.XOR, Opcode.SHL, Opcode.SHR)
_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)
_DSD_UPDATES = range(Opcode.DSD_SET_BASE, Opcode.DSD_ADVANCE + 1)
_WITHOUT_RESULT = (
    Opcode.ACTIVATE,
    Opcode.UNBLOCK_COMMAND_STREAM,
    Opcode.DSR_LOAD,
    Opcode.DSR_LOAD_CONSTANT,
)


class Walk:
    """The scalar part of one task: registers, memory, and what has been counted."""

    def __init__(self, program: TileProgram) -> None:
        self._program = program
        self._registers = [0] * (program.num_registers + 1)
        self._memory = bytearray(1 << 16)
        self._memory[program.data_address : program.data_address + len(program.data)] = bytes(
            program.data
        )

    def store(self, address: int, words: tuple[int, ...]) -> None:
        """Put u16 words into memory."""
        for index, word in enumerate(words):
            self._write(address + 2 * index, word, ScalarType.U16)

    def count(self, entry: int) -> Counter[str]:
        """Walk from an instruction to the end of its task, or to an asynchronous operation."""
        counts: Counter[str] = Counter()
        stack: list[int] = []
        pc = entry
        while True:
            row = [int(field) for field in self._program.code[pc]]
            opcode, immediate = Opcode(row[Field.OPCODE]), row[Field.IMM]
            cost = cost_class(opcode, row[Field.TYPE]).name.lower()
            pc += 1
            match opcode:
                case Opcode.DSD if immediate >= 0:
                    return counts
                case Opcode.DSD:
                    counts[DsdOperation(row[Field.TYPE]).name.lower()] += 1
                    continue
                case Opcode.BRANCH_ZERO | Opcode.BRANCH_NONZERO:
                    if (self._registers[row[Field.RA]] == 0) == (opcode is Opcode.BRANCH_ZERO):
                        counts["branch_taken"] += 1
                        pc = immediate
                        continue
                case Opcode.JUMP:
                    pc = immediate
                case Opcode.CALL:
                    stack.append(pc)
                    pc = immediate
                case Opcode.RETURN if stack:
                    pc = stack.pop()
                case Opcode.END_TASK | Opcode.RETURN:
                    counts[cost] += 1
                    return counts
                case _:
                    self._execute(opcode, row)
            counts[cost] += 1

    def _execute(self, opcode: Opcode, row: list[int]) -> None:
        registers, rd, immediate = self._registers, row[Field.RD], row[Field.IMM]
        left, right = registers[row[Field.RA]], registers[row[Field.RB]]
        if opcode in _WITHOUT_RESULT:
            return
        if opcode in _DSD_UPDATES:  # values of DSDs decide nothing here
            return
        element = ScalarType(row[Field.TYPE])
        if opcode is Opcode.LOAD_IMMEDIATE:
            registers[rd] = canonical(immediate, element)
        elif opcode is Opcode.COORDINATE:  # TURN asks, and is walked on PE (0, 0)
            registers[rd] = 0
        elif opcode is Opcode.MOVE:
            registers[rd] = left
        elif opcode is Opcode.LOAD:
            registers[rd] = self._read(left + immediate, element)
        elif opcode is Opcode.STORE:
            self._write(left + immediate, right, element)
        elif opcode in _BINARY or opcode in _BITWISE or opcode in _COMPARISONS:
            registers[rd] = binary(opcode, element)(left, right)
        elif opcode in (Opcode.NEG, Opcode.NOT):
            registers[rd] = unary(opcode, element)(left)
        elif opcode is Opcode.CONVERT:
            registers[rd] = conversion(element, ScalarType(immediate))(left)
        else:
            raise NotImplementedError(f"the kernels use {opcode.name}, which this tool cannot walk")

    def _read(self, address: int, element: ScalarType) -> int:
        size = element.num_bytes
        word = int.from_bytes(self._memory[address : address + size], "little")
        return canonical(word, element)

    def _write(self, address: int, word: int, element: ScalarType) -> None:
        size = element.num_bytes
        self._memory[address : address + size] = (word & ((1 << 8 * size) - 1)).to_bytes(
            size, "little"
        )


def graph_of_all_kinds(dtype: DataType) -> Graph:
    """Build a graph that needs every kind of operation on a rectangle of 4×4."""

    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, dtype)

    layers: list[Operation] = []
    source = "x"
    for index in range(6):  # after the first, pairs of equal layers, for a REPEAT
        layers += [
            Linear(tensor(f"{index}.product", 4, 8), source, "w"),
            AddBias(tensor(f"{index}.sum", 4, 8), f"{index}.product", "v"),
            Relu(tensor(f"{index}.relu", 4, 8), f"{index}.sum"),
        ]
        source = f"{index}.relu"
    layers += [
        Add(tensor("even", 4, 8), source, "x"),
        Add(tensor("odd", 4, 8), "even", "0.relu"),  # turns its right operand
        Add(tensor("y", 4, 8), "0.relu", "odd"),  # likewise, the other way
    ]
    parameters = (tensor("w", 8, 8), tensor("v", 8))
    return Graph("all kinds", (tensor("x", 4, 8),), parameters, tuple(layers), ("y",))


def graph_of_one_kind(dtype: DataType) -> Graph:
    """Build a graph that needs nothing but an addition."""
    x, y = Tensor("x", (4, 8), dtype), Tensor("y", (4, 8), dtype)
    return Graph("one kind", (x,), (), (Add(y, "x", "x"),), ("y",))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program on 4×4 PEs, and the kinds that its state machine asks for."""

    image: WaferImage
    kinds: frozenset[Kind]

    @property
    def first(self) -> TileProgram:
        """The program of PE (0, 0), where a broadcast begins."""
        return self.image.programs[int(self.image.program_of_pe[0, 0])]

    @property
    def last(self) -> TileProgram:
        """The program of PE (3, 3), where a chain begins."""
        return self.image.programs[int(self.image.program_of_pe[-1, -1])]

    def num_tests(self, kind: Kind) -> int:
        """Return how many other kinds are asked for before this one."""
        return sum(other < kind for other in self.kinds)


def compile_graph(graph: Graph, arch: str) -> Compiled:
    """Compile a graph for 4×4 PEs."""
    architecture = load_architecture(arch)
    program = shard(graph, width=4, height=4, architecture=architecture)
    emitted = emit_csl.write_text(program)
    options = CompileOptions(entry=emitted.entry, architecture=architecture, params=emitted.params)
    image = compile_program(options, MemoryFiles(emitted.files))
    return Compiled(image, kinds_of(build_schedule(program)))


def measure(dtype: DataType, arch: str) -> KernelCosts:
    """Return the counts of all kinds for one dtype."""
    full = compile_graph(graph_of_all_kinds(dtype), arch)
    small = compile_graph(graph_of_one_kind(dtype), arch)
    stop = _walk(full.first, Kind.STOP)
    more = _difference(stop, _walk(small.first, Kind.STOP))
    num_tests = full.num_tests(Kind.STOP) - small.num_tests(Kind.STOP)
    test = Counter({name: count // num_tests for name, count in more.items()})
    predicted = _scaled(test, full.num_tests(Kind.ADD) - small.num_tests(Kind.ADD))
    if _difference(_walk(full.first, Kind.ADD), _walk(small.first, Kind.ADD)) != predicted:
        raise AssertionError("the tests for kinds do not all cost the same")
    infer = _symbol(full.first, full.first.exports["infer"])
    return KernelCosts(
        num_bytes=max(_kernel_bytes(program) for program in full.image.programs),
        launch=dict(Walk(full.first).count(infer.address)),
        test=_plain(test),
        kinds={kind.name.lower(): _measure_kind(full, kind, test) for kind in sorted(full.kinds)},
    )


def _measure_kind(compiled: Compiled, kind: Kind, test: Counter[str]) -> KernelCost:
    starts_at_far_end = kind in (Kind.CHAIN_REDUCE_X, Kind.CHAIN_REDUCE_Y)
    program = compiled.last if starts_at_far_end else compiled.first
    base, wide, tall = _walk(program, kind), _walk(program, kind, inner=2), _walk(program, kind, 2)
    inner = _difference(wide, base)
    row = _difference(_difference(tall, base), inner)
    once = _difference(_difference(base, row), inner)
    predicted = Counter({name: once[name] + 3 * (row[name] + 4 * inner[name]) for name in base})
    if predicted != _walk(program, kind, 3, 4):
        raise AssertionError(f"the instructions of {kind.name} are not linear in its sizes")
    call = _difference(once, _scaled(test, compiled.num_tests(kind)))
    return KernelCost(_plain(call), _plain(row), _plain(inner))


def _walk(program: TileProgram, kind: Kind, rows: int = 1, inner: int = 1) -> Counter[str]:
    """Count one step of the state machine on an entry of that kind.

    A block of the result has more columns than `inner`: to find out which block is the shorter one
    takes a TURN an instruction more or less.
    """
    step = next(task for task in program.tasks if task.kind is TaskKind.LOCAL)
    walker = Walk(program)
    n = 0 if kind in (Kind.MATMUL_X, Kind.MATMUL_Y) else rows * 8  # without padding
    entry = Entry(kind, n=n, rows=rows, columns=8, inner=inner)
    walker.store(_symbol(program, "model.schedule").address, entry.words)
    return walker.count(step.entry)


def _difference(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return Counter({name: left[name] - right[name] for name in left | right})


def _scaled(counts: Counter[str], factor: int) -> Counter[str]:
    return Counter({name: factor * count for name, count in counts.items()})


def _plain(counts: Counter[str]) -> Counts:
    return {name: count for name, count in sorted(counts.items()) if count}


def _symbol(program: TileProgram, name: str) -> Symbol:
    return next(symbol for symbol in program.symbols if symbol.name == name)


def _kernel_bytes(program: TileProgram) -> int:
    """Return the bytes of a program without the runtime and without the model's own arrays."""
    counted = (SectionKind.CODE, SectionKind.DATA, SectionKind.STACK)
    total = sum(section.num_bytes for section in program.sections if section.kind in counted)
    arrays = ("parameters", "activations", "sums", "schedule")
    names = {f"model.{name}" for name in arrays}
    return total - sum(symbol.num_bytes for symbol in program.symbols if symbol.name in names)


def generate() -> str:
    """Return the text of the file; both generations must give the same counts."""
    tables: dict[str, object] = {}
    for dtype in FLOATING:
        costs = measure(dtype, "wse3")
        if costs != measure(dtype, "wse2"):
            raise AssertionError(
                "the generations compile to different kernels: key the file by arch"
            )
        tables[dtype] = dataclasses.asdict(costs)
    return json.dumps(tables, indent=1) + "\n"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH} is out of date; run `python tools/kernel_costs.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
