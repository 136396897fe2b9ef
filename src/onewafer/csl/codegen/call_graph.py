"""Who calls whom: the places of the register frames, and the calls that cannot be compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import RETURN_STACK_DEPTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.csl import ir
    from onewafer.csl.codegen.object_code import ObjectProgram
    from onewafer.diagnostics import DiagnosticSink

    Callees = Mapping[ir.Function, tuple[ir.Function, ...]]

FIRST_REGISTER: Final = 1
"""Register 0 is always zero."""


def place_frames(program: ObjectProgram, sink: DiagnosticSink) -> dict[ir.Function, int]:
    """Return the first register of every frame.

    A frame begins after those of all callers, so frames overlap exactly where no chain of calls
    leads from one to the other. Recursion is reported as `recursive-call`.
    """
    callees = program.callees
    order = _callers_first(callees, sink)
    num_slots = {f.function: f.num_slots for f in program.functions}
    base = dict.fromkeys(order, FIRST_REGISTER)
    depth = dict.fromkeys(order, 0)
    for caller in order:
        for callee in callees[caller]:
            base[callee] = max(base[callee], base[caller] + num_slots[caller])
            depth[callee] = max(depth[callee], depth[caller] + 1)
    for function in order:
        if depth[function] > RETURN_STACK_DEPTH:
            message = f"`{function.name}` is {depth[function]} calls deep"
            sink.report(
                Diagnostic(
                    "calls-too-deep",
                    f"{message}; the return stack of a PE holds {RETURN_STACK_DEPTH}",
                    Annotation(function.span) if function.span else None,
                    help="merge functions of the chain, or continue in a task with `@activate`",
                )
            )
            break
    return base


def _callers_first(callees: Callees, sink: DiagnosticSink) -> list[ir.Function]:
    finished: dict[ir.Function, None] = {}
    for function in callees:
        _visit(function, [], callees, finished, sink)
    return list(reversed(finished))


def _visit(
    function: ir.Function,
    chain: list[ir.Function],
    callees: Callees,
    finished: dict[ir.Function, None],
    sink: DiagnosticSink,
) -> None:
    if function in finished:
        return
    if function in chain:
        cycle = [*chain[chain.index(function) :], function]
        sink.report(
            Diagnostic(
                "recursive-call",
                f"`{function.name}` calls itself: " + " → ".join(f"`{f.name}`" for f in cycle),
                Annotation(function.span) if function.span else None,
                notes=("frames are static, so a function cannot be entered twice",),
                help="write the recursion as a loop, or as a task that activates itself",
            )
        )
        return
    for callee in callees[function]:
        _visit(callee, [*chain, function], callees, finished, sink)
    finished[function] = None
