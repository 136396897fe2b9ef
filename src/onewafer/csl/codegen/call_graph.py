"""The placement of register frames by the call graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.ir.components import find_components
from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import RETURN_STACK_DEPTH

if TYPE_CHECKING:
    from onewafer.csl import ir
    from onewafer.csl.codegen.object_code import ObjectProgram
    from onewafer.diagnostics import DiagnosticSink

FIRST_REGISTER: Final = 1
"""Register 0 is always zero."""


def place_frames(program: ObjectProgram, sink: DiagnosticSink) -> dict[ir.Function, int]:
    """Return the first register of every frame.

    A frame begins after the slots that its callers still need, so frames overlap where no chain of
    calls leads from one to the other, and where no slot is live after the call. Functions that
    jump to one another have their frames in the same place, for one ends when the next begins:
    the result is then where the caller expects it.
    """
    callees = program.callees
    components = find_components(callees)
    number = {f: i for i, component in enumerate(components) for f in component}
    code = {f.function: f for f in program.functions}
    base = [FIRST_REGISTER] * len(components)
    depth = [0] * len(components)
    for i, component in enumerate(components):
        for caller in component:
            for callee in callees[caller]:
                called = number[callee]
                if called == i:
                    continue
                kept = code[caller].slots_at_calls.get(callee, code[caller].num_slots)
                base[called] = max(base[called], base[i] + kept)
                depth[called] = max(depth[called], depth[i] + 1)
    for i, (function, *_) in enumerate(components):
        if depth[i] > RETURN_STACK_DEPTH:
            message = f"`{function.name}` is {depth[i]} calls deep"
            sink.report(
                Diagnostic(
                    "calls-too-deep",
                    f"{message}; the return stack of a PE holds {RETURN_STACK_DEPTH}",
                    Annotation(function.span) if function.span else None,
                    help="merge functions of the chain, or continue in a task with `@activate`",
                )
            )
            break
    return {function: base[i] for function, i in number.items()}
