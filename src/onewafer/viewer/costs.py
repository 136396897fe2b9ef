"""Static costs of the instructions of a tile program.

In: a code array and a timing profile. Out: a `Cost` for each instruction. The rules are those of
`docs/explanation/machine.md`. If a cost depends on the run (the direction of a branch, the length
of a vector, the arrival of a wavelet), it is a range.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from onewafer.image import (
    DSD_NUMBER_MASK,
    DSD_OPERATIONS,
    IN_MAP,
    SAVES_ADDRESS,
    SYNCHRONOUS,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    TileProgram,
    cost_classes,
    decode_operand,
    entry_points,
    issue_cycles,
)
from onewafer.trace.formats import Reason, Why, costs_of, reasons, reasons_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.arch import Timing

_BYTES = {None: 0, "u16": 2, "f16": 2, "u32": 4, "f32": 4}
_DSR_MODES = frozenset((OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1))
_BRANCHES = frozenset((Opcode.BRANCH_ZERO, Opcode.BRANCH_NONZERO))
_ENDLESS = 0x7FFF
_WORD_BYTES = 4
_NUM_READABLE_BANKS = 4
"""Two words can be read in one cycle only if their addresses differ modulo this (M13)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles from an instruction's issue to the next one's on the main thread, as a range."""

    least: int
    most: int | None
    """None: it depends on the fabric, or on the length of a vector that only a run knows."""
    beside: Cost | None = None
    """The cost of an asynchronous operation on its microthread, from issue to end."""
    has_bank_conflict: bool = False
    """True if a DSD operation is slower because its sources share memory banks (M13)."""
    why: Why = field(default=(), compare=False)
    """The least cycles by reason."""

    def __str__(self) -> str:
        """Return `7`, `1–2` or `≥ 9`."""
        if self.most is None:
            return f"≥ {self.least}"
        return str(self.least) if self.least == self.most else f"{self.least}–{self.most}"


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of the costs of instructions that run once each."""
    least, most = 0, 0
    spent: dict[Reason, int] = {}
    for cost in costs:
        least += cost.least
        most = None if most is None or cost.most is None else most + cost.most
        for reason, cycles in cost.why:
            spent[reason] = spent.get(reason, 0) + cycles
    return Cost(least, most, why=reasons(spent))


def instruction_costs(
    program: TileProgram, rows: list[list[int]], timing: Timing
) -> tuple[Cost, ...]:
    """Return the cost of each instruction of `rows`, the code of a PE that runs `program`."""
    registers = _Registers(program, rows)
    cycles = issue_cycles(program, timing)
    classes = [[name.name.lower() for name in names] for names in cost_classes(program)]
    issues = [
        Cost(spent, spent, why=reasons_of(costs_of(names, spent, timing.instruction_cycles)))
        for names, spent in zip(classes, cycles, strict=True)
    ]
    return tuple(
        _cost(registers.at(pc, row), row, issues[pc], timing) for pc, row in enumerate(rows)
    )


@dataclass(frozen=True, slots=True)
class _Value:
    """The DSD in a DSR, if it is known."""

    base: int
    extent: int
    stride: int
    """The stride of the innermost loop, in elements."""
    kind: DsdKind
    row: int = 0
    """The extent of the innermost of several loops; 0: there is one loop."""
    skipped: int = 0
    """Elements that are missing in the first row (M124)."""

    def num_wraps(self, length: int) -> int:
        """Return the number of row ends within `length` elements (M151)."""
        return (self.skipped + length - 1) // self.row if self.row and length else 0


class _Registers:
    """Tracks the known contents of DSRs along straight-line code."""

    def __init__(self, program: TileProgram, rows: list[list[int]]) -> None:
        self._dsds = program.dsds
        self._has_fifo_lengths = any(r[Field.OPCODE] == Opcode.FIFO_SET_LENGTH for r in rows)
        self._entries = entry_points(program, rows)
        self._known: dict[int, _Value] = {}

    def at(self, pc: int, row: list[int]) -> list[_Value | None]:
        """Return the known DSDs of dest, src0 and src1 when the instruction issues."""
        if pc in self._entries:
            self._known.clear()
        operands = row[Field.RD], row[Field.RA], row[Field.RB]
        match row[Field.OPCODE]:
            case Opcode.DSR_LOAD_CONSTANT:
                self._load(row)
            case Opcode.DSR_LOAD:
                self._known.pop(row[Field.RD], None)
            case Opcode.CALL:  # the function may change any DSR
                self._known.clear()
            case Opcode.DSD:
                return [self._known.get(operand) for operand in operands]
            case _:
                pass
        return []

    def _load(self, row: list[int]) -> None:
        low, high = row[Field.IMM] & 0xFFFF_FFFF, row[Field.AUX] & 0xFFFF_FFFF
        number = high >> 16 & DSD_NUMBER_MASK
        self._known.pop(row[Field.RD], None)
        if high & SAVES_ADDRESS or number >= len(self._dsds):
            return
        dsd = self._dsds[number]
        if dsd.kind is DsdKind.FIFO and self._has_fifo_lengths:  # M149
            return
        stride = _inner_stride(dsd, high)
        value = _Value(low & 0xFFFF, low >> 16, stride, dsd.kind)
        if dsd.kind is DsdKind.MEM4D and len(dsd.extents) > 1 and dsd.extents[-1]:
            inner = dsd.extents[-1]
            value = replace(value, row=inner, skipped=(high & 0xFFFF) % inner)
        self._known[row[Field.RD]] = value


def _inner_stride(dsd: DsdDescriptor, high: int) -> int:
    if dsd.kind is DsdKind.MEM4D:
        return dsd.strides[-1]
    return ((high & 0xFFFF) ^ 0x8000) - 0x8000 if dsd.kind is DsdKind.MEM1D else 1


def _cost(vectors: list[_Value | None], row: list[int], issue: Cost, timing: Timing) -> Cost:
    opcode = Opcode(row[Field.OPCODE])
    if opcode in _BRANCHES:  # M21
        ways = issue.least, timing.branch_taken_cycles
        return Cost(min(ways), max(ways), why=((Reason.JUMP, min(ways)),))
    if opcode is not Opcode.DSD:
        return issue
    operation = _operation_cost(vectors, row, timing)
    if row[Field.IMM] == SYNCHRONOUS:
        return operation
    return replace(issue, beside=operation)  # M31


def _operation_cost(vectors: list[_Value | None], row: list[int], timing: Timing) -> Cost:
    """Return the cycles of a DSD operation, up to the next issue if synchronous (M30–M33)."""
    operands = [decode_operand(encoded) for encoded in row[Field.RD : Field.RC + 1]]
    is_known = all(
        value is not None
        for (mode, _), value in zip(operands[:3], vectors, strict=True)
        if mode in _DSR_MODES
    )
    values = [value for value in vectors if value is not None]
    is_fabric = any(v.kind.is_fabric for v in values)
    is_stepwise = is_fabric or any(v.kind is DsdKind.FIFO for v in values)
    is_in_map = row[Field.AUX] == IN_MAP and not is_stepwise
    setups = timing.memory_setup_cycles, timing.fabric_setup_cycles
    setup = setups[is_fabric] if is_known else min(setups)
    if operands[3][0] is OperandMode.REGISTER:
        setup += timing.scalar_setup_cycles
    is_synchronous = row[Field.IMM] == SYNCHRONOUS
    around = 0 if is_in_map else setup + (timing.resume_cycles if is_synchronous else 0)
    length = _length(vectors) if is_known else 1
    rate = _rate(vectors, operands, length, row[Field.TYPE], timing)
    conflicts = timing.bank_conflict_factor > 1 and _share_banks(vectors, row[Field.TYPE])
    slower = timing.bank_conflict_factor if conflicts else Fraction(1)
    elements, in_turns = (
        length * max(1, _ceil(1 / per_cycle)) if is_stepwise else _ceil(length / per_cycle)
        for per_cycle in (rate * slower, rate)
    )
    spent = {
        Reason.SETUP: around,
        Reason.ELEMENTS: elements,
        Reason.BANK_CONFLICT: in_turns - elements,
        Reason.ROW_ENDS: 0 if is_stepwise else _num_wraps(vectors, length) * timing.wrap_cycles,
    }
    least = sum(spent.values())
    most = least if is_known and not is_stepwise else None
    return Cost(least, most, has_bank_conflict=conflicts, why=reasons(spent))


def _length(vectors: list[_Value | None]) -> int:
    """Return the length of an operation whose vectors are all known (M35)."""
    dest, src0, src1 = (0 if value is None else value.extent for value in vectors)
    length = src0 or src1 or dest or 1
    return 1 if length == _ENDLESS else length


def _rate(
    vectors: list[_Value | None],
    operands: list[tuple[OperandMode, int]],
    length: int,
    kind: int,
    timing: Timing,
) -> Fraction:
    """Return the rate in elements per cycle (M13, M32)."""
    rate = timing.elements_per_cycle[DsdOperation(kind).name.lower()]
    if operands[0][0] is OperandMode.POINTER and length > 1:
        rate = min(rate, timing.reduction_elements_per_cycle)
    stride = max(abs(value.stride) if value is not None else 1 for value in vectors)
    if stride > 1 and rate > 1:
        rate = max(Fraction(1), rate / stride)
    return rate / timing.bank_conflict_factor if _share_banks(vectors, kind) else rate


def _reads_two_vectors(vectors: list[_Value | None]) -> bool:
    """Tell whether both sources are in memory."""
    memory = (DsdKind.MEM1D, DsdKind.MEM4D)
    return all(source is not None and source.kind in memory for source in vectors[1:])


def _num_wraps(vectors: list[_Value | None], length: int) -> int:
    """Return the number of row ends in an operation with two sources in memory (M151)."""
    if not _reads_two_vectors(vectors):
        return 0
    return max(source.num_wraps(length) for source in vectors[1:] if source is not None)


def _share_banks(vectors: list[_Value | None], kind: int) -> bool:
    """Tell whether both sources are in memory and share memory banks (M13)."""
    _, left, right = vectors
    if left is None or right is None or not _reads_two_vectors(vectors):
        return False
    info = DSD_OPERATIONS[DsdOperation(kind)]
    advances = left.stride * _BYTES[info.src0], right.stride * _BYTES[info.src1]
    distance = left.base // _WORD_BYTES - right.base // _WORD_BYTES
    return advances[0] == advances[1] and distance % _NUM_READABLE_BANKS == 0


def _ceil(cycles: Fraction) -> int:
    return -(-cycles.numerator // cycles.denominator)
