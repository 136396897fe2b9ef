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
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import (
    FLOATING,
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    DataType,
    Graph,
    LayerNorm,
    Linear,
    Multiply,
    Operation,
    Relu,
    RmsNorm,
    Scale,
    Tensor,
)
from onewafer.image import (
    IN_MAP,
    INSTRUCTIONS,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    ScalarType,
    SectionKind,
    SymbolKind,
    TaskKind,
    cost_class,
    decode_operand,
)
from onewafer.mesh import Arena, Axis, Block, MeshOperation, emit_csl, shard
from onewafer.mesh import operations as mesh
from onewafer.mesh.entry import Entry, Kind, num_tests
from onewafer.mesh.kernel_costs import (
    Counts,
    KernelCost,
    KernelCosts,
    Part,
    VectorOperation,
    product,
)
from onewafer.mesh.norms import Groups
from onewafer.mesh.operations.sizes import CHUNK
from onewafer.mesh.schedule import build_schedule, kinds_of
from onewafer.simulator.arithmetic import binary, canonical, conversion, unary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.image import Symbol, Task, TileProgram, WaferImage
    from onewafer.mesh import MeshProgram

PATH = Path(__file__).parents[1] / "src" / "onewafer" / "mesh" / "kernel_costs.json"

_BINARY = range(Opcode.ADD, Opcode.REM + 1)
_BITWISE = (Opcode.AND, Opcode.OR, Opcode.XOR, Opcode.SHL, Opcode.SHR)
_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)
_WITHOUT_RESULT = (Opcode.ACTIVATE, Opcode.UNBLOCK_COMMAND_STREAM)
_DSR_MODES = (OperandMode.DSR_SRC0, OperandMode.DSR_SRC1, OperandMode.DSR_DEST)
_LOW_HALF, _HIGH_HALF, _WORD = 0xFFFF, 0xFFFF0000, 0xFFFFFFFF


def _signed(word: int) -> int:
    """Return the low half of a word as a signed number."""
    return (word + 0x8000 & _LOW_HALF) - 0x8000


class Walk:
    """The scalar part of one task: registers, memory, and what has been counted.

    DSD operations are counted by name and length, and not executed.
    """

    def __init__(self, program: TileProgram) -> None:
        self._program = program
        self._registers = [0] * (program.num_registers + 1)
        self._dsrs: dict[int, tuple[int, int]] = {}
        self.visited: set[int] = set()
        """Instructions that were walked through."""
        self.touched: set[int] = set()
        """Addresses that instructions named."""
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
            self.visited.add(pc)
            pc += 1
            match opcode:
                case Opcode.DSD if immediate >= 0:
                    return counts
                case Opcode.DSD:
                    counts[str(self._vector_operation(row))] += 1
                    continue
                case Opcode.BRANCH_ZERO | Opcode.BRANCH_NONZERO:
                    if (self._registers[row[Field.RA]] == 0) == (opcode is Opcode.BRANCH_ZERO):
                        counts["branch_taken"] += 1
                        pc = immediate
                        continue
                case Opcode.MAP_BEGIN:
                    counts["map_begin"] += 1
                    if self._registers[row[Field.RA]] == 0:
                        pc = immediate
                    continue
                case Opcode.MAP_STEP:
                    self._registers[row[Field.RA]] -= 1
                    if self._registers[row[Field.RA]]:
                        pc = immediate
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
        if self._execute_dsd(opcode, row) or self._execute_map(opcode, row):
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
                self._dsrs[rd] = low, high
            case Opcode.DSR_LOAD_CONSTANT:
                self._dsrs[rd] = immediate & _WORD, row[Field.AUX] & _WORD
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

    def _vector_operation(self, row: list[int]) -> VectorOperation:
        """Return a DSD operation; its length is that of src0, else src1, else dest, else 1."""
        operands = {decode_operand(row[f])[0]: row[f] for f in (Field.RA, Field.RB, Field.RD)}
        dsrs = [self._dsrs[operands[mode]] for mode in _DSR_MODES if mode in operands]
        length = next((low >> 16 for low, _ in dsrs if low >> 16), 1)
        self.touched |= {low & _LOW_HALF for low, _ in dsrs}
        return VectorOperation(
            DsdOperation(row[Field.TYPE]).name.lower(),
            str(length),
            str(max(abs(_signed(high)) for _, high in dsrs)),
            is_reduction=OperandMode.POINTER in operands,
            is_mapped=row[Field.AUX] == IN_MAP,
        )

    def _execute_map(self, opcode: Opcode, row: list[int]) -> bool:
        """Execute an instruction that moves elements in a map loop; return whether it was one."""
        registers, pair = self._registers, row[Field.RA]
        if opcode not in (Opcode.MAP_READ, Opcode.MAP_WRITE):
            return False
        element = ScalarType(row[Field.TYPE])
        address = registers[pair] & _LOW_HALF
        if opcode is Opcode.MAP_READ:
            registers[row[Field.RD]] = self._read(address, element)
        else:
            self._write(address, registers[row[Field.RB]], element)
        after = address + _signed(registers[pair + 1]) * element.num_bytes
        registers[pair] = registers[pair] & _HIGH_HALF | after & _LOW_HALF
        return True

    def _read(self, address: int, element: ScalarType) -> int:
        self.touched.add(address)
        size = element.num_bytes
        word = int.from_bytes(self._memory[address : address + size], "little")
        return canonical(word, element)

    def _write(self, address: int, word: int, element: ScalarType) -> None:
        self.touched.add(address)
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
    layers += [
        Multiply(tensor("product", 4, 8), "y", "y"),
        Scale(tensor("scaled", 4, 8), "product", 0.5),
        RmsNorm(tensor("rms", 4, 8), "scaled", "v", 1e-5),
        LayerNorm(tensor("layer", 4, 8), "rms", "v", "v", 1e-5),
    ]
    source = "layer"
    for function in ActivationFunction:
        layers.append(Activation(tensor(function, 4, 8), source, function))
        source = function
    return Graph("all kinds", (tensor("x", 4, 8),), parameters, tuple(layers), (source,))


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
        """Return how often the state machine asks in vain before it comes to this kind."""
        return num_tests(kind, self.kinds)


_ARENA_ELEMENTS = 2000
"""So many that no operation of a sample reaches into the next arena."""


def compile_graph(graph: Graph, arch: str) -> Compiled:
    """Compile a graph for 4×4 PEs."""
    architecture = load_architecture(arch)
    program = shard(graph, width=4, height=4, architecture=architecture)
    program = dataclasses.replace(
        program, arena_elements=dict.fromkeys(program.arena_elements, _ARENA_ELEMENTS)
    )
    emitted = emit_csl.write_text(program)
    options = CompileOptions(entry=emitted.entry, architecture=architecture, params=emitted.params)
    image = compile_program(options, MemoryFiles(emitted.files))
    return Compiled(program, image, kinds_of(build_schedule(program)))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes from which samples are built."""

    rows: int
    inner: int
    columns: int
    num_pes: int = 4

    def block(self, arena: Arena = Arena.ACTIVATIONS) -> Block:
        """Return a block of rows × columns."""
        return Block(arena, 0, self.rows, self.columns)

    def vector(self) -> Block:
        """Return a parameter of one row."""
        return Block(Arena.PARAMETERS, 0, 1, self.columns)


@dataclass(frozen=True, slots=True)
class Sample:
    """An operation of any size, for the walks of its kind."""

    build: Callable[[Sizes], MeshOperation]
    rounds: tuple[str, ...] = ()
    """Products of sizes that say how often its loops run."""
    lengths: tuple[str, ...] = ()
    """Products of sizes that are lengths of its DSD operations."""
    columns: int = 11
    """More than the `inner` sizes: to find out which block is the shorter one takes a TURN an
    instruction more or less."""

    def at(self, rows: int, inner: int) -> MeshOperation:
        """Return the operation for some sizes."""
        return self.build(Sizes(rows, inner, self.columns))

    @property
    def kind(self) -> Kind:
        """The kind of all operations that it builds."""
        return self.at(1, 1).kind


def _matmul(sizes: Sizes, axis: Axis) -> MeshOperation:
    operand = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner)
    weight = Block(Arena.PARAMETERS, 0, sizes.inner, sizes.columns)
    without_padding = sizes.num_pes * sizes.columns
    return mesh.Matmul(sizes.block(), operand, weight, axis, without_padding)


def _turn(sizes: Sizes, axis: Axis) -> MeshOperation:
    return mesh.Turn(sizes.block(), Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner), axis)


def _samples_along(axis: Axis) -> list[Sample]:
    """Return the samples of operations whose kinds have an axis."""
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


def _elementwise(build: Callable[[Sizes], MeshOperation]) -> Sample:
    return Sample(build, lengths=("elements",))


def _in_chunks(build: Callable[[Sizes], MeshOperation]) -> Sample:
    """Return a sample whose rows are whole chunks."""
    return Sample(build, rounds=("chunks",), lengths=("elements", "chunk"), columns=CHUNK)


def _activation(function: ActivationFunction) -> Sample:
    return _in_chunks(lambda sizes: mesh.Activation(sizes.block(), sizes.block(), function))


@dataclass(frozen=True, slots=True)
class _Norm:
    """Operands of a normalization of rows of `inner` whole chunks."""

    sizes: Sizes

    @property
    def groups(self) -> Groups:
        """One group, of all features of four PEs."""
        return Groups(1, self.sizes.num_pes * self.input.columns)

    @property
    def input(self) -> Block:
        """Rows of whole chunks."""
        return Block(Arena.ACTIVATIONS, 0, self.sizes.rows, CHUNK * self.sizes.inner)

    @property
    def totals(self) -> Block:
        """A number a row."""
        return Block(Arena.ACCUMULATOR, 0, self.sizes.rows, 1)

    @property
    def vector(self) -> Block:
        """A weight or bias."""
        return Block(Arena.PARAMETERS, 0, 1, self.input.columns)

    def sum_groups(self) -> MeshOperation:
        """Return the first step of LayerNorm."""
        return mesh.SumGroups(self.totals, self.input, self.groups, Axis.X)

    def sum_squares(self, sums: Block | None) -> MeshOperation:
        """Return the next step, or the first one of RmsNorm."""
        return mesh.SumSquares(self.totals, self.input, self.groups, Axis.X, sums)

    def normalize(self, sums: Block | None) -> MeshOperation:
        """Return the last step."""
        bias = None if sums is None else self.vector
        blocks = self.input, self.input, self.totals, self.vector
        return mesh.Normalize(*blocks, self.groups, Axis.X, 1e-5, sums, bias)


def _norm(build: Callable[[_Norm], MeshOperation]) -> Sample:
    return Sample(
        lambda sizes: build(_Norm(sizes)),
        rounds=("pieces", "pieces*rows"),
        lengths=("rows", "piece"),
    )


SAMPLES: tuple[Sample, ...] = (
    *_samples_along(Axis.X),
    *_samples_along(Axis.Y),
    _elementwise(lambda sizes: mesh.Convert(sizes.block(), sizes.block())),
    Sample(
        lambda sizes: mesh.AddBias(sizes.block(), sizes.block(), sizes.vector()),
        rounds=("rows",),
        lengths=("columns",),
    ),
    _elementwise(lambda sizes: mesh.Relu(sizes.block(), sizes.block())),
    _elementwise(lambda sizes: mesh.Add(*[sizes.block()] * 3)),
    _elementwise(lambda sizes: mesh.Multiply(*[sizes.block()] * 3)),
    _in_chunks(lambda sizes: mesh.Scale(sizes.block(), sizes.block(), 0.5)),
    *(_activation(function) for function in ActivationFunction),
    _norm(lambda norm: norm.sum_squares(None)),
    _norm(lambda norm: norm.normalize(None)),
    _norm(lambda norm: norm.sum_groups()),
    _norm(lambda norm: norm.sum_squares(norm.totals)),
    _norm(lambda norm: norm.normalize(norm.totals)),
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
    samples = {sample.kind: sample for sample in SAMPLES}
    costs = {kind: _measure_sample(full, samples[kind], test) for kind in full.kinds & set(samples)}
    for kind in full.kinds - set(samples):
        counts = _walk(full.first, Entry(kind, n=1))  # a REPEAT goes back
        costs[kind] = {"1": _plain(_difference(counts, _tests_before(full, kind, test)))}
    return KernelCosts(
        parts=_parts(full, samples),
        launch=_plain(Walk(full.first).count(infer.address)),
        test=_plain(test),
        kinds={kind.name.lower(): costs[kind] for kind in sorted(costs)},
    )


def _measure_sample(compiled: Compiled, sample: Sample, test: Counter[str]) -> KernelCost:
    """Solve for the counts of each term from walks with operations of several sizes."""
    terms = ("1", *sample.rounds)
    program = compiled.last if sample.kind in _FROM_FAR_END else compiled.first
    before = _tests_before(compiled, sample.kind, test)
    weights: list[list[int]] = []
    walks: list[Counter[str]] = []
    for rows, inner in itertools.product((2, 3, 5), (1, 4, 7)):
        operation = sample.at(rows, inner)
        sizes = operation.sizes(compiled.program, compiled.program.whole_launch())
        counts = _walk(program, operation.entry(compiled.program))
        lengths = {length: product(length, sizes) for length in sample.lengths}
        walks.append(_with_names(_difference(counts, before), lengths))
        weights.append([product(term, sizes) for term in terms])
    names = sorted({name for walk in walks for name in walk})
    observed = np.array([[walk[name] for name in names] for walk in walks])
    coefficients = _solve(np.array(weights), observed)
    if coefficients is None:
        raise AssertionError(f"the instructions of {sample.kind.name} are not a sum over {terms}")
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
        if "(" not in name:
            named[name] += count
            continue
        operation = VectorOperation.parse(name)
        fitting = [text for text, value in lengths.items() if value == int(operation.length)]
        if not fitting:
            raise AssertionError(f"{operation}: no such length in {dict(lengths)}")
        named[str(dataclasses.replace(operation, length=fitting[0]))] += count
    return named


def _tests_before(compiled: Compiled, kind: Kind, test: Counter[str]) -> Counter[str]:
    return _scaled(test, compiled.num_tests(kind))


def _walk(program: TileProgram, entry: Entry) -> Counter[str]:
    """Count one step of the state machine on an entry."""
    return _prepare(program, entry).count(_step(program).entry)


def _prepare(program: TileProgram, entry: Entry) -> Walk:
    walker = Walk(program)
    walker.store(_symbol(program, "model.schedule").address, entry.words)
    return walker


def _step(program: TileProgram) -> Task:
    return next(task for task in program.tasks if task.kind is TaskKind.LOCAL)


def _difference(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return Counter({name: left[name] - right[name] for name in left | right})


def _scaled(counts: Counter[str], factor: int) -> Counter[str]:
    return Counter({name: factor * count for name, count in counts.items()})


def _plain(counts: Counter[str]) -> Counts:
    return {name: count for name, count in sorted(counts.items()) if count}


def _symbol(program: TileProgram, name: str) -> Symbol:
    return next(symbol for symbol in program.symbols if symbol.name == name)


def _parts(compiled: Compiled, samples: Mapping[Kind, Sample]) -> tuple[Part, ...]:
    """Cut the largest program into what is there for some kinds, and what is always there.

    What only the walks of some kinds come to is there for these: instructions of the state machine,
    whole functions, variables.
    """
    program = max(compiled.image.programs, key=_kernel_bytes)
    visitors: defaultdict[str | int, set[str]] = defaultdict(set)
    for kind in compiled.kinds:
        entries = [Entry(kind, n=n) for n in (0, 1)]
        if kind in samples:
            operations = [samples[kind].at(rows, inner) for rows, inner in ((2, 1), (3, 4))]
            entries = [operation.entry(compiled.program) for operation in operations]
        for entry in entries:
            for atom in _visit(program, entry):
                visitors[atom].add(kind.name.lower())
    num_bytes: Counter[tuple[str, ...]] = Counter()
    for atom, size in _atoms(program).items():
        if len(visitors[atom]) < len(compiled.kinds):
            num_bytes[tuple(sorted(visitors[atom]))] += size
    num_bytes[()] += _kernel_bytes(program) - num_bytes.total()
    return tuple(Part(kinds, size) for kinds, size in sorted(num_bytes.items()))


def _atoms(program: TileProgram) -> dict[str | int, int]:
    """Return the bytes of functions and variables by name, of the state machine's instructions."""
    step = _step(program)
    atoms: dict[str | int, int] = {}
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.FUNCTION and symbol.address == step.entry:
            for pc in _instructions(program, symbol):
                atoms[pc] = INSTRUCTIONS[Opcode(int(program.code[pc][Field.OPCODE]))].num_bytes
        elif symbol.name.removeprefix("model.") not in _ARRAYS:
            atoms[symbol.name] = symbol.num_bytes
    return atoms


def _visit(program: TileProgram, entry: Entry) -> Iterator[str | int]:
    """Yield the atoms that a step of the state machine comes to."""
    step, walker = _step(program), _prepare(program, entry)
    walker.count(step.entry)
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.VARIABLE:
            places = range(symbol.address, symbol.address + symbol.num_bytes)
            if walker.touched.intersection(places):
                yield symbol.name
        elif symbol.address == step.entry:
            yield from walker.visited.intersection(_instructions(program, symbol))
        elif walker.visited.intersection(_instructions(program, symbol)):
            yield symbol.name


def _instructions(program: TileProgram, function: Symbol) -> range:
    """Return the instructions of a function: they end where the next one begins."""
    starts = [s.address for s in program.symbols if s.kind is SymbolKind.FUNCTION]
    later = [start for start in starts if start > function.address]
    return range(function.address, min(later, default=len(program.code)))


_ARRAYS = ("parameters", "activations", "sums", "schedule")
"""What belongs to a model, not to the kernels."""


def _kernel_bytes(program: TileProgram) -> int:
    """Return the bytes of a program without the runtime and without the model's own arrays."""
    counted = (SectionKind.CODE, SectionKind.DATA, SectionKind.STACK)
    total = sum(section.num_bytes for section in program.sections if section.kind in counted)
    names = {f"model.{name}" for name in _ARRAYS}
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
