"""Builtins of `comptime` blocks in PE programs: tasks, queues, symbols, routes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.arch import DataTaskKey
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.layout import color_number
from onewafer.csl.sema.builtins.values import text
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.registry import comptime_builtin
from onewafer.csl.sema.instance.state import Binding, LocalColor
from onewafer.csl.sema.modules.instance_context import find_instance, instance_of
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.session.reserved import (
    check_reserved_color,
    check_reserved_control_task,
    check_reserved_local_task,
    check_reserved_queue,
)
from onewafer.csl.sema.values import (
    VOID_VALUE,
    FunctionValue,
    Pointer,
    Scalar,
    Struct,
    Value,
    Variable,
    conversions,
    force,
    force_all,
    type_of,
)
from onewafer.csl.sema.values.structs import read_fields, read_priority
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.geometry import Direction
from onewafer.image import ColorConfig, SwitchPosition, TaskKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.session import Session
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

_RAMP_TO_RAMP = (SwitchPosition(1 << Direction.RAMP, 1 << Direction.RAMP),)
_FROM_HOST = ColorConfig(_RAMP_TO_RAMP, from_host=True)
_TO_HOST = ColorConfig(_RAMP_TO_RAMP, to_host=True)
MAX_DATA_ARGUMENTS = 2
_ARGUMENT_BYTES = 2
"""Bytes of the argument that a control wavelet carries for its task."""


def task_of(value: Value, span: Span) -> FunctionValue:
    """Return the task that is bound to an id, or fail."""
    if isinstance(value, FunctionValue) and value.declaration.is_task:
        return value
    fail(
        "type-mismatch",
        f"a task is bound to an id, this is of type `{type_of(value)}`",
        span,
        help="declare it as `task name() void { … }`",
    )


def number_of_id(value: Value, type_: t.Type, span: Span) -> int:
    """Return the number of an id of a type, or fail."""
    if isinstance(value, Scalar) and value.type is type_:
        return int(force(value, str(type_), span))
    conversions.mismatch(value, type_, span, "an id")


@comptime_builtin("bind_local_task", 2, context=Where.PROGRAM)
def bind_local_task(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Bind a task to a local task id."""
    task = task_of(args[0], site.argument_spans[0])
    number = number_of_id(args[1], t.LOCAL_TASK_ID, site.argument_spans[1])
    instance, machine = instance_of(module), module.session.architecture
    check_reserved_local_task(module.session.options, number, site.argument_spans[1])
    if task.declaration.parameters:
        fail("type-mismatch", "a local task has no parameters", site.argument_spans[0])
    if machine.data_task_key is DataTaskKey.COLOR:
        _check_shared_id(instance, TaskKind.DATA, number, site.span)
    instance.tasks.bind(Binding(TaskKind.LOCAL, number, task, site.span))
    return VOID_VALUE


def _check_shared_id(instance: Instance, other: TaskKind, number: int, span: Span) -> None:
    """Fail if a color with a data task and a local task would share a number."""
    earlier = instance.tasks.bindings.get((other, number))
    if earlier is not None:
        fail(
            "duplicate-task-binding",
            f"task id {number} is taken: colors and local tasks share their numbers here",
            span,
            secondary=(Annotation(earlier.span, "bound here"),),
        )


@comptime_builtin("bind_data_task", 2, context=Where.PROGRAM)
def bind_data_task(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Bind a task to the wavelets of a channel."""
    task = task_of(args[0], site.argument_spans[0])
    number = number_of_id(args[1], t.DATA_TASK_ID, site.argument_spans[1])
    instance, machine = instance_of(module), module.session.architecture
    if len(task.declaration.parameters) > MAX_DATA_ARGUMENTS:
        fail("type-mismatch", "a data task has at most two parameters", site.argument_spans[0])
    instance.requests.append(lambda: _check_halves(task, site.argument_spans[0]))
    if machine.data_task_key is DataTaskKey.COLOR:
        check_reserved_color(module.session.options, number, site.argument_spans[1])
        _check_shared_id(instance, TaskKind.LOCAL, number, site.span)
    else:
        instance.requests.append(lambda: _check_data_task(instance, number, site.span))
    instance.tasks.bind(Binding(TaskKind.DATA, number, task, site.span))
    return VOID_VALUE


def _check_halves(task: FunctionValue, span: Span) -> None:
    """Fail if two parameters do not share the 32 bits of a wavelet equally."""
    types = task.module.function_type(task.declaration).parameters
    known = [p for p in types if p is not None and t.fits_wavelet(p)]
    if len(known) == MAX_DATA_ARGUMENTS and any(t.num_bytes(p) != _ARGUMENT_BYTES for p in known):
        fail(
            "type-mismatch",
            "two parameters of a data task have 16 bits each: the halves of a wavelet",
            span,
            help="write `task name(data: u16, index: u16) void { … }`, or one parameter of 32 bits",
        )


@comptime_builtin("bind_control_task", 2, context=Where.PROGRAM)
def bind_control_task(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Bind a task to the control wavelets that name its id."""
    task = task_of(args[0], site.argument_spans[0])
    number = number_of_id(args[1], t.CONTROL_TASK_ID, site.argument_spans[1])
    check_reserved_control_task(module.session.options, number, site.argument_spans[1])
    instance = instance_of(module)
    instance.requests.append(lambda: check_control_parameters(task, site.argument_spans[0]))
    instance.tasks.bind(Binding(TaskKind.CONTROL, number, task, site.span))
    return VOID_VALUE


def check_control_parameters(task: FunctionValue, span: Span) -> None:
    """Fail unless a task can take what a control wavelet carries.

    The analysis of the task reports types that fit no wavelet.
    """
    types = task.module.function_type(task.declaration).parameters
    known = [p for p in types if p is not None]
    is_told = not all(map(t.fits_wavelet, known))
    if not is_told and (len(types) > 1 or any(t.num_bytes(p) != _ARGUMENT_BYTES for p in known)):
        fail(
            "type-mismatch",
            "a control task has no parameter, or one of 16 bits",
            span,
            help="declare it as `task name(data: u16) void { … }`",
        )


def _check_data_task(instance: Instance, number: int, span: Span) -> None:
    """Warn about a data task that no wavelet starts: programs may bind tasks for other PEs, too."""
    if (True, number) not in instance.queues:
        note = "it is left out: a color that the queue gets only while the program runs starts none"
        finding = replace(_unfed(number, span), severity=Severity.WARNING, notes=(note,))
        instance.report(Fault(finding))
        del instance.tasks.bindings[TaskKind.DATA, number]


def check_input_queue(instance: Instance, number: int, span: Span) -> None:
    """Fail if a data task is bound to an input queue that serves no color."""
    if (True, number) not in instance.queues:
        raise Fault(_unfed(number, span))


def _unfed(number: int, span: Span) -> Diagnostic:
    return Diagnostic(
        "queue-not-initialized",
        f"the data task is bound to input queue {number}, which serves no color",
        Annotation(span),
        help="add `@initialize_queue(queue, .{ .color = … });` to a `comptime` block",
    )


@comptime_builtin("activate", 1, context=Where.PROGRAM)
def activate(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Make a task runnable at start-up."""
    instance, span = instance_of(module), site.argument_spans[0]

    def resolve() -> None:
        instance.tasks.active[instance.tasks.local_task(args[0], span)] = span

    instance.requests.append(resolve)
    return VOID_VALUE


@comptime_builtin("block", 1, context=Where.PROGRAM)
def block(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Block a task or channel at start-up."""
    instance, span = instance_of(module), site.argument_spans[0]

    def resolve() -> None:
        instance.tasks.blocked[instance.tasks.channel_of(args[0], span)] = None

    instance.requests.append(resolve)
    return VOID_VALUE


@comptime_builtin("unblock", 1, context=Where.PROGRAM)
def unblock(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Undo a block at start-up; only channels without a data task start blocked."""
    instance, span = instance_of(module), site.argument_spans[0]

    def resolve() -> None:
        number = instance.tasks.channel_of(args[0], span)
        instance.tasks.blocked.pop(number, None)
        instance.tasks.unblocked[number] = None

    instance.requests.append(resolve)
    return VOID_VALUE


@comptime_builtin("initialize_queue", 1, 2, context=Where.PROGRAM)
def initialize_queue(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Attach a queue to a color."""
    queue, span = args[0], site.argument_spans[0]
    instance, machine = instance_of(module), module.session.architecture
    is_input = is_input_queue(queue, span)
    if not isinstance(queue, Scalar):
        conversions.mismatch(queue, t.INPUT_QUEUE, span, "a queue")
    number = int(force(queue, "queue", span))
    check_reserved_queue(module.session.options, number, is_input=is_input, span=span)
    earlier = instance.queues.get((is_input, number))
    if earlier is not None:
        fail(
            "duplicate-queue",
            f"{queue.type} {number} is initialised twice",
            site.span,
            secondary=(Annotation(earlier[1], "initialised here first"),),
        )
    fields = _queue_config(site, args, is_required=machine.queues_need_initialization)
    if "ctrl_table_id" in fields:
        table, where = fields["ctrl_table_id"], site.argument_spans[1]
        _set_table(instance, table, number if is_input else None, where)
    if "color" in fields:
        color = color_number(fields["color"], site.argument_spans[1])
        check_reserved_color(module.session.options, color, site.argument_spans[1])
        instance.queues[is_input, number] = (color, site.span)
    return VOID_VALUE


def is_input_queue(value: Value, span: Span) -> bool:
    """Tell whether a queue is an input queue; fail if the value is no queue."""
    type_ = type_of(value)
    if type_ not in (t.INPUT_QUEUE, t.OUTPUT_QUEUE):
        fail(
            "type-mismatch",
            f"a queue is expected, this is of type `{type_}`",
            span,
            help="name one: `@get_input_queue(n)` or `@get_output_queue(n)`",
        )
    return type_ is t.INPUT_QUEUE


def _queue_config(site: Site, args: Sequence[Value], *, is_required: bool) -> Mapping[str, Value]:
    """Return the configuration of a queue."""
    if len(args) == 1:
        if is_required:
            fail(
                "missing-field",
                "`@initialize_queue` needs a color on this architecture",
                site.span,
                help="write `@initialize_queue(queue, .{ .color = … });`",
            )
        return {}
    span = site.argument_spans[1]
    fields = read_fields(
        args[1],
        "the configuration of a queue",
        span,
        known=("color", "priority", "ctrl_table_id"),
        required=("color",) if is_required else (),
    )
    if is_required and "priority" in fields:
        fail(
            "unsupported-on-architecture",
            "queues have no priority on this architecture",
            span,
            help="write `.priority` in the fabin_dsd",
        )
    read_priority(fields, span)
    return fields


def _set_table(instance: Instance, value: Value, queue: int | None, span: Span) -> None:
    """Note the control task table of an input queue."""
    machine = instance.session.architecture
    table = conversions.forced_integer(value, span, "`.ctrl_table_id`")
    if queue is None or not machine.has_control_table:
        fail(
            "unsupported-on-architecture",
            f"output queues of {machine.name} start no control tasks"
            if queue is None
            else f"queues of {machine.name} have no control tasks of their own",
            span,
            help="leave `.ctrl_table_id` out",
        )
    if table < 0:
        fail("value-out-of-range", f"there is no table {table} of control tasks", span)
    instance.control_tables.ids[queue] = table
    instance.requests.append(lambda: _check_offset(instance, queue, span))


def _check_offset(instance: Instance, queue: int, span: Span) -> None:
    """Fail if the control tasks of a queue exceed the table."""
    offset, stride = instance.control_tables.offset(queue), instance.control_tables.stride
    most = instance.session.architecture.num_control_task_ids
    if offset >= most:
        fail(
            "value-out-of-range",
            f"the control tasks of input queue {queue} begin at {offset}, and there are {most}",
            span,
            help=f"`.ctrl_table_id` is at most {(most - 1) // stride} with a stride of {stride}",
        )


@comptime_builtin("export_symbol", 1, 2, context=Where.PROGRAM, operands=(0,))
def export_symbol(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Bind a variable, pointer or function to a name that the host may use."""
    instance, target = instance_of(module), args[0]
    if len(args) > 1:
        name = text(args[1], site.argument_spans[1], "the name")
    else:
        match site.node.arguments[0]:
            case ast.Name(name=name) | ast.Member(name=name):
                pass
            case _:
                fail(
                    "wrong-argument-count",
                    "this symbol needs a name",
                    site.span,
                    help='write `@export_symbol(symbol, "name");`',
                )
    if isinstance(target, Struct) and isinstance(target.address, Pointer):
        rules.check_width_for_host(type_of(target), site.argument_spans[0])
        target = target.address
    if isinstance(target, Scalar) and t.scalar_type(target.type) is not None:
        target = _constant(site, module, target, name)
    if not isinstance(target, FunctionValue | Variable | Pointer):
        fail(
            "type-mismatch",
            "a variable, pointer, function or constant number is exported, this is of type "
            f"`{type_of(target)}`",
            site.argument_spans[0],
            help="declare it with `var`; a constant needs a type that run time has: "
            "`const n: u16 = …;`",
        )
    if isinstance(target, Variable):
        rules.check_width_for_host(target.type, site.argument_spans[0])
    if name in instance.exports:
        fail(
            "duplicate-declaration",
            f'the symbol "{name}" is exported twice',
            site.span,
            secondary=(Annotation(instance.exports[name][1], "exported here first"),),
        )
    if isinstance(target, Variable) and isinstance(target.type, t.PointerType):
        _check_pointer(module.session, name, target.type, site.span)
    instance.exports[name] = (target, site.span)
    return VOID_VALUE


def _constant(site: Site, module: Module, value: Scalar, name: str) -> Variable:
    """Return a place in memory for a constant number, which the host may only read."""
    span, layout = site.argument_spans[0], module.session.layout
    export = layout.exports.get(name) if layout is not None else None
    if layout is not None and export is not None and export.is_mutable:
        fail(
            "export-mismatch",
            f"`{name}` is declared mutable, and is a constant: the program would never read what "
            "the host writes",
            span,
            secondary=(Annotation(layout.export_spans[name], "declared here"),),
            help="write `false` in `@export_name`, or declare it with `var`",
        )
    match site.node.arguments[0]:
        case ast.Name(name=own) | ast.Member(name=own):
            symbol = module.qualify(own)
        case _:
            symbol = module.qualify(name)
    return Variable(symbol, value.type, value, span, is_const=True)


def _check_pointer(session: Session, name: str, type_: t.PointerType, span: Span) -> None:
    """Fail if the layout declares other elements than a pointer's target has."""
    layout = session.layout
    export = layout.exports.get(name) if layout is not None else None
    pointee = type_.pointee.element if isinstance(type_.pointee, t.ArrayType) else type_.pointee
    element = t.host_type(pointee)
    if layout is None or export is None or export.element is None or element is None:
        return
    if export.element is element:
        return
    declared = layout.export_spans.get(name)
    fail(
        "export-mismatch",
        f"`{name}` is declared with elements of `{export.element.name.lower()}`, "
        f"and the symbol is a `{type_}`",
        span,
        secondary=(Annotation(declared, "declared here"),) if declared is not None else (),
        help="give `@export_name` the type of the symbol",
    )


@comptime_builtin("stream_color", 2, context=Where.PROGRAM, is_internal=True)
def stream_color(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Let the host send (true) or receive (false) a color at the PEs that run this program."""
    color = color_number(args[0], site.argument_spans[0])
    is_sent = bool(conversions.forced_integer(args[1], site.argument_spans[1], "the side"))
    check_reserved_color(module.session.options, color, site.argument_spans[0])
    config = _FROM_HOST if is_sent else _TO_HOST
    earlier = instance_of(module).colors.streams.setdefault(color, (config, site.span))
    if earlier[0] is not config:
        fail(
            "duplicate-color-config",
            f"color {color} is both a `MEMCPYH2D` and a `MEMCPYD2H` color",
            site.span,
            help="give each direction a color of its own",
        )
    return VOID_VALUE


@comptime_builtin("get_filter_id", 1)
def get_filter_id(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the number of a color's filter, which is that of the color."""
    color, span = color_number(args[0], site.argument_spans[0]), site.span
    instance = find_instance(module)
    if instance is None:
        fail(
            "wrong-context",
            "`@get_filter_id` cannot be used in the layout",
            span,
            help="call it in the program of the PE whose color has the filter",
        )
    instance.colors.filter_users.setdefault(color, span)
    return Scalar(t.U16, color)


@comptime_builtin("set_teardown_handler", 2, context=Where.PROGRAM)
def set_teardown_handler(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Set the function that runs when a color is torn down."""
    instance, function = instance_of(module), args[0]
    color = color_number(args[1], site.argument_spans[1])
    check_reserved_color(module.session.options, color, site.argument_spans[1])
    check_handler(function, site)
    earlier = instance.teardown_handlers.get(color)
    if earlier is not None:
        fail(
            "duplicate-handler",
            f"color {color} has the teardown handler `{earlier[0].declaration.name}` already",
            site.span,
            secondary=(Annotation(earlier[1], "set here"),),
            help="let one function do both",
        )
    assert isinstance(function, FunctionValue)
    instance.teardown_handlers[color] = function, site.span
    return VOID_VALUE


def check_handler(value: Value, site: Site) -> None:
    """Fail unless the first argument is a function without parameters and result."""
    span = site.argument_spans[0]
    form = "declare it as `fn name() void { … }`"
    if not isinstance(value, FunctionValue) or value.declaration.is_task:
        what = "a task" if isinstance(value, FunctionValue) else f"of type `{type_of(value)}`"
        fail("type-mismatch", f"a handler is a function, this is {what}", span, help=form)
    type_ = value.module.function_type(value.declaration)
    if type_.parameters or type_.result is not t.VOID:
        name = value.declaration.name
        fail(
            "type-mismatch",
            f"`{name}` cannot be a handler: one takes nothing and returns nothing",
            span,
            secondary=(Annotation(value.declaration.name_span, "declared here"),),
            help=form,
        )


@comptime_builtin("rpc", 1, context=Where.PROGRAM)
def rpc(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Bind the host's commands to a data task; memcpy does so by default."""
    number = number_of_id(args[0], t.DATA_TASK_ID, site.argument_spans[0])
    instance = instance_of(module)

    def check() -> None:
        if number not in instance.colors.commands:
            fail(
                "unsupported-feature",
                f"`@rpc` takes calls at data task {number}, which is not that of memcpy's `LAUNCH`",
                site.span,
                help="no public text says how such calls are sent: export the functions, and let "
                "the host launch them by memcpy",
            )

    instance.requests.append(check)
    return VOID_VALUE


@comptime_builtin("command_color", 1, context=Where.PROGRAM, is_internal=True)
def command_color(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Note the color for host commands that older programs give to memcpy."""
    instance_of(module).colors.commands.add(color_number(args[0], site.argument_spans[0]))
    return VOID_VALUE


@comptime_builtin("set_local_color_config", 2, context=Where.PROGRAM)
def set_local_color_config(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Configure one color at the PEs that run this program."""
    color = color_number(args[0], site.argument_spans[0])
    config = force_all(args[1], "the configuration of a color", site.argument_spans[1])
    instance_of(module).colors.local.append(LocalColor(color, config, site.span))
    return VOID_VALUE
