"""Run-time builtins besides DSD operations: conversions, tasks, assertions, internal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.arch import DataTaskKey
from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.ids import int_of
from onewafer.csl.sema.builtins.values import (
    RANGE_PARTS,
    check_pointees,
    pointer_type,
    range_bounds,
    range_part,
    string_of,
    text,
)
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance import narrow
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.modules.instance_context import find_instance
from onewafer.csl.sema.runtime import order, wide
from onewafer.csl.sema.runtime.expressions import member
from onewafer.csl.sema.runtime.task_ids import BLOCKED_IDS, to_one_of
from onewafer.csl.sema.values import (
    VOID_VALUE,
    Array,
    Range,
    Runtime,
    Scalar,
    TypeValue,
    Value,
    boolean,
    conversions,
    halves,
    type_of,
)
from onewafer.image import TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module


@runtime_builtin("as", 2)
def as_(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Convert a run-time number."""
    type_, value = rules.expect_type(args[0], site.argument_spans[0]), args[1]
    source = type_of(value)
    if source == type_:
        return value
    conversions.check_convertible(source, type_, site.span)
    halves.refuse_other(type_, a.half, site.span)
    held, target = t.register_type(source), t.register_type(type_)
    if held is None or target is None:
        narrow.too_wide(type_ if target is None else source, site.span)
    expression = wide.converted(a, held, target, a.expression(value, site.span), site.span)
    if conversions.widens(source, type_):
        return Runtime(type_, expression)
    return Runtime(type_, narrow.wrapped(type_, expression))


@runtime_builtin("bitcast", 2)
def bitcast(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Reinterpret the bits of a run-time value."""
    type_, value = rules.expect_type(args[0], site.argument_spans[0]), args[1]
    source, span = type_of(value), site.span
    if isinstance(type_, t.PointerType) and not isinstance(source, t.PointerType):
        if not a.module.code.is_library:
            a.instance.reaches_registers = True
        return Runtime(type_, a.sized(value, t.U16, site.argument_spans[1], "the address"))
    held, target = a.ir_type(source, span), a.ir_type(type_, span)
    if (
        isinstance(held, ir.DsdType)
        or isinstance(target, ir.DsdType)
        or t.num_bits(source) != t.num_bits(type_)
    ):
        fail(
            "type-mismatch",
            f"`@bitcast` needs types of one size, these are `{source}` and `{type_}`",
            span,
        )
    expression = a.expression(value, span)
    return Runtime(type_, narrow.reinterpreted(source, type_, expression))


@runtime_builtin("ptrcast", 2)
def ptrcast(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Change the type of a run-time pointer."""
    type_ = pointer_type(args[0], site.argument_spans[0])
    source = type_of(args[1])
    if not isinstance(source, t.PointerType):
        conversions.mismatch(args[1], type_, site.argument_spans[1], "a pointer")
    check_pointees(source, type_, site.span)
    return Runtime(type_, a.expression(args[1], site.argument_spans[1]))


@runtime_builtin("get_int", 1)
def get_int(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the number of a run-time id or enum value."""
    source = type_of(args[0])
    match source:
        case t.EnumType(base):
            return Runtime(base, a.expression(args[0], site.span))
        case _ if source in t.IDS or source is t.DIRECTION:
            return Runtime(t.U16, a.expression(args[0], site.span))
        case t.IntegerType():
            return args[0]
        case _:
            fail("type-mismatch", f"`@get_int` takes an id, this is a `{source}`", site.span)


@runtime_builtin("range", 2, 4)
def range_(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a range with run-time bounds."""
    type_, start, stop, step = range_bounds(site, args)
    if type_ is t.COMPTIME_INT:
        fail(
            "not-comptime",
            "a range over `comptime_int` has known bounds",
            site.span,
            help="write `@range(u16, …)`",
        )
    span = site.span
    return Range(type_, a.coerce(start, type_, span), a.coerce(stop, type_, span), step)


@runtime_builtin("constants", 2)
def constants(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return an array filled with a run-time value."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    span = site.argument_spans[1]
    if not isinstance(type_, t.ArrayType):
        return a.coerce(args[1], type_, span)
    element = a.coerce(args[1], type_.element, span, "the element")
    return Array(type_, [order.settled(a, "constant", element, span)] * type_.num_elements)


@runtime_builtin("type_of", 1, operands=(0,))
def type_of_(_site: Site, _a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the type of a run-time value."""
    return TypeValue(type_of(args[0]))


@runtime_builtin("has_field", 2, operands=(0,))
def has_field(site: Site, _a: Analyzer, args: Sequence[Value]) -> Value:
    """Tell whether a run-time struct has a field."""
    name = text(args[1], site.argument_spans[1], "the name")
    match type_of(args[0]):
        case t.StructType(names) | t.PackedType(names):
            return boolean(name in (names or ()))
        case _:
            return boolean(0)


@runtime_builtin("field", 2)
def field(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a field of a run-time struct."""
    name = text(args[1], site.argument_spans[1], "the name")
    return member(a, args[0], name, site.span)


@runtime_builtin("is_comptime", 0, 1, operands=(0,))
def is_comptime_(_site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Tell whether code is evaluated at compile time; a run-time value is not."""
    return boolean(not args and a.comptime_depth > 0)


@runtime_builtin("get_data_task_id", 1)
def get_data_task_id(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the data task id of a run-time color or queue; both have the same number."""
    by_color = a.session.architecture.data_task_key is DataTaskKey.COLOR
    wanted = t.COLOR if by_color else t.INPUT_QUEUE
    if type_of(args[0]) is not wanted:
        conversions.mismatch(args[0], wanted, site.argument_spans[0], "the channel of a data task")
    return Runtime(t.DATA_TASK_ID, a.expression(args[0], site.argument_spans[0]))


def _register_id(name: str, type_: t.Type) -> None:
    @runtime_builtin(name, 1)
    def id_of(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
        span = site.argument_spans[0]
        return Runtime(type_, a.sized(args[0], t.U16, span, "the number"))

    assert id_of is not None


for _name, _type in (
    ("get_color", t.COLOR),
    ("get_local_task_id", t.LOCAL_TASK_ID),
    ("get_control_task_id", t.CONTROL_TASK_ID),
    ("get_ut_id", t.UT_ID),
):
    _register_id(_name, _type)


def _register_range_part(name: str) -> None:
    @runtime_builtin(name, 1)
    def part(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
        return range_part(site, [order.called(a, "part", args[0], site.span)])

    assert part is not None


for _name in RANGE_PARTS:
    _register_range_part(_name)


@runtime_builtin("assert", 1, 2)
def assert_(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Stop the simulation unless a condition holds."""
    condition = a.sized(args[0], t.BOOL, site.argument_spans[0], "the condition")
    written = site.argument_spans[0]
    shown = " ".join(written.source.text[written.start : written.end].split())
    message = f"assertion failed: {shown}"
    if len(args) > 1:
        message += f": {text(args[1], site.argument_spans[1], 'the message')}"
    a.emit(ir.Trap(condition, message, site.span))
    return VOID_VALUE


@runtime_builtin("activate", 1)
def activate(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Make a local task ready."""
    value = args[0]
    if isinstance(value, Runtime) and value.type is t.LOCAL_TASK_ID:
        _emit_for_task(site, a, value, lambda task_id: ir.Activate(task_id, site.span))
        return VOID_VALUE
    number = a.instance.tasks.local_task(value, site.argument_spans[0])
    a.emit(ir.Activate(number, site.span))
    return VOID_VALUE


def _emit_for_task(
    site: Site, a: Analyzer, value: Runtime, effect: Callable[[int], ir.Statement]
) -> None:
    """Emit an effect on a task with a run-time id."""
    for statement in to_one_of(a, value, f"`@{site.name}`", site.span, lambda n: (effect(n),)):
        a.emit(statement)


@runtime_builtin("block", 1)
def block(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Block a task or channel."""
    _set_blocked(site, a, args[0], is_blocked=True)
    return VOID_VALUE


@runtime_builtin("unblock", 1)
def unblock(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Unblock a task or channel."""
    _set_blocked(site, a, args[0], is_blocked=False)
    return VOID_VALUE


def _set_blocked(site: Site, a: Analyzer, value: Value, *, is_blocked: bool) -> None:
    def effect(target: int) -> ir.Statement:
        return ir.SetBlocked(target, is_blocked=is_blocked, span=site.span)

    span = site.argument_spans[0]
    if isinstance(value, Runtime) and value.type in BLOCKED_IDS:
        type_ = value.type
        a.instance.tasks.channel_of(Scalar(type_, 0), span)  # or fail: the machine has others
        _emit_for_task(
            site, a, value, lambda n: effect(a.instance.tasks.channel_of(Scalar(type_, n), span))
        )
    else:
        a.emit(effect(a.instance.tasks.channel_of(value, span)))


# --- what only our own library modules may use ---------------------------------------------------


@runtime_builtin("unblock_command_stream", 0, is_internal=True)
def unblock_command_stream(site: Site, a: Analyzer, _args: Sequence[Value]) -> Value:
    """Accept the next host command."""
    a.emit(ir.UnblockCommandStream(site.span))
    return VOID_VALUE


@runtime_builtin("pe_coordinate", 1, is_internal=True)
def pe_coordinate(site: Site, _a: Analyzer, args: Sequence[Value]) -> Value:
    """Return x (0) or y (1) of this PE."""
    axis = conversions.forced_integer(args[0], site.argument_spans[0], "the axis")
    return Runtime(t.U16, ir.Coordinate(axis))


@comptime_builtin("place_in_rectangle", 1, is_internal=True)
def place_in_rectangle(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return x (0) or y (1) of the PE for which a program is compiled."""
    axis = conversions.forced_integer(args[0], site.argument_spans[0], "the axis")
    instance = find_instance(module)
    if instance is None:
        return VOID_VALUE
    instance.has_read_program = True
    return instance.coordinates[axis]


@runtime_builtin("has_data_task", 1, is_internal=True)
def has_data_task(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Tell whether the program binds a data task to an input queue of the WSE-3."""
    queue = conversions.forced_integer(int_of(args[0], site.span), site.span, "the queue")
    return boolean((TaskKind.DATA, queue) in a.instance.tasks.bindings)


@runtime_builtin("timestamp", 1, is_internal=True)
def timestamp(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Store the cycle counter."""
    a.emit(ir.Timestamp(a.expression(args[0], site.argument_spans[0]), span=site.span))
    return VOID_VALUE


@runtime_builtin("cycle_since_loading", 1, is_internal=True)
def cycle_since_loading(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Store the cycle, which is the same on all PEs."""
    address = a.expression(args[0], site.argument_spans[0])
    a.emit(ir.Timestamp(address, since_loading=True, span=site.span))
    return VOID_VALUE


@runtime_builtin("string_address", 1, is_internal=True)
def string_address(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the address of the bytes of a string with a NUL at the end."""
    string = string_of(args[0], site.argument_spans[0], "the argument")
    pointer = a.instance.string_address(string.octets, site.span)
    return Runtime(t.U16, a.expression(pointer, site.span))


@runtime_builtin("timestamp_control", 1, is_internal=True)
def timestamp_control(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Stop (0), reset and start (1) or reset (2) the cycle counter."""
    mode = conversions.forced_integer(args[0], site.argument_spans[0], "the mode")
    a.emit(ir.TimestampControl(mode, site.span))
    return VOID_VALUE
