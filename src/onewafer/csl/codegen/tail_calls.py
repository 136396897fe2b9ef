"""Calls that functions end with, among functions that call each other → jumps.

In: an instance. Out: the same one, with `Evaluate.is_jump` where a call is the last thing that its
function does. A frame is static, so functions that call each other are refused (`call_graph`),
except where no frame is needed any more when the next function begins: state machines whose
functions end with a call of the next one. All calls among them have to be such, they return
nothing, and they have no variables in memory, to which pointers may lead.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from onewafer.csl import ir, rewrite, walk
from onewafer.csl.codegen.call_graph import components, is_cyclic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.csl.walk import Block


def mark_jumps(instance: ir.InstanceIr) -> frozenset[ir.Function]:
    """Return the functions that may call each other; bodies change in place."""
    callees = {function: walk.callees(function) for function in instance.functions}
    found: set[ir.Function] = set()
    for component in components(callees):
        members = frozenset(component)
        if is_cyclic(component, callees) and all(_can_jump(f, members) for f in members):
            found |= members
            for function in component:
                function.body = _marked(function.body, members, is_last=True)
    return frozenset(found)


def _can_jump(function: ir.Function, members: frozenset[ir.Function]) -> bool:
    """Tell whether a function is done when it calls one of its kind."""
    nodes = [*_expressions(function)]
    calls = Counter(n.function for n in nodes if isinstance(n, ir.Call) and n.function in members)
    last = Counter(call.function for call in _last_calls(function.body, is_last=True))
    return (
        function.result is None
        and not any(isinstance(n, ir.AddressOf) and n.variable.is_local for n in nodes)
        and all(last[callee] == number for callee, number in calls.items())
    )


def _expressions(function: ir.Function) -> Iterator[ir.Expression]:
    for statement in walk.statements(function.body):
        for root in walk.roots(statement):
            yield from walk.expressions(root)


def _last_calls(block: Block, *, is_last: bool) -> Iterator[ir.Call]:
    """Yield the calls behind which a function ends; `is_last`: it ends behind the block."""
    for statement, ends in _with_ends(block, is_last=is_last):
        match statement:
            case ir.Evaluate(call=call) if ends:
                yield call
            case ir.Map():
                pass  # the machine is in its loop until that ends
            case _:
                ends_behind = ends and not isinstance(statement, ir.Loop)
                for inner in walk.blocks(statement):
                    yield from _last_calls(inner, is_last=ends_behind)


def _marked(block: Block, members: frozenset[ir.Function], *, is_last: bool) -> Block:
    found: list[ir.Statement] = []
    for statement, ends in _with_ends(block, is_last=is_last):
        match statement:
            case ir.Evaluate(call=call) if ends and call.function in members:
                found.append(replace(statement, is_jump=True))
            case ir.Map():
                found.append(statement)
            case _ if walk.blocks(statement):
                ends_behind = ends and not isinstance(statement, ir.Loop)
                found.append(_with_marked_blocks(statement, members, is_last=ends_behind))
            case _:
                found.append(statement)
    return tuple(found)


def _with_marked_blocks(
    statement: ir.Statement, members: frozenset[ir.Function], *, is_last: bool
) -> ir.Statement:
    return rewrite.with_blocks(statement, lambda inner: _marked(inner, members, is_last=is_last))


def _with_ends(block: Block, *, is_last: bool) -> Iterator[tuple[ir.Statement, bool]]:
    """Yield the statements of a block, and whether the function ends behind each."""
    for statement, following in pairwise(block):
        yield statement, isinstance(following, ir.Return)
    if block:
        yield block[-1], is_last
