"""The state of the analysis of an instance: its tasks, colors, FIFOs and registers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema.instance.reliance import Reliance
from onewafer.csl.sema.values import Dsd, Dsr, FunctionValue, Runtime, Struct, Value, Variable
from onewafer.diagnostics import Diagnostic
from onewafer.image import FifoAction, TaskKind

if TYPE_CHECKING:
    from onewafer.csl.sema import types as t
    from onewafer.diagnostics import Span
    from onewafer.image import ColorConfig, DsdConfig, DsdDescriptor


@dataclass(slots=True)
class Binding:
    """A task bound to an id."""

    kind: TaskKind
    task_id: int
    task: FunctionValue
    span: Span


@dataclass(frozen=True, slots=True)
class LocalColor:
    """One `@set_local_color_config`."""

    color: int
    config: Value
    span: Span


@dataclass(slots=True)
class Colors:
    """The colors of a program and their uses."""

    local: list[LocalColor] = field(default_factory=list[LocalColor])
    streams: dict[int, tuple[ColorConfig, Span]] = field(
        default_factory=dict[int, "tuple[ColorConfig, Span]"]
    )
    """Color that the host sends or receives → its route, and where the library set it."""
    filter_users: dict[int, Span] = field(default_factory=dict[int, "Span"])
    """Color whose filter the program names → where it does."""
    commands: set[int] = field(default_factory=set[int])
    """The color of memcpy's host commands, if the program names one as older programs do."""


@dataclass(slots=True)
class ControlTables:
    """The tables of control tasks, of which each input queue uses one."""

    span: Span | None = None
    """The place where the program asks for tables of control tasks."""
    stride: int = 1
    """Number of entries per table."""
    ids: dict[int, int] = field(default_factory=dict[int, int])
    """Input queue → table id; a queue that is absent has 0."""

    def offset(self, queue: int) -> int:
        """Return the id of the first control task in the table of an input queue."""
        return self.stride * self.ids.get(queue, 0)


@dataclass(frozen=True, slots=True)
class FifoRequest:
    """One `@allocate_fifo`."""

    variable: Variable
    activate_push: Value | None
    activate_pop: Value | None
    span: Span
    empty_action: FifoAction = FifoAction.TEST_OR_SUSPEND
    full_action: FifoAction = FifoAction.TEST_OR_SUSPEND


@dataclass(slots=True)
class Fifos:
    """The FIFOs of a program."""

    requests: list[FifoRequest] = field(default_factory=list[FifoRequest])
    """By number of the FIFO."""
    registers: dict[Dsr, tuple[int, Span]] = field(default_factory=dict["Dsr", "tuple[int, Span]"])
    """Register that a FIFO names → number of the FIFO, and where it names it."""
    with_length: set[int] = field(default_factory=set[int])
    """Registers whose length the program sets."""
    findings: list[tuple[frozenset[int], Diagnostic]] = field(
        default_factory=list[tuple[frozenset[int], Diagnostic]]
    )
    """Findings that hold only if none of the FIFOs beside them has a length."""


@dataclass(slots=True)
class HeldDsd:
    """The DSD that stands for a DSR where the machine takes no register."""

    dsd: Dsd | Runtime | None = None
    is_one: Reliance = field(default_factory=Reliance)
    """Holds while all loads are of one DSD that is known at compile time."""


NO_IDS: Value = Struct((), ())


@dataclass(slots=True)
class DsrState:
    """The known contents of an explicit DSR, from one `@load_to_dsr` or from all so far."""

    descriptor: DsdDescriptor | None
    config: DsdConfig | None
    span: Span
    has_one_config: Reliance = field(default_factory=Reliance)
    """Holds while all loads have the same settings, which operations take from here."""
    is_always_async: Reliance = field(default_factory=Reliance)
    """Holds while all loads say `.async = true`."""
    has_one_queue: Reliance = field(default_factory=Reliance)
    """Holds while all fabric DSDs have one queue, from which operations take their microthread."""
    is_sometimes_memory: bool = False
    """True if some load is not of a fabric DSD."""
    stepped: HeldDsd = field(default_factory=HeldDsd)
    """The DSD that `@map` iterates over, loaded with `.single_step`."""
    dropped: HeldDsd = field(default_factory=HeldDsd)
    """The DSD that `@dfilt` reads, loaded with `.async`."""
    ut_id: Value | None = None
    """The microthread that it was loaded with."""
    ids: Value = NO_IDS
    """Settings that only run time knows: ids, each in a variable that belongs to the register."""

    @property
    def is_of_fabric(self) -> bool:
        """True if it was loaded with a DSD of the fabric."""
        return self.descriptor is not None and self.descriptor.kind.is_fabric


@dataclass(slots=True)
class PointedFunctions:
    """Functions of one type whose address is taken; their numbers count up from 1."""

    functions: list[FunctionValue] = field(default_factory=list["FunctionValue"])
    dispatcher: ir.Function | None = None
    """The function that calls the function of a number; None: no call needs it yet."""


DsrKey = tuple["t.SimpleType", int]


@dataclass(slots=True)
class ExplicitDsrs:
    """The DSRs that a program names."""

    states: dict[DsrKey, DsrState] = field(default_factory=dict[DsrKey, DsrState])
    """DSR → the known contents from all its loads so far."""
    never_async: defaultdict[DsrKey, Reliance] = field(
        default_factory=lambda: defaultdict[DsrKey, Reliance](Reliance)
    )
    """Holds while no load says `.async = true`."""
    loaded_ids: dict[tuple[t.Type, int, tuple[str, ...]], Variable] = field(
        default_factory=dict["tuple[t.Type, int, tuple[str, ...]]", Variable]
    )
    """(Kind, number, setting) of a DSR → the variable with the run-time id it was loaded with."""
    loads: list[ir.LoadDsr] = field(default_factory=list[ir.LoadDsr])
    """DSDs that registers hold when the program is loaded."""
