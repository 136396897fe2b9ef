"""Tail calls between mutually recursive functions become jumps.

In: the call graph of an instance. Out: calls in the bodies become `ir.TailCall`s. Frames are
static, so no function can be entered twice, but after a tail call the caller's frame is dead. All
other calls stay; those that would enter a function twice are reported as `recursive-call`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.codegen.escapes import find_escape
from onewafer.csl.ir import rewrite, walk
from onewafer.csl.ir.components import find_components
from onewafer.diagnostics import Annotation, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onewafer.csl.ir.components import Callees
    from onewafer.csl.ir.walk import Block
    from onewafer.diagnostics import DiagnosticSink, Span

    After = ir.Return | None
    """The next statement, if it leaves the function."""

_NUM_CALLS_SHOWN = 4
_WHAT_IS_ALLOWED = (
    "a call that is the last thing a function does, `f(x);` or `return f(x);` at its end, is "
    "allowed: write the others as loops, or as tasks that activate themselves"
)


def make_jumps(callees: Callees, sink: DiagnosticSink) -> None:
    """Turn calls that are the last action of mutually recursive functions into jumps, in place.

    Calls that would enter a function twice stay, and are reported.
    """
    for component in find_components(callees):
        if len(component) == 1 and component[0] not in callees[component[0]]:
            continue
        members = frozenset(component)
        bodies = {f: _Jumps(members).block(f.body, ir.Return(None), ()) for f in component}
        others = [other for f in component for other in _calls(f, bodies[f], members)]
        escaping = [(f, escape) for f in component if (escape := find_escape(f)) is not None]
        if others:
            sink.report(_not_last(others, callees, members))
        elif escaping:
            sink.report(_escaped(*escaping[0]))
        for function in component:
            function.body = bodies[function]


@dataclass(frozen=True, slots=True)
class _Jumps:
    """Makes jumps of calls to `members`."""

    members: frozenset[ir.Function]

    def block(self, block: Block, after: After, exits: tuple[After, ...]) -> Block:
        """Return a block with jumps; `exits` follow the enclosing loops and blocks."""
        found: list[ir.Statement] = []
        for i, statement in enumerate(block):
            found += self._statement(statement, _next(block, i + 1, after, exits), exits)
        return tuple(found)

    def _statement(
        self, statement: ir.Statement, after: After, exits: tuple[After, ...]
    ) -> Sequence[ir.Statement]:
        match statement, after:
            case ir.Evaluate(call=call, span=span), ir.Return(value=None) if self._is_ours(call):
                return (ir.TailCall(call, span),)
            case ir.Return(value=value, span=span), _ if value is not None:
                return self._return(value, span)
            case (
                ir.SetLocal(local=local, value=value, span=span),
                ir.Return(value=ir.ReadLocal(local=returned)),
            ) if local is returned and self._ends_in_ours(value):
                return self._return(value, span)
            case ir.Loop(body=body), _:
                changed = self.block(body, None, (*exits, after))
                return (ir.Loop(statement.condition, changed, statement.step, statement.span),)
            case ir.Labelled(body=body), _:
                return (replace(statement, body=self.block(body, after, (*exits, after))),)
            case ir.If(), _:
                inner: Callable[[Block], Block] = lambda b: self.block(b, after, exits)  # noqa: E731
                return (rewrite.with_blocks(statement, inner),)
            case _:
                return (statement,)

    def _return(self, value: ir.Expression, span: Span | None) -> tuple[ir.Statement, ...]:
        """Return a value; a select with a call in a branch becomes an `If`."""
        match value:
            case ir.Call() if self._is_ours(value):
                return (ir.TailCall(value, span),)
            case ir.Select(condition=condition) if self._ends_in_ours(value):
                then, otherwise = (self._return(v, span) for v in (value.then, value.otherwise))
                return (ir.If(condition, then, otherwise, span),)
            case _:
                return (ir.Return(value, span),)

    def _ends_in_ours(self, value: ir.Expression) -> bool:
        match value:
            case ir.Select(then=then, otherwise=otherwise):
                return self._ends_in_ours(then) or self._ends_in_ours(otherwise)
            case _:
                return self._is_ours(value)

    def _is_ours(self, value: ir.Expression) -> bool:
        return isinstance(value, ir.Call) and value.function in self.members


def _next(block: Block, index: int, after: After, exits: tuple[After, ...]) -> After:
    """Return the statements before the one at `index`, if that leaves the function."""
    if index == len(block):
        return after
    match block[index]:
        case ir.Return() as following:
            return following
        case ir.Break(levels=levels):
            return exits[-1 - levels]
        case _:
            return None


# --- what is reported ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OtherCall:
    """A call that is not a tail call."""

    caller: ir.Function
    callee: ir.Function
    span: Span | None


def _calls(
    caller: ir.Function, body: Block, members: frozenset[ir.Function]
) -> Iterator[_OtherCall]:
    """Yield the calls of members that are not jumps."""
    for statement in walk.statements(body):
        roots = walk.roots(statement)
        if isinstance(statement, ir.TailCall):
            roots = statement.call.arguments
        for node in [node for root in roots for node in walk.expressions(root)]:
            if isinstance(node, ir.Call) and node.function in members:
                span = getattr(statement, "span", None)
                yield _OtherCall(caller, node.function, span or caller.span)


def _not_last(
    others: list[_OtherCall],
    callees: Callees,
    members: frozenset[ir.Function],
) -> Diagnostic:
    """Return the diagnostic about recursive calls that are not tail calls."""
    first = others[0]
    cycle = [first.caller, *_path(first.callee, first.caller, callees, members)]
    places = {
        other.span: Annotation(other.span, f"`{other.caller.name}` goes on after this call")
        for other in others
        if other.span is not None
    }
    primary, *more = [*places.values()][:_NUM_CALLS_SHOWN] or [None]
    notes = ["frames are static, so a function cannot be entered again before it is over"]
    if any(other.callee.has_stored_result for other in others):
        notes.append("a result that is a struct or an array is copied after the call")
    return Diagnostic(
        "recursive-call",
        f"`{first.caller.name}` calls itself: " + " → ".join(f"`{f.name}`" for f in cycle),
        primary,
        tuple(annotation for annotation in more if annotation is not None),
        tuple(notes),
        _WHAT_IS_ALLOWED,
    )


def _path(
    start: ir.Function,
    end: ir.Function,
    callees: Callees,
    members: frozenset[ir.Function],
) -> tuple[ir.Function, ...]:
    """Return the shortest chain of calls from one member to another."""
    paths: dict[ir.Function, tuple[ir.Function, ...]] = {start: (start,)}
    waiting = [start]
    for function in waiting:  # grows on the way
        for callee in callees[function]:
            if callee in members and callee not in paths:
                paths[callee] = (*paths[function], callee)
                waiting.append(callee)
    return paths[end]


def _escaped(function: ir.Function, variable: ir.Global) -> Diagnostic:
    """Return the message about a variable whose address escapes before a recursive call."""
    name = variable.name.removeprefix(f"{function.name}.")
    return Diagnostic(
        "recursive-call",
        f"`{function.name}` calls itself, after taking the address of its `{name}`",
        Annotation(variable.span, "the next call uses the same memory") if variable.span else None,
        () if function.span is None else (Annotation(function.span, "called again"),),
        ("frames are static: a variable in memory has one address for all calls of its function",),
        "declare the variable outside of the function; pass an array by such an address, `*[n]T`",
    )
