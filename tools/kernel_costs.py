"""Write `src/onewafer/mesh/kernel_costs.json` from the compiled listing of the mesh kernels.

    python tools/kernel_costs.py            write the file
    python tools/kernel_costs.py --check    exit with 1 if the file is out of date

A program with a sample of every kind of steps is compiled; for every kind the instructions of one
step of the state machine are walked through, with operations of several sizes. Its sample says of
which products of sizes their number is a sum, like `once + rows · (row + inner · step)`: as many
walks as that has terms give the counts, and more walks check them. The length of a DSD operation
must be a product of sizes, too. No engine and no timing is involved: the file holds counts by cost
class.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product as product_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from kernel_walk import Walk, step_tasks

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import FLOATING, DataType, Graph
from onewafer.image import (
    INSTRUCTIONS,
    REGISTER_BYTES,
    Field,
    Opcode,
    SectionKind,
    SymbolKind,
    registers_named,
)
from onewafer.mesh import (
    MeshProgram,
    attention,
    collectives,
    elementwise,
    emit_csl,
    optimizers,
    tokens,
)
from onewafer.mesh.blocks import Arena, Axis, HeadSegments, RowKind
from onewafer.mesh.entry import Entry
from onewafer.mesh.families import SAMPLES
from onewafer.mesh.kernel_costs import (
    Counts,
    Frame,
    KernelCost,
    KernelCosts,
    Part,
    Size,
    VectorOperation,
    product,
    table_name,
)
from onewafer.mesh.kinds import STOP, Answers, answers, num_questions
from onewafer.mesh.sample import NUM_PES, NUM_SEQUENCES, OF_TRAINING, TOTALS
from onewafer.mesh.schedule import build_schedule, kinds_of
from onewafer.mesh.state_machine import write_state_machine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.image import Symbol, TileProgram, WaferImage
    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.operation import MeshOperation
    from onewafer.mesh.sample import Sample, Sizes

PATH = Path(__file__).parents[1] / "src" / "onewafer" / "mesh" / "kernel_costs.json"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program on 4×4 PEs, and the kinds that its state machine asks for."""

    program: MeshProgram
    image: WaferImage
    kinds: frozenset[Kind]

    def with_rows(self, sizes: Sizes) -> MeshProgram:
        """Return the program with the rows of a sample in each launch, if it is a sequence."""
        rows = sizes.launch.num_rows if self.program.sequence_rows else None
        return dataclasses.replace(self.program, sequence_rows=rows)

    @property
    def middle(self) -> TileProgram:
        """The program of the PE where two chains end and a broadcast begins, along both axes."""
        return self.image.programs[int(self.image.program_of_pe[_MIDDLE, _MIDDLE])]

    @property
    def first(self) -> TileProgram:
        """The program of PE (0, 0), where chains begin; its data are those of that PE."""
        return self.image.programs[int(self.image.program_of_pe[0, 0])]

    def answers(self, kind: Kind) -> Answers:
        """Return what the state machine learns before it comes to this kind."""
        return answers(kind, self.kinds)


_MEMORY_BYTES = 1 << 16
"""More than a PE has: no model has all kinds. Addresses end there."""
_MIDDLE = 1
"""On both axes, so that chains come from both ends, although these are short."""
_ROWS = 4
"""Rows of a launch of a sequence."""
_SECTION = 2
"""On both axes, so that PEs have the code of both phases."""
_OF_TRAINING = (Arena.GRADIENTS, optimizers.MOMENTS, optimizers.SQUARES)
_ARENA_ELEMENTS = {
    Arena.PARAMETERS: 100,
    Arena.ACTIVATIONS: 900,
    Arena.ACCUMULATOR: 2250,
    Arena.STATE: 100,
    Arena.INDICES: 256,
    Arena.TABLES: 1024,
    Arena.SLOTS: 3 * NUM_SEQUENCES,
    **dict.fromkeys(_OF_TRAINING, 80),
    optimizers.NUMBERS: optimizers.MOST_NUMBERS,
}
"""Elements, enough that no scalar code of a sample reaches into the next arena."""


def compile_samples(
    samples: Collection[Sample], dtype: DataType, arch: str, *, rows: RowKind
) -> Compiled:
    """Compile a program of one operation of each sample for 4×4 PEs."""
    architecture = dataclasses.replace(load_architecture(arch), memory_bytes=_MEMORY_BYTES)
    program = _program_of(samples, dtype, rows=rows)
    emitted = emit_csl.write_text(program)
    options = CompileOptions(
        entry=emitted.entry,
        architecture=architecture,
        params=emitted.params,
        optimizes=emitted.optimizes,
    )
    image = compile_program(options, MemoryFiles(emitted.files))
    return Compiled(program, image, kinds_of(build_schedule(program)))


def _program_of(samples: Collection[Sample], dtype: DataType, *, rows: RowKind) -> MeshProgram:
    """Return a program that has an operation of each sample, and nothing to compute."""
    is_sequence = rows is not RowKind.INDEPENDENT
    absent = set[Arena]() if dtype is DataType.F16 else {Arena.ACCUMULATOR}
    absent |= set[Arena]() if is_sequence else {Arena.STATE, Arena.TABLES}
    absent |= set[Arena]() if rows is RowKind.SEQUENCES else {Arena.SLOTS}
    trains = dtype is DataType.F32 and rows in OF_TRAINING
    absent |= set[Arena]() if trains else {*_OF_TRAINING, optimizers.NUMBERS}
    operations = tuple(sample.build(sample.grid[0]) for sample in samples)
    return MeshProgram(
        graph=Graph("samples", (), (), (), ()),
        width=NUM_PES,
        height=NUM_PES,
        dtype=dtype,
        placements=(),
        operations=operations,
        sources=(0,) * len(operations),
        arena_elements={a: 0 if a in absent else n for a, n in _ARENA_ELEMENTS.items()},
        sequence_rows=_ROWS if is_sequence else None,
        sequences=NUM_SEQUENCES if rows is RowKind.SEQUENCES else 1,
        middle_x=_MIDDLE,
        middle_y=_MIDDLE,
        section_x=_SECTION,
        section_y=_SECTION,
        heads=HeadSegments(Axis.X, num_pes=2, num_heads=2) if is_sequence else None,
    )


def measure(dtype: DataType, arch: str, *, rows: RowKind) -> KernelCosts:
    """Return the counts of all kinds for one dtype."""
    used = [sample for sample in SAMPLES if sample.is_in(dtype, rows=rows)]
    few = [sample for sample in used if sample.kind in _FEW]
    full, small = (compile_samples(samples, dtype, arch, rows=rows) for samples in (used, few))
    tests = _tests(full, small)
    infer = _symbol(full.middle, full.middle.exports["infer"])
    by_kind = {sample.kind: sample for sample in used}
    costs = {kind: _measure_sample(full, sample, tests) for kind, sample in by_kind.items()}
    for kind in full.kinds - set(by_kind):
        counts = _walk(full.middle, Entry(kind, n=1))  # a REPEAT goes back
        costs[kind] = {"1": _plain(_difference(counts, tests.before(full, kind)))}
    parts, frames = _parts(full, by_kind)
    return KernelCosts(
        parts=parts,
        frames=frames,
        question_bytes=_question_bytes(full),
        launch=_plain(Walk(full.middle).count(infer.address)),
        below=_plain(tests.below),
        above=_plain(tests.above),
        second_chain=_second_chain(full, by_kind),
        kinds={kind.name: costs[kind] for kind in sorted(costs)},
    )


_FEW = (*elementwise.Add.kinds, *tokens.TakeRow.kinds, *tokens.TakeLastRows.kinds)
"""Kinds of a small program, the second or the third one only if it is of one or more sequences."""


@dataclass(frozen=True, slots=True)
class _Tests:
    """What the state machine executes until it knows the kind."""

    below: Counter[str]
    above: Counter[str]

    def before(self, compiled: Compiled, kind: Kind) -> Counter[str]:
        """Return all of it before it comes to a kind."""
        learnt = compiled.answers(kind)
        below, above = _scaled(self.below, learnt.below), _scaled(self.above, learnt.above)
        return Counter({name: below[name] + above[name] for name in below | above})


def _tests(full: Compiled, small: Compiled) -> _Tests:
    """Compare steps that differ only in the questions that lead to them.

    The rows of an entry, which none of its kinds asks for, a small program leaves out unless they
    may be those of the launch. That is no part of a question.
    """
    lacks_rows = int(not small.program.sequence_rows)
    pairs = [((full, kind), (small, kind), lacks_rows) for kind in (*elementwise.Add.kinds, STOP)]
    pairs += [((full, one), (full, other), 0) for one, other in _ALIKE]
    learnt: list[tuple[int, ...]] = []
    found: list[Counter[str]] = []
    for (program, kind), (other, same), lacks in pairs:
        more, less = program.answers(kind), other.answers(same)
        learnt.append((more.below - less.below, more.above - less.above, lacks))
        first, second = (Entry(k, n=8, rows=1, columns=8) for k in (kind, same))
        found.append(_difference(_walk(program.first, first), _walk(other.first, second)))
    names = sorted({name for counts in found for name in counts})
    observed = np.array([[counts[name] for name in names] for counts in found])
    solution = _solve(np.array(learnt), observed)
    if solution is None:
        raise AssertionError("the tests for kinds do not all cost the same")
    below, above, _ = (Counter(dict(zip(names, row.tolist(), strict=True))) for row in solution)
    return _Tests(below, above)


_ALIKE = (collectives.ChainReduce.kinds, collectives.ChainMax.kinds)
"""Kinds whose steps are the same."""


def _measure_sample(compiled: Compiled, sample: Sample, tests: _Tests) -> KernelCost:
    """Solve for the counts of each term from walks with operations of several sizes."""
    terms = ("1", *sample.rounds)
    # The middle of this program has so many descriptors that some are loaded again in loops.
    begins_in_middle = sample.kind.is_collective and sample.kind not in _FROM_ENDS
    program = compiled.middle if begins_in_middle else compiled.first
    before = tests.before(compiled, sample.kind)
    weights: list[list[int]] = []
    walks: list[Counter[str]] = []
    for point in sample.grid:
        sizes = _sizes_of_pe(sample.build(point), compiled.with_rows(point), point)
        counts = _difference(
            _prepare(program, compiled, sample, point).count_step(sample.kind), before
        )
        lengths = {text: _values(text, sizes) for text in sample.lengths}
        strides = {text: _values(text, sizes) for text in sample.strides}
        walks.append(_with_names(counts, lengths, strides))
        weights.append([sum(_values(term, sizes)) for term in terms])
    names = sorted({name for walk in walks for name in walk})
    observed = np.array([[walk[name] for name in names] for walk in walks])
    coefficients = _solve(np.array(weights), observed)
    if coefficients is None:
        raise AssertionError(f"the instructions of {sample.kind.name} are not a sum over {terms}")
    return {
        term: _plain(Counter(dict(zip(names, map(int, row), strict=True))))
        for term, row in zip(terms, coefficients, strict=True)
    }


def _second_chain(compiled: Compiled, by_kind: Mapping[Kind, Sample]) -> Counts:
    """Return what the middle executes between adding a chain and adding another one."""
    found: list[Counts] = []
    for kind in sorted(compiled.kinds.intersection(_CHAINS)):
        sample = by_kind[kind]
        walk = _prepare(compiled.middle, compiled, sample, sample.grid[0])
        found.append(_plain(_difference(walk.count_step(kind), Counter(walk.before_last))))
    if any(counts != found[0] for counts in found):
        raise AssertionError(f"chains do not all cost the same in the middle: {found}")
    return found[0]


def _sizes_of_pe(
    operation: MeshOperation, program: MeshProgram, point: Sizes
) -> Mapping[str, Size]:
    """Return the sizes of the PE that is walked on: arrays are `[kinds of rows]`."""
    classes = operation.classes(program, point.launch)
    index = 0 if classes is None else int(classes.labels[point.place])
    return {
        name: size
        if isinstance(size, int)
        else size[:, index % size.shape[1], point.place_across % size.shape[2]]
        for name, size in operation.sizes(program, point.launch).items()
    }


def _values(text: str, sizes: Mapping[str, Size]) -> list[int]:
    """Return a product of sizes, for each kind of rows."""
    return np.atleast_1d(product(text, sizes)).tolist()


_FROM_ENDS = (
    *collectives.ChainReduce.kinds,
    *collectives.ChainMax.kinds,
    *attention.ReduceScores.kinds,
)
"""Kinds that begin at the ends of an axis, or at the ends of segments."""
_CHAINS = tuple(kind for kind in _FROM_ENDS if "has_head_chains" not in kind.flags)
"""Kinds that begin at the ends of an axis."""


def _solve(weights: NDArray[Any], observed: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the integers c with weights · c = observed; None: there are none."""
    solution = np.linalg.lstsq(weights.astype(float), observed.astype(float), rcond=None)[0]
    whole = np.rint(solution).astype(np.int64)
    return whole if np.array_equal(weights @ whole, observed) else None


def _with_names(
    counts: Counter[str], lengths: Mapping[str, list[int]], strides: Mapping[str, list[int]]
) -> Counter[str]:
    """Replace lengths and strides of DSD operations by the products of sizes that they are."""
    named: Counter[str] = Counter()
    for name, count in counts.items():
        if "(" not in name:
            named[name] += count
            continue
        operation = VectorOperation.parse(name)
        fitting = [text for text, values in lengths.items() if int(operation.length) in values]
        if not fitting:
            raise AssertionError(f"{operation}: no such length in {dict(lengths)}")
        equal = [text for text, values in strides.items() if int(operation.stride) in values]
        stride = equal[0] if equal else operation.stride
        named[str(dataclasses.replace(operation, length=fitting[0], stride=stride))] += count
    return named


def _walk(program: TileProgram, entry: Entry) -> Counter[str]:
    """Count one step of the state machine on an entry."""
    return _with_schedule(program, entry).count_step(entry.kind)


def _with_schedule(program: TileProgram, entry: Entry) -> Walk:
    walk = Walk(program)
    walk.store(_symbol(program, "model.schedule").address, entry.words)
    return walk


def _prepare(program: TileProgram, compiled: Compiled, sample: Sample, sizes: Sizes) -> Walk:
    """Return a walk that begins with an operation of some sizes."""
    walk = _with_schedule(program, sample.build(sizes).entry(compiled.with_rows(sizes)))
    memory = sample.memory(sizes) | {"moving": (1,)}
    launch, rows = sizes.launch, compiled.program.row_kind
    if rows is RowKind.SEQUENCE:
        memory |= {"start": (launch.start,)}
    if rows is RowKind.SEQUENCES:
        memory |= {"num_slots": (len(launch.slots),), "model.slots": launch.slot_words}
    if rows is not RowKind.INDEPENDENT:
        memory |= {"num_rows": (launch.num_rows,)}
    if TOTALS in memory:
        arena = "sums" if compiled.program.dtype is DataType.F16 else "activations"
        memory[f"model.{arena}"] = memory.pop(TOTALS)
    for name, words in memory.items():
        walk.store(_symbol(program, name).address, words)
    return walk


def _difference(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return Counter({name: left[name] - right[name] for name in left | right})


def _scaled(counts: Counter[str], factor: int) -> Counter[str]:
    return Counter({name: factor * count for name, count in counts.items()})


def _plain(counts: Counter[str]) -> Counts:
    return {name: count for name, count in sorted(counts.items()) if count}


def _symbol(program: TileProgram, name: str) -> Symbol:
    return next(symbol for symbol in program.symbols if symbol.name == name)


def _parts(
    compiled: Compiled, by_kind: Mapping[Kind, Sample]
) -> tuple[tuple[Part, ...], dict[str, Frame]]:
    """Cut programs into what is there for some kinds, and what is always there; then frames.

    PEs have roles: of each part and each frame, the largest that one has.
    """
    num_bytes: Counter[tuple[str, ...]] = Counter()
    frames: dict[str, Frame] = {}
    for program in compiled.image.programs:
        visitors = _visitors(program, compiled, by_kind)
        num_bytes |= _part_bytes(program, compiled, visitors)
        for kind, frame in _frames(program, visitors).items():
            frames[kind] = frame.joined(frames.get(kind, frame))
    parts = tuple(Part(kinds, size) for kinds, size in sorted(num_bytes.items()))
    return parts, dict(sorted(frames.items()))


def _visitors(
    program: TileProgram, compiled: Compiled, by_kind: Mapping[Kind, Sample]
) -> Mapping[str | int, set[str]]:
    """Return the kinds whose steps come to each atom of a program."""
    visitors: defaultdict[str | int, set[str]] = defaultdict(set)
    places = _Places.of(program)
    for kind in compiled.kinds:
        walks = [_with_schedule(program, Entry(kind, n=n)) for n in (0, 1)]
        if kind in by_kind:
            sample = by_kind[kind]
            points = sample.grid[0], sample.grid[-1]
            walks = [_prepare(program, compiled, sample, point) for point in points]
        for walk in walks:
            for atom in _visit(walk, kind, places):
                visitors[atom].add(kind.name)
    _give_rare_instructions_to_earlier_ones(program, visitors)
    _give_rare_functions_to_callers(program, visitors)
    return visitors


def _part_bytes(
    program: TileProgram, compiled: Compiled, visitors: Mapping[str | int, set[str]]
) -> Counter[tuple[str, ...]]:
    """Return the bytes of a program that are there for some kinds, none: that always are.

    What only the steps of some kinds come to is there for these: instructions of the state machine,
    whole functions, variables.
    """
    num_bytes: Counter[tuple[str, ...]] = Counter()
    questions = _questions(program, compiled)
    for atom, size in _atoms(program).items():
        kinds = visitors.get(atom, set[str]())
        if atom not in questions and len(kinds) < len(compiled.kinds):
            num_bytes[tuple(sorted(kinds))] += size
    asked = _question_bytes(compiled) * num_questions(compiled.kinds)
    num_bytes[()] += _kernel_bytes(program) - num_bytes.total() - asked
    return num_bytes


def _frames(
    program: TileProgram, visitors: Mapping[str | int, Collection[str]]
) -> dict[str, Frame]:
    """Return the registers that the steps of each kind come to.

    Frames of functions lie behind the whole frame of the state machine, so that other kinds move
    them up.
    """
    registers = registers_named(program)
    functions = [symbol for symbol in program.symbols if symbol.kind is SymbolKind.FUNCTION]
    machine = _instructions(program, _symbol(program, "step"))
    called = {
        int(program.code[pc][Field.IMM])
        for pc in machine
        if Opcode(int(program.code[pc][Field.OPCODE])) is Opcode.CALL
    }
    behind = min(
        register
        for function in functions
        if function.address in called
        for pc in _instructions(program, function)
        for register in registers[pc]
        if register
    )
    atoms: dict[str | int, range] = {f.name: _instructions(program, f) for f in functions}
    tasks = [_instructions(program, task) for task in _tasks(program)]
    atoms |= {pc: range(pc, pc + 1) for pcs in tasks for pc in pcs}
    used: defaultdict[str, set[int]] = defaultdict(set)
    for atom, pcs in atoms.items():
        for kind in visitors.get(atom, ()):
            used[kind].update(register for pc in pcs for register in registers[pc])
    return {
        kind: Frame(
            own_bytes=REGISTER_BYTES * (1 + max(r for r in found if r < behind)),
            called_bytes=REGISTER_BYTES * max(1 + max(found) - behind, 0),
        )
        for kind, found in used.items()
    }


def _questions(program: TileProgram, compiled: Compiled) -> set[int]:
    """Return the instructions of the state machine that ask on which side of another a kind is."""
    lines = write_state_machine(compiled.kinds).splitlines()
    asking = {number for number, line in enumerate(lines, 1) if "kind < kinds[" in line}
    return {
        pc
        for pc, place in enumerate(program.locations)
        if place is not None and place.path == "pe.csl" and place.line in asking
    }


def _question_bytes(compiled: Compiled) -> int:
    """Return the bytes of one question."""
    program = compiled.first
    opcodes = [Opcode(int(program.code[pc][Field.OPCODE])) for pc in _questions(program, compiled)]
    total = sum(INSTRUCTIONS[opcode].num_bytes for opcode in opcodes)
    size, rest = divmod(total, num_questions(compiled.kinds))
    if rest:
        raise AssertionError("the questions for kinds are not all equally long")
    return size


def _give_rare_instructions_to_earlier_ones(
    program: TileProgram, visitors: defaultdict[str | int, set[str]]
) -> None:
    """Let instructions of the state machine that no walk came to be of those that lead to them."""
    pcs = [pc for symbol in _tasks(program) for pc in _instructions(program, symbol)]
    rare = {pc for pc in pcs if not visitors[pc]}
    before: defaultdict[int, set[int]] = defaultdict(set)
    for pc in pcs:
        instruction = program.code[pc]
        opcode = Opcode(int(instruction[Field.OPCODE]))
        after = [] if opcode in _ENDS else [pc + 1]
        after += [int(instruction[Field.IMM])] if opcode in _JUMPS else []
        for target in rare.intersection(after):
            before[target].add(pc)
    while changed := [pc for pc in rare if any(visitors[b] - visitors[pc] for b in before[pc])]:
        for pc in changed:
            visitors[pc] |= {kind for b in before[pc] for kind in visitors[b]}


_ENDS = (Opcode.JUMP, Opcode.END_TASK, Opcode.RETURN)
_JUMPS = (Opcode.JUMP, Opcode.BRANCH_ZERO, Opcode.BRANCH_NONZERO, Opcode.MAP_BEGIN, Opcode.MAP_STEP)


def _give_rare_functions_to_callers(
    program: TileProgram, visitors: defaultdict[str | int, set[str]]
) -> None:
    """Count functions that no walk reached, since no sample has their data, with their callers."""
    functions = [symbol for symbol in program.symbols if symbol.kind is SymbolKind.FUNCTION]
    tasks = {symbol.address for symbol in _tasks(program)}
    rare = {
        function.address: function.name for function in functions if not visitors[function.name]
    }
    for caller in functions:
        for pc in _instructions(program, caller):
            instruction = program.code[pc]
            callee = rare.get(int(instruction[Field.IMM]))
            if callee is not None and Opcode(int(instruction[Field.OPCODE])) is Opcode.CALL:
                visitors[callee] |= visitors[pc if caller.address in tasks else caller.name]


def _atoms(program: TileProgram) -> dict[str | int, int]:
    """Return the bytes of functions and variables by name, of the state machine's instructions."""
    tasks = {symbol.address for symbol in _tasks(program)}
    atoms: dict[str | int, int] = {}
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.FUNCTION and symbol.address in tasks:
            for pc in _instructions(program, symbol):
                atoms[pc] = INSTRUCTIONS[Opcode(int(program.code[pc][Field.OPCODE]))].num_bytes
        elif symbol.name.removeprefix("model.").partition("+")[0] not in _ARRAYS:
            atoms[symbol.name] = symbol.num_bytes
    return atoms


@dataclass(frozen=True, slots=True)
class _Places:
    """Positions of the symbols of a program: addresses of variables, instructions of functions."""

    variables: list[tuple[str, range]]
    functions: list[tuple[str, range]]
    tasks: list[range]

    @classmethod
    def of(cls, program: TileProgram) -> _Places:
        """Look the symbols of a program up."""
        tasks = {symbol.address for symbol in _tasks(program)}
        variables, functions = (
            [symbol for symbol in program.symbols if (symbol.kind is SymbolKind.VARIABLE) is is_one]
            for is_one in (True, False)
        )
        return cls(
            [(s.name, range(s.address, s.address + s.num_bytes)) for s in variables],
            [(s.name, _instructions(program, s)) for s in functions if s.address not in tasks],
            [_instructions(program, s) for s in functions if s.address in tasks],
        )


def _visit(walk: Walk, kind: Kind, places: _Places) -> Iterator[str | int]:
    """Yield the atoms that a step of the state machine comes to."""
    walk.count_step(kind)
    touched, visited = sorted(walk.touched), sorted(walk.visited)
    for name, place in places.variables:
        if _within(touched, place):
            yield name
    for name, place in places.functions:
        if _within(visited, place):
            yield name
    for place in places.tasks:
        yield from _within(visited, place)


def _within(numbers: list[int], place: range) -> list[int]:
    """Return those of ascending numbers that are in a range."""
    return numbers[bisect_left(numbers, place.start) : bisect_left(numbers, place.stop)]


def _tasks(program: TileProgram) -> list[Symbol]:
    """Return the functions that are the state machine."""
    entries = {task.entry for task in step_tasks(program)}
    functions = [symbol for symbol in program.symbols if symbol.kind is SymbolKind.FUNCTION]
    return [function for function in functions if function.address in entries]


def _instructions(program: TileProgram, function: Symbol) -> range:
    """Return the instructions of a function: they end where the next one begins."""
    starts = [s.address for s in program.symbols if s.kind is SymbolKind.FUNCTION]
    later = [start for start in starts if start > function.address]
    return range(function.address, min(later, default=len(program.code)))


_ARRAYS = (*(arena.name for arena in _ARENA_ELEMENTS), "schedule")
"""What belongs to a model, not to the kernels."""


def _kernel_bytes(program: TileProgram) -> int:
    """Return the bytes of code and constants, without the model's own arrays."""
    counted = (SectionKind.CODE, SectionKind.DATA)
    total = sum(section.num_bytes for section in program.sections if section.kind in counted)
    names = {f"model.{name}" for name in _ARRAYS}
    return total - sum(symbol.num_bytes for symbol in program.symbols if symbol.name in names)


def table(dtype: DataType, arch: str, *, rows: RowKind) -> dict[str, object]:
    """Return a table of the file, measured on a generation of machines."""
    return dataclasses.asdict(measure(dtype, arch, rows=rows))


def generate() -> str:
    """Return the text of the file; both generations must give the same counts."""
    tables: dict[str, object] = {}
    for dtype, rows in product_of(FLOATING, RowKind):
        costs = table(dtype, "wse3", rows=rows)
        if costs != table(dtype, "wse2", rows=rows):
            raise AssertionError(
                "the generations compile to different kernels: key the file by arch"
            )
        tables[table_name(dtype, rows=rows)] = costs
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
