"""A program with a case of every kind of steps, and walks that begin with a case.

A helper of `kernel_costs.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from kernel_walk import Walk

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import NUM_SEEDS, DataType, Graph
from onewafer.mesh import MeshProgram, emit_csl, optimizers
from onewafer.mesh.blocks import Arena, Axis, HeadSegments, RowKind
from onewafer.mesh.cost_case import NUM_PES, NUM_SEQUENCES, OF_SEQUENCES, OF_TRAINING, TOTALS
from onewafer.mesh.dropout import SEEDS_ARENA
from onewafer.mesh.schedule import build_schedule, kinds_of
from onewafer.mesh.state_machine import FILE, write_state_machine

if TYPE_CHECKING:
    from collections.abc import Collection

    from onewafer.image import Symbol, TileProgram, WaferImage
    from onewafer.mesh.cost_case import CostCase, Sizes
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kinds import Kind


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program on 4×4 PEs, and the kinds that its state machine asks for."""

    program: MeshProgram
    image: WaferImage
    kinds: frozenset[Kind]
    _questions: dict[int, frozenset[int]] = field(default_factory=dict[int, "frozenset[int]"])
    """By the id of a program, which the image keeps alive."""

    def with_rows(self, sizes: Sizes) -> MeshProgram:
        """Return the program with the rows of a case in each launch, if it is a sequence."""
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

    def questions(self, program: TileProgram) -> frozenset[int]:
        """Return the instructions that ask on which side of another one a kind is."""
        if id(program) not in self._questions:
            asking = _asking_lines(self.kinds)
            self._questions[id(program)] = frozenset(
                pc
                for pc, place in enumerate(program.locations)
                if place is not None and place.path == FILE and place.line in asking
            )
        return self._questions[id(program)]


_MEMORY_BYTES = 1 << 17
"""More than a PE has: no model has all kinds. Data lie below 64 KiB, where addresses end."""
_MIDDLE = 1
"""On both axes, so that chains come from both ends, although these are short."""
_ROWS = 4
"""Rows of a launch of a sequence."""
_SECTION = 2
"""On both axes, so that PEs have the code of both phases."""
_HEADS = {
    RowKind.SEQUENCE: HeadSegments(Axis.X, num_pes=2, num_heads=2),
    RowKind.SEQUENCES: HeadSegments(Axis.X, num_pes=2, num_heads=2),
    RowKind.GROUPED: HeadSegments(Axis.Y, num_pes=2, num_heads=2),
}
_OF_TRAINING = (Arena.GRADIENTS, optimizers.MOMENTS, optimizers.SQUARES)
ARENA_ELEMENTS = {
    Arena.PARAMETERS: 100,
    Arena.ACTIVATIONS: 700,
    Arena.ACCUMULATOR: 2250,
    Arena.STATE: 100,
    Arena.INDICES: 256,
    Arena.TABLES: 64,
    Arena.SLOTS: 3 * NUM_SEQUENCES,
    **dict.fromkeys(_OF_TRAINING, 80),
    optimizers.NUMBERS: optimizers.MOST_NUMBERS,
    SEEDS_ARENA: NUM_SEEDS,
}
"""Elements, enough that no scalar code of a case reaches into the next arena."""


def compile_cases(
    cases: Collection[CostCase], dtype: DataType, arch: str, *, rows: RowKind
) -> Compiled:
    """Compile a program of one operation of each case for 4×4 PEs."""
    architecture = dataclasses.replace(load_architecture(arch), memory_bytes=_MEMORY_BYTES)
    program = _program_of(cases, dtype, rows=rows)
    emitted = emit_csl.write_text(program)
    options = CompileOptions(
        entry=emitted.entry,
        architecture=architecture,
        params=emitted.params,
        by_function=emitted.by_function,
    )
    image = compile_program(options, MemoryFiles(emitted.files))
    return Compiled(program, image, kinds_of(build_schedule(program)))


def _program_of(cases: Collection[CostCase], dtype: DataType, *, rows: RowKind) -> MeshProgram:
    """Return a program that has an operation of each case, and nothing to compute."""
    is_sequence = rows in OF_SEQUENCES
    absent = set[Arena]() if dtype is DataType.F16 else {Arena.ACCUMULATOR}
    absent |= set[Arena]() if is_sequence else {Arena.STATE, Arena.TABLES}
    absent |= set[Arena]() if rows is RowKind.SEQUENCES else {Arena.SLOTS}
    trains = dtype is DataType.F32 and rows in OF_TRAINING
    absent |= set[Arena]() if trains else {*_OF_TRAINING, optimizers.NUMBERS, SEEDS_ARENA}
    operations = tuple(case.build(case.grid[0]) for case in cases)
    return MeshProgram(
        graph=Graph("samples", (), (), (), ()),
        width=NUM_PES,
        height=NUM_PES,
        dtype=dtype,
        placements=(),
        operations=operations,
        sources=(0,) * len(operations),
        arena_elements={a: 0 if a in absent else n for a, n in ARENA_ELEMENTS.items()},
        sequence_rows=_ROWS if is_sequence else None,
        sequences=NUM_SEQUENCES if rows is RowKind.SEQUENCES else 1,
        middle_x=_MIDDLE,
        middle_y=_MIDDLE,
        section_x=_SECTION,
        section_y=_SECTION,
        heads=_HEADS.get(rows),
    )


@cache
def _asking_lines(kinds: frozenset[Kind]) -> frozenset[int]:
    """Return the lines of a state machine that ask for kinds."""
    lines = write_state_machine(kinds).splitlines()
    return frozenset(number for number, line in enumerate(lines, 1) if "kind < kinds[" in line)


def with_schedule(program: TileProgram, compiled: Compiled, entry: Entry) -> Walk:
    """Return a walk of a state machine that comes to an entry."""
    walk = Walk(program, compiled.questions(program))
    walk.store(symbol_of(program, "model.schedule").address, entry.words)
    return walk


def prepare(program: TileProgram, compiled: Compiled, case: CostCase, sizes: Sizes) -> Walk:
    """Return a walk that begins with an operation of some sizes."""
    walk = with_schedule(program, compiled, case.build(sizes).entry(compiled.with_rows(sizes)))
    memory = case.memory(sizes) | {"moving": (1,)}
    launch, rows = sizes.launch, compiled.program.row_kind
    if rows is RowKind.SEQUENCE:
        memory |= {"start": (launch.start,)}
    if rows is RowKind.SEQUENCES:
        memory |= {"num_slots": (len(launch.slots),), "model.slots": launch.slot_words}
    if rows in OF_SEQUENCES:
        memory |= {"num_rows": (launch.num_rows,)}
    if TOTALS in memory:
        arena = "sums" if compiled.program.dtype is DataType.F16 else "activations"
        memory[f"model.{arena}"] = memory.pop(TOTALS)
    for name, words in memory.items():
        walk.store(symbol_of(program, name).address, words)
    return walk


def symbol_of(program: TileProgram, name: str) -> Symbol:
    """Return the symbol of a name."""
    return next(symbol for symbol in program.symbols if symbol.name == name)
