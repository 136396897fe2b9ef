"""The header of a trace: all that readers need besides the events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onewafer.files.field_types import FieldTypes
from onewafer.trace.event import Detail

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ProgramNames:
    """Names of the instructions of one tile program, by program counter."""

    name: str
    places: tuple[str, ...]
    """`file:line`; empty: no source line."""
    instructions: tuple[str, ...]
    """In assembly."""
    addresses: tuple[int, ...]
    """Bytes."""
    labels: Mapping[int, str]
    """Functions and tasks, at their first instruction."""
    messages: tuple[str, ...] = ()
    """Texts that it prints."""
    costs: tuple[Mapping[str, int], ...] = ()
    """By program counter: the instruction's own cycles, by cost class."""


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """Machine, program and names."""

    arch: str
    profile: str
    clock_hertz: float
    hop_cycles: int
    task_start_cycles: int
    result_cycles: int
    """From writing to reading (M152); 0: cycles before an operation's first element are set-up."""
    bank_conflict_factor: float
    """Slowdown of an operation whose sources share memory banks (M13)."""
    width: int
    height: int
    fabric_width: int
    fabric_height: int
    offset_x: int
    """Fabric coordinates of program PE (0, 0)."""
    offset_y: int
    detail: Detail
    operations: tuple[str, ...]
    """By `DsdOperation`."""
    reasons: tuple[str, ...]
    """By `StallReason`."""
    colors: Mapping[int, str]
    """Names of colors that have one."""
    programs: tuple[ProgramNames, ...]
    program_of_pe: tuple[int, ...]
    """Row by row; −1: no program."""

    def program(self, x: int, y: int) -> ProgramNames | None:
        """Return the names of a PE's program; None: it has none."""
        number = self.program_of_pe[y * self.width + x]
        return self.programs[number] if number >= 0 else None

    def color(self, color: int) -> str:
        """Return the name of a color for people: `C4`, or `C4 sum`."""
        name = self.colors.get(color)
        return f"C{color} {name}" if name else f"C{color}"

    def to_record(self) -> dict[str, Any]:
        """Return the header for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TraceHeader:
        """Return the header of a record.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        programs = tuple(_program(program) for program in record["programs"])
        changed: dict[str, Any] = {
            "detail": Detail(record["detail"]),
            "operations": tuple(record["operations"]),
            "reasons": tuple(record["reasons"]),
            "colors": {int(color): name for color, name in record["colors"].items()},
            "programs": programs,
            "program_of_pe": tuple(record["program_of_pe"]),
        }
        fields = {**record, **changed}
        _FIELD_TYPES.check(cls, fields)
        header = cls(**fields)
        header._check_numbers()
        return header

    def _check_numbers(self) -> None:
        """Raise ValueError for impossible numbers, or a PE with an unknown program."""
        if min(self.clock_hertz, self.hop_cycles) <= 0 or min(self.offset_x, self.offset_y) < 0:
            raise ValueError("it is of no machine")
        numbers = self.program_of_pe
        if self.width < 1 or len(numbers) != self.width * self.height:
            raise ValueError(f"{len(numbers):,} PEs in {self.width}×{self.height}")
        if not -1 <= min(numbers) <= max(numbers) < len(self.programs):
            raise ValueError("a PE has an unknown program")


def _program(record: Mapping[str, Any]) -> ProgramNames:
    changed: dict[str, Any] = {
        "places": tuple(record["places"]),
        "instructions": tuple(record["instructions"]),
        "addresses": tuple(record["addresses"]),
        "labels": {int(pc): name for pc, name in record["labels"].items()},
        "messages": tuple(record["messages"]),
        "costs": tuple(record["costs"]),
    }
    fields = {**record, **changed}
    _FIELD_TYPES.check(ProgramNames, fields)
    return ProgramNames(**fields)


_FIELD_TYPES = FieldTypes((ProgramNames, TraceHeader, Detail))
