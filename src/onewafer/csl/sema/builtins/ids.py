"""Builtins that make ids from numbers, and numbers from ids: colors, tasks, queues, registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin
from onewafer.csl.sema.values import Dsr, Scalar, Value, conversions, type_of
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


def _id(site: Site, value: Value, type_: t.Type, numbers: range, what: str) -> Scalar:
    return _id_at(value, type_, numbers, what, site.argument_spans[-1])


def _id_at(
    value: Value, type_: t.Type, numbers: range, what: str, span: Span, *, told: str = ""
) -> Scalar:
    number = conversions.integer(value, span, f"the number of {what}")
    if not conversions.decide(number, lambda n: n in numbers, f"{what} exists", span):
        told = told or f"from {numbers.start} to {numbers.stop - 1}"
        fail(
            "id-out-of-range",
            f"{what} has a number {told}, not {number.value}",
            span,
        )
    if number.taint is not None:
        number = conversions.coerce_scalar(number, t.U16, span)
    return Scalar(type_, number.value, number.taint)


def color_of(value: Value, num_colors: int, span: Span) -> Scalar:
    """Return the color of a number, or fail."""
    return _id_at(value, t.COLOR, range(num_colors), "a color", span)


NUM_PLACEHOLDERS: Final = 64
"""Numbers that `@get_color` took in SDK 1.1 and before, when ids of tasks were colors."""


@comptime_builtin("get_color", 1)
def get_color(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the color of a number; others become placeholders, as in older SDKs."""
    num_colors, span = module.session.architecture.num_colors, site.argument_spans[0]
    told = f"from 0 to {num_colors - 1} (up to {NUM_PLACEHOLDERS - 1} for no color)"
    color = _id_at(args[0], t.COLOR, range(NUM_PLACEHOLDERS), "a color", span, told=told)
    if not conversions.decide(color, lambda n: n < num_colors, "a color exists", span):
        module.session.sink.report(
            Diagnostic(
                "id-out-of-range",
                f"routers have colors 0 to {num_colors - 1}: {color.value} stands for no color",
                Annotation(span),
                help="give a param that may be absent the value `{}`",
                severity=Severity.WARNING,
            )
        )
    return color


@comptime_builtin("get_local_task_id", 1)
def get_local_task_id(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the local task id of a number."""
    machine = module.session.architecture
    numbers = range(machine.first_local_task_id, machine.last_local_task_id + 1)
    return _id(site, args[0], t.LOCAL_TASK_ID, numbers, f"a local task id of {machine.name}")


@comptime_builtin("get_data_task_id", 1)
def get_data_task_id(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the data task id of a color (WSE-2) or of an input queue (WSE-3)."""
    machine, value = module.session.architecture, args[0]
    wanted = t.INPUT_QUEUE if machine.data_task_key.value == "input_queue" else t.COLOR
    if type(value) is not Scalar or value.type is not wanted:
        fail(
            "type-mismatch",
            f"on {machine.name} a data task id is made from a `{wanted}`, "
            f"this is of type `{type_of(value)}`",
            site.argument_spans[0],
            help='choose with `if (@is_arch("wse2")) … else …`',
        )
    return Scalar(t.DATA_TASK_ID, value.value, value.taint)


@comptime_builtin("get_control_task_id", 1)
def get_control_task_id(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the control task id of a number."""
    numbers = range(module.session.architecture.num_control_task_ids)
    return _id(site, args[0], t.CONTROL_TASK_ID, numbers, "a control task id")


@comptime_builtin("get_input_queue", 1)
def get_input_queue(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the input queue of a number."""
    machine = module.session.architecture
    numbers = range(len(machine.input_queue_words))
    return _id(site, args[0], t.INPUT_QUEUE, numbers, f"an input queue of {machine.name}")


@comptime_builtin("get_output_queue", 1)
def get_output_queue(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the output queue of a number."""
    machine = module.session.architecture
    numbers = range(len(machine.output_queue_words))
    return _id(site, args[0], t.OUTPUT_QUEUE, numbers, f"an output queue of {machine.name}")


@comptime_builtin("get_ut_id", 1)
def get_ut_id(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the microthread of a number (machines that let the program choose it)."""
    machine = module.session.architecture
    if not machine.names_microthreads:
        fail(
            "unsupported-on-architecture",
            f"on {machine.name} the queues choose the microthread",
            site.span,
            help='use it under `if (@is_arch("wse3"))`',
        )
    return _id(site, args[0], t.UT_ID, range(machine.num_microthreads), "a microthread")


@comptime_builtin("get_dsr", 2)
def get_dsr(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return a data structure register."""
    kind = rules.expect_type(args[0], site.argument_spans[0])
    if kind not in t.DSRS:
        fail(
            "type-mismatch",
            f"`@get_dsr` takes dsr_dest, dsr_src0 or dsr_src1, not `{kind}`",
            site.argument_spans[0],
        )
    assert isinstance(kind, t.SimpleType)
    if isinstance(args[1], Dsr) and args[1].type is t.FIFO_DSRS.get(kind):
        return Dsr(kind, args[1].index)
    number = _id(site, args[1], t.U16, range(module.session.architecture.num_dsrs), "a DSR")
    return Dsr(kind, conversions.forced_integer(number, site.span, "DSR"))


@comptime_builtin("get_xdsr", 1)
def get_xdsr(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return an extended register."""
    return _extended(site, module, args[0], t.XDSR, "an extended DSR")


@comptime_builtin("get_sr", 1)
def get_sr(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return a stride register."""
    return _extended(site, module, args[0], t.SR, "a stride register")


def _extended(site: Site, module: Module, value: Value, kind: t.SimpleType, what: str) -> Dsr:
    """Return a register beside the DSRs; as many as DSRs are assumed (not published)."""
    number = _id(site, value, t.U16, range(module.session.architecture.num_dsrs), what)
    return Dsr(kind, conversions.forced_integer(number, site.span, "register"))


@comptime_builtin("get_int", 1)
def get_int(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the number of an id or enum value."""
    return int_of(args[0], site.argument_spans[0])


def int_of(value: Value, span: Span) -> Scalar:
    """Return the number of a comptime id, direction or enum value."""
    match value:
        case Scalar(t.EnumType(base), number, taint):
            return Scalar(base, number, taint)
        case Scalar(type_, number, taint) if type_ in t.IDS or type_ is t.DIRECTION:
            return Scalar(t.U16, number, taint)
        case Scalar(type_) if t.is_integer(type_):
            return value
        case Dsr(_, index):
            return Scalar(t.U16, index)
        case _:
            fail("type-mismatch", f"`@get_int` takes an id, this is a `{type_of(value)}`", span)
