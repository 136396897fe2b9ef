"""One instance of a PE program during its analysis: reachable code, and its decisions."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.columns import Columns
from onewafer.csl.sema.instance.state import (
    Colors,
    ControlTables,
    ExplicitDsrs,
    FifoRequest,
    Fifos,
    PointedFunctions,
)
from onewafer.csl.sema.instance.tasks import Tasks
from onewafer.csl.sema.session.reserved import check_reserved_color, check_reserved_queue
from onewafer.csl.sema.values import (
    Array,
    Decisions,
    Dsd,
    FunctionAddress,
    FunctionValue,
    Pointer,
    Scalar,
    Undefined,
    Value,
    Variable,
)
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import ALL_MASKED, NO_TASK, DsdKind, ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.faults import Reports
    from onewafer.csl.sema.instance.pending import PendingBody
    from onewafer.csl.sema.session import Session
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor, Rotation


_MAX_PARTS = 256
"""Limit of the parts of one variable that get symbols of their own."""
_NO_BASE = ir.Immediate(ScalarType.U16, 0)


def _element_of(type_: t.Type) -> ScalarType | None:
    """Return the type in which the host reads a variable; None: its numbers have several types."""
    element = t.element(type_)
    match element:
        case t.PointerType():
            return None
        case t.StructType(is_overlaid=True):
            return t.host_type(t.IntegerType(8 * t.alignment(element), is_signed=False))
        case t.StructType():
            found = {_element_of(leaf) for _, leaf in t.leaves(element)}
            if len(found) == 1:
                return found.pop()
            return ScalarType.U8 if t.alignment(element) == 1 else None
        case _:
            return t.host_type(element)


def _is_wide(type_: t.Type) -> bool:
    """Tell whether the numbers of a variable are of more than 32 bits: two words each."""
    element = t.element(type_)
    return not isinstance(element, t.StructType) and t.is_wide(element)


def _parts_of(type_: t.Type) -> tuple[ir.Part, ...]:
    """Return the parts of a variable of structs that get symbols of their own."""
    if not isinstance(t.element(type_), t.StructType):
        return ()
    return tuple(
        ir.Part(name, offset, t.num_bytes(part), _element_of(part), _is_wide(part))
        for name, offset, part in islice(t.named_parts(type_), _MAX_PARTS)
    )


class Instance:
    """The program of one instance, to which its modules add; it does not know the modules."""

    def __init__(self, session: Session, reports: Reports) -> None:
        self.session = session
        self.reports = reports
        self.report = reports.report
        self.has_read_program = False
        """True if values depend on coordinates of a PE or colors of queues, besides params."""
        self.decisions = Decisions()
        self.coordinates = (Scalar(t.U16, 0), Scalar(t.U16, 0))
        """Coordinates of the PE in the rectangle."""
        self.globals: list[ir.Global] = []
        self.functions: list[ir.Function] = []
        self.work: deque[PendingBody] = deque()
        """Function bodies still to be analysed."""
        self.specializations: dict[object, ir.Function] = {}
        self.tasks = Tasks(session.options)
        self.queues: dict[tuple[bool, int], tuple[int, Span]] = {}
        self.exports: dict[str, tuple[Value, Span]] = {}
        self.colors = Colors()
        self.teardown_handlers: dict[int, tuple[FunctionValue, Span]] = {}
        """Color → the handler that runs when it is torn down."""
        self.empty_queue_handlers: dict[tuple[bool, int], tuple[FunctionValue, Span]] = {}
        """(Is an output queue, number) → the handler that runs when the queue has become empty."""
        self.reaches_registers = self.reaches_queues = self.unmasks_exceptions = False
        """True if loads and stores may address registers: any; of queues; of exceptions."""
        self.rotations: list[tuple[Rotation, Span]] = []
        """Data tasks in whose place a control task starts once in a number of times."""
        self.control_tables = ControlTables()
        self.control_mask, self.exception_mask = 0, ALL_MASKED
        """Initial registers: the control mask; the floating-point exceptions that are ignored."""
        self.fifos = Fifos()
        self.stored_results: dict[ir.Function, Variable] = {}
        """Function → the variable that holds the struct or array that it returns."""
        self.strings: dict[bytes, Variable] = {}
        """String → the constant in memory that holds it."""
        self.pointed: dict[t.Type, PointedFunctions] = {}
        """Function type → the functions of that type whose address is taken."""
        self.dsrs = ExplicitDsrs()
        self.late_bindings: list[Callable[[], None]] = []
        """Bindings of tasks whose ids depend on later comptime blocks."""
        self.requests: list[Callable[[], None]] = []
        """Requests of comptime blocks that need all tasks to be bound."""
        self.keep_alive: list[object] = []
        """Objects whose `id` is part of a key."""
        self.columns = Columns()
        self._symbols: dict[str, int] = {}
        self.to_fill: deque[Variable] = deque()
        """Variables whose initial data are still to be written, see `initial_data`."""

    # --- memory ----------------------------------------------------------------------------------

    def unique_symbol(self, name: str) -> str:
        """Return `name`, numbered if another symbol has it."""
        count = self._symbols[name] = self._symbols.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def storage(self, variable: Variable) -> ir.Global:
        """Return the global of a variable, which makes it part of the program."""
        assert variable.at is None
        if variable.storage is None:
            type_ = variable.type
            variable.storage = ir.Global(
                self.unique_symbol(variable.name),
                t.num_bytes(type_),
                max(t.alignment(type_), variable.alignment or 1),
                _element_of(type_),
                variable.span,
                is_undefined=variable.is_undefined or isinstance(variable.initial, Undefined),
                is_wide=_is_wide(type_),
                section=variable.section,
                is_local=variable.is_local,
                parts=_parts_of(type_),
            )
            self.globals.append(variable.storage)
            self.to_fill.append(variable)
        return variable.storage

    def string_address(self, string: bytes, span: Span) -> Pointer:
        """Return the address of a NUL-terminated string in memory; equal strings share it."""
        variable = self.strings.get(string)
        if variable is None:
            octets = [Scalar(t.U8, octet) for octet in string + b"\0"]
            type_ = t.ArrayType((len(octets),), t.U8)
            initial = Array(type_, [*octets])
            variable = Variable("string", type_, initial, span, is_const=True)
            self.strings[string] = variable
        return Pointer(t.PointerType(variable.type, is_const=True), variable)

    def add_fifo(self, request: FifoRequest) -> int:
        """Return the number of a new FIFO, whose array becomes part of the program."""
        self.storage(request.variable)
        self.fifos.requests.append(request)
        return len(self.fifos.requests) - 1

    def fifo(self, request: FifoRequest) -> ir.Fifo:
        """Return a FIFO as IR, once all tasks are bound."""
        push, pop = (
            NO_TASK if value is None else self.tasks.local_task(value, request.span)
            for value in (request.activate_push, request.activate_pop)
        )
        storage = self.storage(request.variable)
        return ir.Fifo(storage, push, pop, request.empty_action, request.full_action)

    def report_without_lengths(self, fifos: frozenset[int], finding: Diagnostic) -> None:
        """Report a finding; if there are `fifos`, do so at the end if none of them got a length."""
        if fifos:
            self.fifos.findings.append((fifos, finding))
        else:
            self.report(Fault(finding))

    def report_fifo_findings(self) -> None:
        """Report the findings that `report_without_lengths` kept, where they turned out true."""
        for fifos, finding in self.fifos.findings:
            if self.fifos.with_length.isdisjoint(fifos):
                self.report(Fault(finding))

    # --- values as IR ----------------------------------------------------------------------------

    def immediate(self, value: Scalar) -> ir.Immediate:
        """Return a scalar of at most 32 bits as IR."""
        return self.columns.immediate(value)

    def address(self, pointer: Pointer) -> ir.AddressOf:
        """Return a comptime pointer as IR."""
        whole = 0, t.num_bytes(pointer.variable.type)
        array = None if pointer.reach == whole else pointer.reach
        return ir.AddressOf(self.storage(pointer.variable), pointer.offset, array)

    def function_number(self, value: FunctionAddress) -> ir.Immediate:
        """Return a function pointer as IR: the number of the function among those of its type."""
        pointed = self.pointed.setdefault(value.type.pointee, PointedFunctions())
        if value.function not in pointed.functions:
            pointed.functions.append(value.function)
        number = pointed.functions.index(value.function) + 1
        return ir.Immediate(ScalarType.U16, number)

    def make_dsd(self, value: Dsd) -> ir.MakeDsd:
        """Return a comptime DSD as IR, its queue checked."""
        self.check_queue(value.descriptor, value.span)
        base = self.address(value.base) if value.base is not None else _NO_BASE
        return ir.MakeDsd(
            value.descriptor,
            base,
            self.immediate(value.extent),
            self.immediate(value.stride),
            value.span,
        )

    # --- queues, tasks, channels -----------------------------------------------------------------

    def reach_queues(self) -> None:
        """Note that loads and stores may address the registers of queues."""
        self.reaches_registers = self.reaches_queues = True

    def check_queue(self, descriptor: DsdDescriptor, span: Span | None) -> None:
        """Warn if a DSD's queue is not initialised; fail if its color or queue is not allowed."""
        if not descriptor.kind.is_fabric:
            return
        if descriptor.color >= 0:
            check_reserved_color(self.session.options, descriptor.color, span)
        if descriptor.queue < 0:
            return  # the compiler chooses one that serves the color
        is_input = descriptor.kind is DsdKind.FABIN
        name = "input" if is_input else "output"
        check_reserved_queue(self.session.options, descriptor.queue, is_input=is_input, span=span)
        bound = self.queues.get((is_input, descriptor.queue))
        if bound is None:
            queue = f"{name} queue {descriptor.queue}"
            if self.session.architecture.queues_need_initialization:
                self._warn_uninitialized(
                    f"{queue} is used without `@initialize_queue`, "
                    f"which {self.session.architecture.name} needs",
                    span,
                )
            elif descriptor.color < 0:
                self._warn_uninitialized(
                    f"{queue} serves no color, and this DSD has no `.fabric_color`", span
                )
        elif self.session.architecture.queues_need_initialization and descriptor.color not in (
            -1,
            bound[0],
        ):
            fail(
                "queue-color-mismatch",
                f"{name} queue {descriptor.queue} serves color {bound[0]}, "
                f"this DSD uses it for color {descriptor.color}",
                span,
                secondary=(Annotation(bound[1], "initialised here"),),
                help="use another queue, or leave the color out of the DSD: it has that which its "
                "queue serves when an operation begins",
            )

    def _warn_uninitialized(self, message: str, span: Span | None) -> None:
        """Warn that a queue serves no color, which is an error once an operation uses it."""
        self.report(
            Fault(
                Diagnostic(
                    "queue-not-initialized",
                    message,
                    Annotation(span) if span is not None else None,
                    notes=("an operation on it stops the simulation with an error",),
                    help="add `@initialize_queue(queue, .{ .color = … });` to a `comptime` block",
                    severity=Severity.WARNING,
                )
            )
        )

    def resolve_requests(self) -> None:
        """Carry out what comptime blocks asked for before all tasks were bound."""
        for request in (*self.late_bindings, *self.requests):
            try:
                request()
            except Fault as fault:
                self.report(fault)
        self.late_bindings.clear()
        self.requests.clear()

    def drain(self) -> None:
        """Analyse all pending function bodies, including those that they add."""
        while self.work:
            body = next((body for body in self.work if not body.waits()), self.work[0])
            self.work.remove(body)
            body.analyze()
