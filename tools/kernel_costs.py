"""Write `src/onewafer/mesh/kernel_costs.json` from the compiled listing of the mesh kernels.

    python tools/kernel_costs.py            write the file
    python tools/kernel_costs.py --check    exit with 1 if the file is out of date

A program with all kinds of operations is compiled; for every kind the instructions of one step
of the state machine are walked through, with operations of several sizes. `SAMPLES` says of which
products of sizes their number is a sum, like `once + rows · (row + inner · step)`: as many walks as
that has terms give the counts, and more walks check them. The length of a DSD operation must be a
product of sizes, too. No engine and no timing is involved: the file holds counts by cost class.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import FLOATING, Add, AddBias, DataType, Graph, Linear, Operation, Relu, Tensor
from onewafer.image import (
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    ScalarType,
    SectionKind,
    TaskKind,
    cost_class,
    decode_operand,
)
from onewafer.mesh import Arena, Axis, Block, MeshOperation, emit_csl, shard
from onewafer.mesh import operations as mesh
from onewafer.mesh.entry import Entry, Kind
from onewafer.mesh.kernel_costs import Counts, KernelCost, KernelCosts, product
from onewafer.mesh.schedule import build_schedule, kinds_of
from onewafer.simulator.arithmetic import binary, canonical, conversion, unary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.image import Symbol, TileProgram, WaferImage
    from onewafer.mesh import MeshProgram

PATH = Path(__file__).parents[1] / "src" / "onewafer" / "mesh" / "kernel_costs.json"

_BINARY = range(Opcode.ADD, Opcode.REM + 1)
_BITWISE = (Opcode.AND, Opcode.OR, Opcode.XOR, Opcode.SHL, Opcode.SHR)
_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)
_WITHOUT_RESULT = (Opcode.ACTIVATE, Opcode.UNBLOCK_COMMAND_STREAM)
_DSR_MODES = (OperandMode.DSR_SRC0, OperandMode.DSR_SRC1, OperandMode.DSR_DEST)
_LOW_HALF, _HIGH_HALF = 0xFFFF, 0xFFFF0000


class Walk:
    """The scalar part of one task: registers, memory, and what has been counted.

    DSD operations are counted by name and length, and not executed.
    """

    def __init__(self, program: TileProgram) -> None:
        self._program = program
        self._registers = [0] * (program.num_registers + 1)
        self._dsr_lengths: dict[int, int] = {}
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
                    name = DsdOperation(row[Field.TYPE]).name.lower()
                    counts[f"{name}({self._dsd_length(row)})"] += 1
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
        if opcode in _WITHOUT_RESULT or self._execute_dsd(opcode, row):
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

    def _execute_dsd(self, opcode: Opcode, row: list[int]) -> bool:
        """Execute an instruction on DSD values or DSRs; return whether it was one."""
        registers, rd, immediate = self._registers, row[Field.RD], row[Field.IMM]
        low, high = registers[row[Field.RA]], registers[min(row[Field.RA] + 1, len(registers) - 1)]
        value = registers[row[Field.RB]] & _LOW_HALF
        match opcode:
            case Opcode.DSR_LOAD:
                self._dsr_lengths[rd] = low >> 16
            case Opcode.DSR_LOAD_CONSTANT:
                self._dsr_lengths[rd] = (immediate & (_LOW_HALF | _HIGH_HALF)) >> 16
            case Opcode.DSD_SET_BASE:
                registers[rd : rd + 2] = low & _HIGH_HALF | value, high
            case Opcode.DSD_SET_LENGTH:
                registers[rd : rd + 2] = low & _LOW_HALF | value << 16, high
            case Opcode.DSD_SET_STRIDE:
                registers[rd : rd + 2] = low, high & _HIGH_HALF | value
            case Opcode.DSD_ADVANCE:
                address = low + canonical(value, ScalarType.I16) * immediate
                registers[rd : rd + 2] = low & _HIGH_HALF | address & _LOW_HALF, high
            case _:
                return False
        return True

    def _dsd_length(self, row: list[int]) -> int:
        """Return the elements of a DSD operation: those of src0, else src1, else dest, else 1."""
        operands = {decode_operand(row[f])[0]: row[f] for f in (Field.RA, Field.RB, Field.RD)}
        lengths = [self._dsr_lengths[operands[mode]] for mode in _DSR_MODES if mode in operands]
        return next((length for length in lengths if length), 1)

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

    program: MeshProgram
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
    return Compiled(program, image, kinds_of(build_schedule(program)))


@dataclass(frozen=True, slots=True)
class Sample:
    """An operation of any size, for the walks of its kind."""

    build: Callable[[Sizes], MeshOperation]
    rounds: tuple[str, ...] = ()
    """Products of sizes that say how often its loops run."""
    lengths: tuple[str, ...] = ()
    """Products of sizes that are lengths of its DSD operations."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes from which samples are built."""

    rows: int
    inner: int
    columns: int = 11
    """More than `inner`: to find out which block is the shorter one takes a TURN an instruction
    more or less."""
    num_pes: int = 4

    def block(self, arena: Arena = Arena.ACTIVATIONS) -> Block:
        """Return a block of rows × columns."""
        return Block(arena, 0, self.rows, self.columns)


def _matmul(sizes: Sizes, axis: Axis) -> MeshOperation:
    operand = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner)
    weight = Block(Arena.PARAMETERS, 0, sizes.inner, sizes.columns)
    without_padding = sizes.num_pes * sizes.columns
    return mesh.Matmul(sizes.block(), operand, weight, axis, without_padding)


def _turn(sizes: Sizes, axis: Axis) -> MeshOperation:
    return mesh.Turn(sizes.block(), Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner), axis)


def _samples(axis: Axis) -> list[Sample]:
    """Return the samples of operations that have an axis."""
    return [
        Sample(
            lambda sizes: _matmul(sizes, axis),
            rounds=("rows", "rows*inner"),
            lengths=("elements", "columns"),
        ),
        Sample(lambda sizes: _turn(sizes, axis), rounds=("rows",), lengths=("elements", "shared")),
        Sample(lambda sizes: mesh.ChainReduce(sizes.block(), axis)),
        Sample(lambda sizes: mesh.Broadcast(sizes.block(), axis)),
    ]


def _add_bias(sizes: Sizes) -> MeshOperation:
    bias = Block(Arena.PARAMETERS, 0, 1, sizes.columns)
    return mesh.AddBias(sizes.block(), sizes.block(), bias)


SAMPLES: tuple[Sample, ...] = (
    *_samples(Axis.X),
    *_samples(Axis.Y),
    Sample(lambda sizes: mesh.Convert(sizes.block(), sizes.block()), lengths=("elements",)),
    Sample(_add_bias, rounds=("rows",), lengths=("columns",)),
    Sample(lambda sizes: mesh.Relu(sizes.block(), sizes.block()), lengths=("elements",)),
    Sample(lambda sizes: mesh.Add(*[sizes.block()] * 3), lengths=("elements",)),
)
"""One of every kind but those of the state machine itself."""


def measure(dtype: DataType, arch: str) -> KernelCosts:
    """Return the counts of all kinds for one dtype."""
    full = compile_graph(graph_of_all_kinds(dtype), arch)
    small = compile_graph(graph_of_one_kind(dtype), arch)
    stop, add = Entry(Kind.STOP), Entry(Kind.ADD, n=8, rows=1, columns=8)
    more = _difference(_walk(full.first, stop), _walk(small.first, stop))
    num_tests = full.num_tests(Kind.STOP) - small.num_tests(Kind.STOP)
    test = Counter({name: count // num_tests for name, count in more.items()})
    predicted = _scaled(test, full.num_tests(Kind.ADD) - small.num_tests(Kind.ADD))
    if _difference(_walk(full.first, add), _walk(small.first, add)) != predicted:
        raise AssertionError("the tests for kinds do not all cost the same")
    infer = _symbol(full.first, full.first.exports["infer"])
    kinds = {sample.build(Sizes(1, 1)).kind: sample for sample in SAMPLES}
    costs = {kind: _measure_sample(full, kinds[kind], test) for kind in full.kinds & set(kinds)}
    for kind in full.kinds - set(kinds):
        counts = _walk(full.first, Entry(kind, n=1))  # a REPEAT goes back
        costs[kind] = {"1": _plain(_difference(counts, _tests_before(full, kind, test)))}
    return KernelCosts(
        num_bytes=max(_kernel_bytes(program) for program in full.image.programs),
        launch=_plain(Walk(full.first).count(infer.address)),
        test=_plain(test),
        kinds={kind.name.lower(): costs[kind] for kind in sorted(costs)},
    )


def _measure_sample(compiled: Compiled, sample: Sample, test: Counter[str]) -> KernelCost:
    """Solve for the counts of each term from walks with operations of several sizes."""
    terms = ("1", *sample.rounds)
    weights: list[list[int]] = []
    walks: list[Counter[str]] = []
    for rows, inner in itertools.product((2, 3, 5), (1, 4, 7)):
        operation = sample.build(Sizes(rows, inner))
        sizes = operation.sizes()
        program = compiled.last if operation.kind in _FROM_FAR_END else compiled.first
        counts = _walk(program, operation.entry(compiled.program))
        counts = _difference(counts, _tests_before(compiled, operation.kind, test))
        walks.append(
            _with_names(counts, {length: product(length, sizes) for length in sample.lengths})
        )
        weights.append([product(term, sizes) for term in terms])
    names = sorted({name for walk in walks for name in walk})
    observed = np.array([[walk[name] for name in names] for walk in walks])
    coefficients = _solve(np.array(weights), observed)
    if coefficients is None:
        kind = sample.build(Sizes(1, 1)).kind
        raise AssertionError(f"the instructions of {kind.name} are not a sum over {terms}")
    return {
        term: _plain(Counter(dict(zip(names, map(int, row), strict=True))))
        for term, row in zip(terms, coefficients, strict=True)
    }


_FROM_FAR_END = (Kind.CHAIN_REDUCE_X, Kind.CHAIN_REDUCE_Y)
"""Kinds whose first PE is the last one of the axis."""


def _solve(weights: NDArray[Any], observed: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the whole numbers c with weights · c = observed; None if there are none."""
    solution = np.linalg.lstsq(weights.astype(float), observed.astype(float), rcond=None)[0]
    whole = np.rint(solution).astype(np.int64)
    return whole if np.array_equal(weights @ whole, observed) else None


def _with_names(counts: Counter[str], lengths: Mapping[str, int]) -> Counter[str]:
    """Replace the lengths of DSD operations by the names of the products of sizes they are."""
    named: Counter[str] = Counter()
    for name, count in counts.items():
        operation, _, length = name.rstrip(")").partition("(")
        if not length:
            named[name] += count
            continue
        fitting = [product for product, value in lengths.items() if value == int(length)]
        if not fitting:
            raise AssertionError(f"{operation} has {length} elements, none of {dict(lengths)}")
        named[f"{operation}({fitting[0]})"] += count
    return named


def _tests_before(compiled: Compiled, kind: Kind, test: Counter[str]) -> Counter[str]:
    return _scaled(test, compiled.num_tests(kind))


def _walk(program: TileProgram, entry: Entry) -> Counter[str]:
    """Count one step of the state machine on an entry."""
    step = next(task for task in program.tasks if task.kind is TaskKind.LOCAL)
    walker = Walk(program)
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
