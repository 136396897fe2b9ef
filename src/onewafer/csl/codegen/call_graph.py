"""Who calls whom: functions that call one another, and the places of the register frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import RETURN_STACK_DEPTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.csl import ir
    from onewafer.csl.codegen.object_code import ObjectProgram
    from onewafer.diagnostics import DiagnosticSink

    Callees = Mapping[ir.Function, tuple[ir.Function, ...]]
    Component = tuple[ir.Function, ...]

FIRST_REGISTER: Final = 1
"""Register 0 is always zero."""


def place_frames(program: ObjectProgram, sink: DiagnosticSink) -> dict[ir.Function, int]:
    """Return the first register of every frame.

    A frame begins after those of all callers, so frames overlap exactly where no chain of calls
    leads from one to the other. Functions that jump to one another have their frames in the same
    place, for one is over when the next begins: there the result is where the caller looks for it.
    """
    callees = program.callees
    components = find_components(callees)
    number = {f: i for i, component in enumerate(components) for f in component}
    num_slots = {f.function: f.num_slots for f in program.functions}
    base = [FIRST_REGISTER] * len(components)
    depth = [0] * len(components)
    for i, component in enumerate(components):
        for caller in component:
            for called in {number[callee] for callee in callees[caller]} - {i}:
                base[called] = max(base[called], base[i] + num_slots[caller])
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


def find_components(callees: Callees) -> list[Component]:
    """Return the functions in groups that call one another, callers first.

    Most groups are of one function. The algorithm is Tarjan's.
    """
    finder = _ComponentFinder(callees, {function: i for i, function in enumerate(callees)})
    for function in callees:
        if function not in finder.begun:
            finder.visit(function)
    return finder.found[::-1]


@dataclass(slots=True)
class _ComponentFinder:
    callees: Callees
    position: dict[ir.Function, int]
    """Order in the program, which is that inside of a group."""
    begun: dict[ir.Function, int] = field(default_factory=dict["ir.Function", int])
    """When the visit of each began."""
    open: list[ir.Function] = field(default_factory=list["ir.Function"])
    """Functions whose groups are not complete yet."""
    found: list[Component] = field(default_factory=list["Component"])

    def visit(self, function: ir.Function) -> int:
        """Return the earliest function of an open group that can be reached."""
        earliest = start = self.begun[function] = len(self.begun)
        first = len(self.open)
        self.open.append(function)
        for callee in self.callees[function]:
            if callee not in self.begun:
                earliest = min(earliest, self.visit(callee))
            elif callee in self.open:
                earliest = min(earliest, self.begun[callee])
        if earliest == start:
            group = self.open[first:]
            del self.open[first:]
            self.found.append(tuple(sorted(group, key=self.position.__getitem__)))
        return earliest
