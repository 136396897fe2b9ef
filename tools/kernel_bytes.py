"""The bytes of kernels: what of a program is there for which kinds of steps, and their frames.

A helper of `kernel_costs.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_cases import ARENA_ELEMENTS, Compiled, prepare, symbol_of, with_schedule
from kernel_walk import Walk, step_tasks

from onewafer.image import (
    REGISTER_BYTES,
    Field,
    Opcode,
    SectionKind,
    SymbolKind,
    registers_named,
    size_of,
)
from onewafer.mesh.entry import Entry
from onewafer.mesh.kernel_costs import Frame, Part
from onewafer.mesh.kinds import num_questions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from onewafer.image import Symbol, TileProgram
    from onewafer.mesh.cost_case import CostCase
    from onewafer.mesh.kinds import Kind


def parts_of(
    compiled: Compiled, by_kind: Mapping[Kind, CostCase]
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
    program: TileProgram, compiled: Compiled, by_kind: Mapping[Kind, CostCase]
) -> Mapping[str | int, set[str]]:
    """Return the kinds whose steps come to each atom of a program."""
    visitors: defaultdict[str | int, set[str]] = defaultdict(set)
    places = _Places.of(program)
    for kind in compiled.kinds:
        walks = [with_schedule(program, compiled, Entry(kind, n=n)) for n in (0, 1)]
        if kind in by_kind:
            case = by_kind[kind]
            points = case.grid[0], case.grid[-1]
            walks = [prepare(program, compiled, case, point) for point in points]
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
    questions = compiled.questions(program)
    for atom, size in _atoms(program).items():
        kinds = visitors.get(atom, set[str]())
        if atom not in questions and len(kinds) < len(compiled.kinds):
            num_bytes[tuple(sorted(kinds))] += size
    asked = question_bytes_of(compiled) * num_questions(compiled.kinds)
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
    machine = _instructions(program, symbol_of(program, "step"))
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


def question_bytes_of(compiled: Compiled) -> int:
    """Return the bytes of one question."""
    program = compiled.first
    total = sum(_num_bytes(program, pc) for pc in compiled.questions(program))
    size, rest = divmod(total, num_questions(compiled.kinds))
    if rest:
        raise AssertionError("the questions for kinds are not all equally long")
    return size


def _num_bytes(program: TileProgram, pc: int) -> int:
    """Return the bytes of an instruction."""
    return size_of(program.code[pc].tolist())


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
_CALLS = (Opcode.CALL, Opcode.JUMP)
"""The way to a function: the last call of another one is a jump."""


def _give_rare_functions_to_callers(
    program: TileProgram, visitors: defaultdict[str | int, set[str]]
) -> None:
    """Count functions that no walk reached, since no case has their data, with their callers."""
    functions = [symbol for symbol in program.symbols if symbol.kind is SymbolKind.FUNCTION]
    tasks = {symbol.address for symbol in _tasks(program)}
    rare = {
        function.address: function.name for function in functions if not visitors[function.name]
    }
    for caller in functions:
        for pc in _instructions(program, caller):
            instruction = program.code[pc]
            callee = rare.get(int(instruction[Field.IMM]))
            if callee is not None and Opcode(int(instruction[Field.OPCODE])) in _CALLS:
                visitors[callee] |= visitors[pc if caller.address in tasks else caller.name]
    here = {name for address, name in rare.items() if address not in tasks and not visitors[name]}
    lost = here - {*program.exports.values()}
    if lost:
        raise AssertionError(f"no kind of steps comes to {sorted(lost)}")


def _atoms(program: TileProgram) -> dict[str | int, int]:
    """Return the bytes of functions and variables by name, of the state machine's instructions."""
    tasks = {symbol.address for symbol in _tasks(program)}
    atoms: dict[str | int, int] = {}
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.FUNCTION and symbol.address in tasks:
            for pc in _instructions(program, symbol):
                atoms[pc] = _num_bytes(program, pc)
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


_ARRAYS = (*(arena.name for arena in ARENA_ELEMENTS), "schedule")
"""The parts that belong to a model, not to the kernels."""


def _kernel_bytes(program: TileProgram) -> int:
    """Return the bytes of code and constants, without the model's own arrays."""
    counted = (SectionKind.CODE, SectionKind.DATA)
    total = sum(section.num_bytes for section in program.sections if section.kind in counted)
    names = {f"model.{name}" for name in _ARRAYS}
    return total - sum(symbol.num_bytes for symbol in program.symbols if symbol.name in names)
