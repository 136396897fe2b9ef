"""The tasks of a program: their ids, and the channels that may be blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.arch import DataTaskKey
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.session.reserved import check_color
from onewafer.csl.sema.values import FunctionValue, Runtime, Scalar, Value, conversions, force
from onewafer.diagnostics import Annotation
from onewafer.image import ChannelKind, TaskKind, channel

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.state import Binding
    from onewafer.csl.sema.session import AnalysisOptions
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span


class Tasks:
    """The tasks that are bound to ids, and which of them start blocked or active."""

    def __init__(self, options: AnalysisOptions) -> None:
        self._options = options
        self.bindings: dict[tuple[TaskKind, int], Binding] = {}
        self.blocked: dict[int, None] = {}
        """Channels that start blocked; `unblocked`: those that do not."""
        self.unblocked: dict[int, None] = {}
        self.active: dict[int, Span] = {}
        """Local task that starts active → the place that says so."""
        self._of_function: dict[ast.Function, list[Binding]] = {}

    def bind(self, binding: Binding) -> None:
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
        self._of_function.setdefault(binding.task.declaration, []).append(binding)

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
                for binding in self._of_function.get(declaration, ()):
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
        """Return the channel that `@block` or `@unblock` names, as `image.channel` encodes it."""
        by_color = self._options.architecture.data_task_key is DataTaskKey.COLOR
        data = ChannelKind.COLOR if by_color else ChannelKind.INPUT_QUEUE
        match value:
            case Scalar(t.COLOR) if by_color:
                check_color(self._options, id_number(value, span), span)
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
                    check_color(self._options, number, span)
                return channel(ChannelKind.LOCAL_TASK if local else data, number)
            case _:
                wanted = " or a color" if by_color else ", an input queue or a microthread"
                name = self._options.architecture.name
                fail("type-mismatch", f"{name} blocks a task id{wanted}", span)


def id_number(value: Scalar, span: Span) -> int:
    """Return the number of an id, which has to be the same on all PEs of the instance."""
    return int(force(value, f"{value.type}", span))
