"""Listing of a tile program: source lines with their bytes and cycles, as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.image import (
    Field,
    PatchTarget,
    SectionKind,
    TileProgram,
    WaferImage,
    code_labels,
    format_instruction,
    listing_tables,
    size_of,
)
from onewafer.viewer.costs import Cost, instruction_costs, total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.arch import Architecture
    from onewafer.recording import FindSource

_NO_SOURCE = ""
"""The path of instructions without a source line."""


@dataclass(frozen=True, slots=True)
class ListedInstruction:
    """An instruction with its cost."""

    pc: int
    address: int
    """Byte address in PE memory."""
    num_bytes: int
    text: str
    cost: Cost
    labels: tuple[str, ...] = ()
    """Functions and tasks that start here."""


@dataclass(frozen=True, slots=True)
class ListedLine:
    """A source line with its instructions."""

    path: str
    """The source file; empty: the instructions have no source line."""
    line: int
    source: str
    """The text of the line; empty if the file is missing."""
    instructions: tuple[ListedInstruction, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of code."""
        return sum(instruction.num_bytes for instruction in self.instructions)

    @property
    def cost(self) -> Cost:
        """Cycles if every instruction runs once."""
        return total(instruction.cost for instruction in self.instructions)


@dataclass(frozen=True, slots=True)
class ProgramListing:
    """The program of a PE, line by line."""

    number: int
    """The number of the program in the image."""
    x: int
    y: int
    """The PE whose immediates are shown."""
    num_pes: int
    """The number of PEs that run the program."""
    architecture: Architecture
    program: TileProgram
    lines: tuple[ListedLine, ...]
    """The lines, ordered by file and number."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all sections."""
        return sum(section.num_bytes for section in self.program.sections)


def list_program(
    image: WaferImage, architecture: Architecture, *, x: int, y: int, find_source: FindSource
) -> ProgramListing:
    """Return the listing of the program of PE (x, y), which must have one."""
    number = int(image.program_of_pe[y, x])
    program = image.programs[number]
    rows = _rows_of_pe(image, number, x, y)
    instructions = _instructions(program, rows, architecture)
    return ProgramListing(
        number,
        x,
        y,
        int((image.program_of_pe == number).sum()),
        architecture,
        program,
        tuple(_lines(program, instructions, find_source)),
    )


def _rows_of_pe(image: WaferImage, number: int, x: int, y: int) -> list[list[int]]:
    """Return the code of a PE: its program with the PE's immediates patched in."""
    rows: list[list[int]] = image.programs[number].code.tolist()
    place = y * image.width + x
    position = int((image.program_of_pe.reshape(-1)[:place] == number).sum())
    for patch in image.programs[number].patches:
        if patch.target is PatchTarget.IMMEDIATE:
            rows[patch.location][Field.IMM] = int(patch.values[position])
    return rows


def _instructions(
    program: TileProgram, rows: list[list[int]], architecture: Architecture
) -> list[ListedInstruction]:
    sections = [s.address for s in program.sections if s.kind is SectionKind.CODE]
    address = min(sections, default=0)
    labels = code_labels(program)
    costs = instruction_costs(program, rows, architecture.timing)
    listed: list[ListedInstruction] = []
    for pc, (row, cost) in enumerate(zip(rows, costs, strict=True)):
        num_bytes = size_of(row)
        names = tuple(labels.get(pc, ()))
        text = format_instruction(row)
        listed.append(ListedInstruction(pc, address, num_bytes, text, cost, names))
        address += num_bytes
    return listed


def _lines(
    program: TileProgram, instructions: list[ListedInstruction], find_source: FindSource
) -> Iterator[ListedLine]:
    """Yield the lines, files in the order of their first use in the code."""
    by_line: dict[str, dict[int, list[ListedInstruction]]] = {}
    for instruction in instructions:
        place = program.locations[instruction.pc]
        path, line = (_NO_SOURCE, 0) if place is None else (place.path, place.line)
        by_line.setdefault(path, {}).setdefault(line, []).append(instruction)
    for path, lines in by_line.items():
        texts = find_source(path) if path else ()
        for line, listed in sorted(lines.items()):
            source = texts[line - 1].strip() if 0 < line <= len(texts) else ""
            yield ListedLine(path, line, source, tuple(listed))


# --- text ----------------------------------------------------------------------------------------

_LEGEND = (
    "code: bytes, and cycles of the main thread if every instruction runs once; `1–2` a branch",
    "not taken or taken, `≥` waits for the fabric or is as long as a vector that only a run knows;",
    "below a source line, what its least cycles are spent for",
)


def format_listing(listed: ProgramListing) -> str:
    """Return the listing as text."""
    pes = "the only PE that runs it"
    if listed.num_pes > 1:
        pes = f"the first of {listed.num_pes:,} PEs that run it"
    machine = f"{listed.architecture.name}, {listed.architecture.profile} timing"
    head = f"program {listed.number}  {listed.program.name}\nas on PE ({listed.x}, {listed.y}), "
    tables = listing_tables(listed.program)
    code = "\n".join((*_LEGEND, *_code(listed)))
    return f"{head}{pes}; {machine}\n\n{tables}\n{code}\n"


def _code(listed: ProgramListing) -> Iterator[str]:
    path = None
    for line in listed.lines:
        if line.path != path:
            path = line.path
            yield f"\n{path or 'without a source line'}"
            yield f"  {'line':>5}  {'bytes':>5}  {'cycles':>7}"
        number = line.line or ""
        yield f"  {number:>5}  {line.num_bytes:5}  {line.cost!s:>7}  {line.source}".rstrip()
        why = ", ".join(f"{reason} {cycles}" for reason, cycles in line.cost.why)
        if len(line.cost.why) > 1:
            yield f"{'':24}{why}"
        for instruction in line.instructions:
            yield from (f"{'':24}{label}:" for label in instruction.labels)
            yield _instruction(instruction)


def _instruction(instruction: ListedInstruction) -> str:
    cost, address = instruction.cost, instruction.address
    notes = [f"beside: {cost.beside}"] if cost.beside is not None else []
    if (cost.beside or cost).has_bank_conflict:
        notes.append("its sources share memory banks")
    comment = f"  ; {'; '.join(notes)}" if notes else ""
    place = f"{instruction.pc:5}  {address:#06x}"
    return f"  {'':5}  {instruction.num_bytes:5}  {cost!s:>7}  {place}  {instruction.text}{comment}"


# --- JSON ----------------------------------------------------------------------------------------


def listing_record(listed: ProgramListing) -> dict[str, object]:
    """Return the listing as a JSON value."""
    program = listed.program
    return {
        "program": listed.number,
        "name": program.name,
        "pe": [listed.x, listed.y],
        "num_pes": listed.num_pes,
        "arch": listed.architecture.name,
        "profile": listed.architecture.profile,
        "num_bytes": listed.num_bytes,
        "sections": [
            {"kind": s.kind.name.lower(), "address": s.address, "num_bytes": s.num_bytes}
            for s in program.sections
        ],
        "symbols": [
            {
                "name": symbol.name,
                "kind": symbol.kind.name.lower(),
                "address": symbol.address,
                "num_bytes": symbol.num_bytes,
                "element": symbol.element.name.lower() if symbol.element is not None else None,
            }
            for symbol in program.symbols
        ],
        "tasks": [
            {
                "name": task.name,
                "kind": task.kind.name.lower(),
                "task_id": task.task_id,
                "pc": task.entry,
            }
            for task in program.tasks
        ],
        "lines": [_line_record(line) for line in listed.lines],
    }


def _line_record(line: ListedLine) -> dict[str, object]:
    return {
        "path": line.path or None,
        "line": line.line or None,
        "source": line.source or None,
        "num_bytes": line.num_bytes,
        "cycles": _cost_record(line.cost),
        "instructions": [
            {
                "pc": instruction.pc,
                "address": instruction.address,
                "num_bytes": instruction.num_bytes,
                "text": instruction.text,
                "labels": list(instruction.labels),
                "cycles": _cost_record(instruction.cost),
            }
            for instruction in line.instructions
        ],
    }


def _cost_record(cost: Cost) -> dict[str, object]:
    record: dict[str, object] = {"least": cost.least, "most": cost.most}
    if cost.beside is not None:
        record["beside"] = _cost_record(cost.beside)
    if cost.has_bank_conflict:
        record["has_bank_conflict"] = True
    if cost.why:
        record["why"] = dict(cost.why)
    return record
