"""`@bind_rotating_tasks` and `@set_control_task_table`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.program import (
    check_control_parameters,
    check_input_queue,
    number_of_id,
    task_of,
)
from onewafer.csl.sema.builtins.undefined import warn_of_undefined
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin
from onewafer.csl.sema.instance.state import Binding
from onewafer.csl.sema.modules.instance_context import instance_of
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import VOID_VALUE, Value, conversions
from onewafer.csl.sema.values.structs import read_fields
from onewafer.diagnostics import Annotation
from onewafer.image import MAX_ROTATION_LIMIT, Rotation, TaskKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.session import Session
    from onewafer.csl.sema.values import FunctionValue, Module
    from onewafer.diagnostics import Span

_ALTERNATE = 0
"""Control task id of the alternate task (SDK)."""
_INSTRUCTIONS, _STRIDES = (2, 4, 8), range(1, 8)


@comptime_builtin("bind_rotating_tasks", 4, context=Where.PROGRAM)
def bind_rotating_tasks(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Bind a data task, and a control task that periodically starts instead of it."""
    spans, instance = site.argument_spans, instance_of(module)
    machine = module.session.architecture
    if not machine.num_rotations:
        fail(
            "unsupported-on-architecture",
            f"the tasks of {machine.name} do not rotate",
            site.span,
            help="count the wavelets in the data task",
        )
    main, alternate = task_of(args[0], spans[0]), task_of(args[1], spans[1])
    number = number_of_id(args[2], t.DATA_TASK_ID, spans[2])
    limit, initial = _counts(args[3], spans[3])
    if len(instance.rotations) == machine.num_rotations:
        fail(
            "unsupported-on-architecture",
            f"{machine.num_rotations} pairs of tasks can rotate on {machine.name}",
            site.span,
            secondary=tuple(Annotation(span, "a pair") for _, span in instance.rotations),
            help="count the wavelets of the other data task in the task itself",
        )
    instance.requests.append(lambda: check_input_queue(instance, number, site.span))
    instance.requests.append(lambda: check_control_parameters(alternate, spans[1]))
    instance.tasks.bind(Binding(TaskKind.DATA, number, main, site.span))
    pair = len(instance.rotations)
    instance.rotations.append((Rotation(number, _ALTERNATE, limit, initial), site.span))
    instance.late_bindings.append(lambda: _bind_alternate(instance, pair, alternate))
    warn_of_undefined(
        instance,
        "a pair of rotating tasks",
        site.span,
        "whether the second task takes the wavelet in whose place it starts: here it does, and its "
        "parameter has the low 16 bits",
        "count the wavelets in a data task: `@bind_data_task`",
    )
    return VOID_VALUE


def _bind_alternate(instance: Instance, pair: int, task: FunctionValue) -> None:
    """Bind the alternate task, once the table of its queue is known."""
    rotation, span = instance.rotations[pair]
    entry = _ALTERNATE + instance.control_tables.offset(rotation.task_id)
    earlier = instance.tasks.bindings.get((TaskKind.CONTROL, entry))
    if earlier is not None:
        fail(
            "duplicate-task-binding",
            f"control task id {entry} is bound to `{earlier.task.declaration.name}` already",
            span,
            secondary=(Annotation(earlier.span, "bound here"),),
            help="give the input queue a table of its own: `.ctrl_table_id = 1` in "
            "`@initialize_queue`",
        )
    instance.tasks.bind(Binding(TaskKind.CONTROL, entry, task, span))
    instance.rotations[pair] = replace(rotation, alternate=entry), span


def _counts(value: Value, span: Span) -> tuple[int, int]:
    """Return the limit of a rotation and the initial value of its counter."""
    what = "the configuration of rotating tasks"
    fields = read_fields(value, what, span, known=("limit", "init"), required=("limit",))
    limit = conversions.forced_integer(fields["limit"], span, "`.limit`")
    initial = 0
    if "init" in fields:
        initial = conversions.forced_integer(fields["init"], span, "`.init`")
    if not 0 <= limit <= MAX_ROTATION_LIMIT:
        fail(
            "value-out-of-range",
            f"`.limit` is a count of starts, 0 to {MAX_ROTATION_LIMIT:,}, and not {limit:,}",
            span,
        )
    if not 0 <= initial <= limit:
        fail(
            "value-out-of-range",
            f"`.init` is between 0 and `.limit`, which is {limit}, and not {initial}",
            span,
        )
    return limit, initial


@comptime_builtin("set_control_task_table", 0, 1, context=Where.PROGRAM)
def set_control_task_table(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Declare a separate table of control tasks, as the simulated machine always has."""
    instance = instance_of(module)
    _check_table_exists(site, module.session)
    if instance.control_tables.span is not None:
        fail(
            "duplicate-handler",
            "the table of control tasks is set twice",
            site.span,
            secondary=(Annotation(instance.control_tables.span, "set here first"),),
            help="leave one of them out",
        )
    instance.control_tables.span = site.span
    if args:
        span = site.argument_spans[0]
        known = ("instructions", "stride")
        fields = read_fields(args[0], "the table of control tasks", span, known=known)
        if "instructions" in fields:
            _number(fields["instructions"], "instructions", _INSTRUCTIONS, span)
        if "stride" in fields:
            instance.control_tables.stride = _number(fields["stride"], "stride", _STRIDES, span)
    return VOID_VALUE


def _check_table_exists(site: Site, session: Session) -> None:
    machine = session.architecture
    if not machine.has_control_table:
        fail(
            "unsupported-on-architecture",
            f"control tasks of {machine.name} have no table of their own",
            site.span,
            help=f'use `@{site.name}` under `if (@is_arch("wse3"))`',
        )


def _number(value: Value, name: str, legal: Sequence[int], span: Span) -> int:
    """Return a number of the table, or fail."""
    number = conversions.forced_integer(value, span, f"`.{name}`")
    if number not in legal:
        *others, last = map(str, legal)
        fail(
            "value-out-of-range",
            f"`.{name}` is {', '.join(others)} or {last}, this is {number}",
            span,
        )
    return number
