"""One instance of a PE program during its analysis: reachable code, and its decisions."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from onewafer.arch import DataTaskKey
from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.columns import Columns
from onewafer.csl.sema.instance.state import (
    Binding,
    Colors,
    ControlTables,
    ExplicitDsrs,
    FifoRequest,
    Fifos,
    PointedFunctions,
)
from onewafer.csl.sema.reserved import check_color, check_reserved_color, check_reserved_queue
from onewafer.csl.sema.values import (
    Array,
    Decisions,
    Dsd,
    FunctionAddress,
    FunctionValue,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    Undefined,
    Value,
    Variable,
    conversions,
    force,
    formats,
    map_scalar,
    packed,
    type_of,
)
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import (
    ALL_MASKED,
    NO_TASK,
    ChannelKind,
    DsdKind,
    ScalarType,
    TaskKind,
    channel,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.faults import Reports
    from onewafer.csl.sema.instance.pending import PendingBody
    from onewafer.csl.sema.session import Session
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor, Rotation


_MAX_PARTS = 256
"""Most parts of a variable that have symbols of their own."""
_NO_BASE = ir.Immediate(ScalarType.U16, 0)


def _element_of(type_: t.Type) -> ScalarType | None:
    """Return the part of a variable that a host reads; None: it is not numbers of one type."""
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
    """Return the fields of a variable of structs."""
    if not isinstance(t.element(type_), t.StructType):
        return ()
    return tuple(
        ir.Part(name, offset, t.num_bytes(part), _element_of(part), _is_wide(part))
        for name, offset, part in islice(t.named_parts(type_), _MAX_PARTS)
    )


class Instance:
    """The program of one instance, as far as it is known; which modules add to it, it knows not."""

    def __init__(self, session: Session, reports: Reports) -> None:
        self.session = session
        self.reports = reports
        self.report = reports.report
        self.has_read_program = False
        """Whether values depend on coordinates of a PE or colors of queues, besides params."""
        self.decisions = Decisions()
        self.coordinates = (Scalar(t.U16, 0), Scalar(t.U16, 0))
        """Coordinates of the PE in the rectangle."""
        self.globals: list[ir.Global] = []
        self.functions: list[ir.Function] = []
        self.work: deque[PendingBody] = deque()
        """Function bodies still to be analysed."""
        self.specializations: dict[object, ir.Function] = {}
        self.bindings: dict[tuple[TaskKind, int], Binding] = {}
        self.task_functions: dict[ast.Function, list[Binding]] = {}
        self.queues: dict[tuple[bool, int], tuple[int, Span]] = {}
        self.blocked: dict[int, None] = {}
        self.unblocked: dict[int, None] = {}
        self.active: dict[int, Span] = {}
        self.exports: dict[str, tuple[Value, Span]] = {}
        self.colors = Colors()
        self.teardown_handlers: dict[int, tuple[FunctionValue, Span]] = {}
        """The handlers that run when a color is torn down."""
        self.empty_queue_handlers: dict[tuple[bool, int], tuple[FunctionValue, Span]] = {}
        """The handlers that run when a queue has become empty, by (it is an output queue,
        number)."""
        self.reaches_registers = self.reaches_queues = self.unmasks_exceptions = False
        """Whether loads and stores may go to registers: of the router; queues; and exceptions."""
        self.rotations: list[tuple[Rotation, Span]] = []
        """Tasks that are replaced by another task once in a number of times."""
        self.control_tables = ControlTables()
        self.control_mask, self.exception_mask = 0, ALL_MASKED
        """At first: what the entry of kept control wavelets is combined with; and which floating
        point exceptions do not stop the program."""
        self.fifos = Fifos()
        self.stored_results: dict[ir.Function, Variable] = {}
        """Function → the variable that holds the struct or array that it returns."""
        self.strings: dict[bytes, Variable] = {}
        """Strings that lie in memory."""
        self.pointed: dict[t.Type, PointedFunctions] = {}
        """By the type of the functions."""
        self.dsrs = ExplicitDsrs()
        self.late_bindings: list[Callable[[], None]] = []
        """Tasks to bind where comptime blocks tell more about their ids."""
        self.requests: list[Callable[[], None]] = []
        """Requests of comptime blocks that need all tasks to be bound."""
        self.keep_alive: list[object] = []
        """Objects whose `id` is part of a key."""
        self.columns = Columns()
        self._symbols: dict[str, int] = {}
        self._to_fill: deque[Variable] = deque()

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
            self._to_fill.append(variable)
        return variable.storage

    def string_address(self, string: bytes, span: Span) -> Pointer:
        """Return where the bytes of a string lie in memory, a NUL behind them; equal ones once."""
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
            NO_TASK if value is None else self.local_task(value, request.span)
            for value in (request.activate_push, request.activate_pop)
        )
        storage = self.storage(request.variable)
        return ir.Fifo(storage, push, pop, request.empty_action, request.full_action)

    def report_without_lengths(self, fifos: frozenset[int], finding: Diagnostic) -> None:
        """Report what is true of an operation if none of its FIFOs has a length."""
        if fifos:
            self.fifos.findings.append((fifos, finding))
        else:
            self.report(Fault(finding))

    def report_fifo_findings(self) -> None:
        """Report what was kept back, now that all of the program is known."""
        for fifos, finding in self.fifos.findings:
            if self.fifos.with_length.isdisjoint(fifos):
                self.report(Fault(finding))

    def fill_globals(self) -> None:
        """Write the initial data of all globals, which may add more globals."""
        while self._to_fill:
            variable = self._to_fill.popleft()
            assert variable.storage is not None
            try:
                self._fill(variable.storage, 0, variable.type, variable.initial, variable.span)
            except Fault as fault:
                self.report(fault)

    def _fill(
        self, storage: ir.Global, offset: int, type_: t.Type, value: Value, span: Span
    ) -> None:
        match value:
            case Array(array, elements):
                step = t.num_bytes(array.element)
                blank: set[int] = set()  # elements of zeros, of which `@zeros` repeats one
                for index, element in enumerate(elements):
                    if id(element) in blank:
                        continue
                    if type(element) is Scalar and element.value == 0 and not element.taint:
                        continue
                    num_data = len(storage.data)
                    self._fill(storage, offset + index * step, array.element, element, span)
                    if len(storage.data) == num_data:
                        blank.add(id(element))
            case Struct(type=t.PackedType()):
                self._fill_packed(storage, offset, value, span)
            case Struct(_, fields) if isinstance(type_, t.StructType):
                for index, (field_type, part) in enumerate(zip(type_.fields, fields, strict=True)):
                    start = offset + t.field_offset(type_, index)
                    self._fill(storage, start, field_type, part, span)
            case Scalar() if isinstance(t.register_type(type_), ir.WideType):
                for index, word in enumerate(self.columns.words(value)):
                    self._fill(storage, offset + index * t.num_bytes(t.U32), t.U32, word, span)
            case Scalar(_, number, taint):
                element = t.scalar_type(type_)
                word = formats.canonical_word(type_, number)
                if element is not None and (word or taint is not None):
                    column = self.columns.of(Scalar(type_, number, taint))
                    storage.data.append(ir.Datum(offset, element, word, column))
            case Pointer():
                storage.data.append(ir.AddressDatum(offset, self.address(value)))
            case FunctionAddress():
                word = self.function_number(value).word
                storage.data.append(ir.Datum(offset, ScalarType.U16, word))
            case Undefined():
                pass
            case Dsd():
                storage.data.append(ir.DsdDatum(offset, self.make_dsd(value)))
            case _:
                fail("type-mismatch", f"`{type_}` cannot be initial data of a variable", span)

    def _fill_packed(self, storage: ir.Global, offset: int, value: Struct, span: Span) -> None:
        """Write the bytes of a packed struct with addresses in it."""
        word, addresses = packed.split(value)
        free = set(range(t.num_bytes(word.type)))
        for bit, address in addresses:
            first, rest = divmod(bit, 8)
            if rest:
                fail(
                    "unsupported-feature",
                    f"an address from bit {bit} of a packed struct on is known to the linker only",
                    span,
                    help="let it begin at a byte: at bit 0, 8, 16 …; or give it in a function",
                )
            self._fill(storage, offset + first, type_of(address), address, span)
            free -= {first, first + 1}
        for byte in free:
            part = map_scalar(word, t.U8, lambda number, at=8 * byte: int(number) >> at & 0xFF)
            self._fill(storage, offset + byte, t.U8, part, span)

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
        """Return a function pointer as IR; the function may be called through it from now on."""
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
        """Let loads and stores go to the registers of queues."""
        self.reaches_registers = self.reaches_queues = True

    def check_queue(self, descriptor: DsdDescriptor, span: Span | None) -> None:
        """Fail if a fabric DSD uses a queue that this architecture wants initialised first."""
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
        """Say that a queue serves no color; only an operation on it would be an error."""
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

    def bind_task(self, binding: Binding) -> None:
        """Bind a task to an id, each id once."""
        key = (binding.kind, binding.task_id)
        earlier = self.bindings.get(key)
        if earlier is not None:
            fail(
                "duplicate-task-binding",
                f"{binding.kind.name.lower()} task id {binding.task_id} is bound to "
                f"`{earlier.task.declaration.name}` already",
                binding.span,
                secondary=(Annotation(earlier.span, "bound here"),),
            )
        self.bindings[key] = binding
        self.task_functions.setdefault(binding.task.declaration, []).append(binding)

    def task_id(self, value: Value, span: Span, what: str) -> tuple[TaskKind, int]:
        """Return kind and id of a task given by id or by name, or fail."""
        match value:
            case Scalar(t.LOCAL_TASK_ID):
                return TaskKind.LOCAL, id_number(value, span)
            case Scalar(t.DATA_TASK_ID):
                return TaskKind.DATA, id_number(value, span)
            case Scalar(t.CONTROL_TASK_ID):
                return TaskKind.CONTROL, id_number(value, span)
            case FunctionValue(module, declaration):
                for binding in self.task_functions.get(declaration, ()):
                    if binding.task.module is module:
                        return binding.kind, binding.task_id
                fail(
                    "unbound-task",
                    f"`{declaration.name}` is not bound to a task id",
                    span,
                    help=f"add `@bind_local_task({declaration.name}, id);` to a `comptime` block",
                )
            case Runtime(t.LOCAL_TASK_ID):
                fail(
                    "not-comptime",
                    f"{what} is only known at run time",
                    span,
                    help="name it: `@get_local_task_id(n)` with a number that is known",
                )
            case _:
                conversions.mismatch(value, t.LOCAL_TASK_ID, span, what)

    def local_task(self, value: Value, span: Span) -> int:
        """Return the id of a local task to activate, or fail."""
        kind, number = self.task_id(value, span, "the task to activate")
        if kind is not TaskKind.LOCAL:
            fail("type-mismatch", "only local tasks can be activated", span)
        if (kind, number) not in self.bindings:
            fail(
                "unbound-task",
                f"no task is bound to local task id {number}",
                span,
                help="add `@bind_local_task(task, id);` to a `comptime` block",
            )
        return number

    def channel_of(self, value: Value, span: Span) -> int:
        """Return what `@block` and `@unblock` name, as `image.channel` encodes it."""
        by_color = self.session.architecture.data_task_key is DataTaskKey.COLOR
        data = ChannelKind.COLOR if by_color else ChannelKind.INPUT_QUEUE
        match value:
            case Scalar(t.COLOR) if by_color:
                check_color(self.session.options, id_number(value, span), span)
                return channel(data, id_number(value, span))
            case Scalar(t.INPUT_QUEUE) if not by_color:
                return channel(data, id_number(value, span))
            case Scalar(t.UT_ID):
                return channel(ChannelKind.MICROTHREAD, id_number(value, span))
            case Scalar(t.LOCAL_TASK_ID | t.DATA_TASK_ID | t.CONTROL_TASK_ID) | FunctionValue():
                kind, number = self.task_id(value, span, "a task id")
                if kind is TaskKind.CONTROL:
                    fail(
                        "type-mismatch",
                        "a control task cannot be blocked",
                        span,
                        help="block the color or input queue that its wavelets come from",
                    )
                local = kind is TaskKind.LOCAL
                if by_color and not local:
                    check_color(self.session.options, number, span)
                return channel(ChannelKind.LOCAL_TASK if local else data, number)
            case _:
                wanted = " or a color" if by_color else ", an input queue or a microthread"
                name = self.session.architecture.name
                fail("type-mismatch", f"{name} blocks a task id{wanted}", span)

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
        """Analyse all functions that were asked for and those they ask for."""
        while self.work:
            body = next((body for body in self.work if not body.waits()), self.work[0])
            self.work.remove(body)
            body.analyze()


def id_number(value: Scalar, span: Span) -> int:
    """Return the number of an id, which decides the program."""
    return int(force(value, f"{value.type}", span))
