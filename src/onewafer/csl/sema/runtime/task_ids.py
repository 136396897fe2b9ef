"""Run-time ids of tasks, channels and microthreads.

Instructions hold such ids as constants, so the id is compared with each one that it may be, and
each has an instruction of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.arch import DataTaskKey
from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Runtime, Scalar, Struct, Value
from onewafer.image import Opcode, ScalarType, TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.diagnostics import Span

Statements = tuple[ir.Statement, ...]
BLOCKED_IDS: Final = (t.LOCAL_TASK_ID, t.DATA_TASK_ID, t.COLOR, t.INPUT_QUEUE, t.UT_ID)
"""Types of the ids that `@block`, `@unblock` and `.unblock` may take."""
_WANTED: Final = {
    ("activate",): (t.LOCAL_TASK_ID,),
    ("unblock",): BLOCKED_IDS,
    ("on_control", "activate"): (t.LOCAL_TASK_ID,),
    ("on_control", "unblock"): BLOCKED_IDS,
    ("ut_id",): (t.UT_ID,),
}
"""Path of a setting of an operation → the types of run-time ids that it takes."""
Path = tuple[str, ...]

_MOST_VARIANTS: Final = 64
"""Limit of the variants of one operation, for all ids that it may mean."""


def to_one_of(
    a: Analyzer, value: Runtime, user: str, span: Span, effect: Callable[[int], Statements]
) -> Statements:
    """Return statements that run `effect` for a run-time id; messages name `user`."""
    number = ir.Local("task", ScalarType.U16)
    message = _complaint(value.type, user)
    chain = _chain(_candidates(a, value.type, span), number, message, span, effect)
    return ir.SetLocal(number, value.expression, span), *chain


def with_known_ids(
    a: Analyzer, settings: Value, user: str, span: Span, make: Callable[[Value], Statements]
) -> Statements:
    """Return `make(settings)` for each combination of the run-time ids in the settings."""
    unknown = unknown_ids(settings)
    numbers = {path: ir.Local("id", ScalarType.U16) for path in unknown}
    choices = {path: _candidates(a, value.type, span) for path, value in unknown.items()}
    _check_variants([len(choice) for choice in choices.values()], span)

    def choose(settings: Value, paths: Sequence[Path]) -> Statements:
        if not paths:
            return make(settings)
        path, *others = paths
        type_ = unknown[path].type

        def effect(number: int) -> Statements:
            return choose(with_id(settings, path, Scalar(type_, number)), others)

        return _chain(choices[path], numbers[path], _complaint(type_, user), span, effect)

    ids = (ir.SetLocal(numbers[path], value.expression, span) for path, value in unknown.items())
    return *ids, *choose(settings, tuple(unknown))


def unknown_ids(settings: Value) -> dict[Path, Runtime]:
    """Return the run-time ids in settings, by path."""
    found: dict[Path, Runtime] = {}
    for path, types in _WANTED.items():
        value: Value | None = settings
        for name in path:
            value = value.get(name) if isinstance(value, Struct) else None
        if isinstance(value, Runtime) and value.type in types:
            found[path] = value
    return found


def with_id(settings: Value, path: Path, value: Value | None) -> Value:
    """Return settings with another value at a path; None removes it."""
    name, *inner = path
    items = dict(settings.items()) if isinstance(settings, Struct) and settings.names else {}
    if inner:
        value = with_id(items.get(name, Struct((), ())), tuple(inner), value)
        value = None if isinstance(value, Struct) and not value.fields else value
    if value is None:
        items.pop(name, None)
    else:
        items[name] = value
    return Struct(tuple(items), tuple(items.values()))


def _chain(
    candidates: Sequence[int],
    number: ir.Local,
    complaint: str,
    span: Span,
    effect: Callable[[int], Statements],
) -> Statements:
    """Return statements that compare an id with all candidates, and stop the simulation else."""
    chain: Statements = (ir.Trap(ir.Immediate(ScalarType.BOOL, 0), complaint, span),)
    for candidate in reversed(candidates):
        known = ir.Immediate(ScalarType.U16, candidate)
        is_it = ir.Binary(Opcode.EQUAL, ScalarType.U16, ir.ReadLocal(number), known)
        chain = (ir.If(is_it, effect(candidate), chain, span),)
    return chain


def _complaint(type_: t.Type, user: str) -> str:
    what = "local task is bound to the id" if type_ is t.LOCAL_TASK_ID else f"`{type_}` is the one"
    return f"no {what} that {user} gets"


def _check_variants(counts: Sequence[int], span: Span) -> None:
    """Fail if an operation would have too many variants."""
    total = 1
    for count in counts:
        total *= count
    if total > _MOST_VARIANTS:
        factors = " · ".join(map(str, counts))
        fail(
            "not-comptime",
            f"the ids that only run time knows may mean {factors} = {total:,} different operations "
            f"here, and {_MOST_VARIANTS} are the most",
            span,
            help="let one of the ids be known while compiling, or let a task that is activated "
            "choose what comes next",
        )


def _candidates(a: Analyzer, type_: t.Type, span: Span) -> Sequence[int]:
    """Return the ids of a type that exist in the program, or fail if there are none."""
    instance = a.instance
    match type_:
        case t.LOCAL_TASK_ID:
            found = {n for kind, n in instance.tasks.bindings if kind is TaskKind.LOCAL}
            what, advice = "binds no local task", "add `@bind_local_task(task, id);`"
        case t.UT_ID:
            return range(instance.session.architecture.num_microthreads)
        case _:
            found = _channels(instance)
            what, advice = "receives on no channel", "add `@initialize_queue(queue, …);`"
    if not found:
        fail(
            "unbound-task",
            f"the program {what}, so that there is none with this id",
            span,
            help=f"{advice} to a `comptime` block",
        )
    return sorted(found)


def _channels(instance: Instance) -> set[int]:
    """Return the numbers of the channels that the program reads: colors, or input queues."""
    by_color = instance.session.architecture.data_task_key is DataTaskKey.COLOR
    bound = {n for kind, n in instance.tasks.bindings if kind is TaskKind.DATA}
    return bound | {
        color if by_color else queue
        for (is_input, queue), (color, _) in instance.queues.items()
        if is_input
    }
