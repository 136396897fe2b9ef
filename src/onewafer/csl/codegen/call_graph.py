"""Who calls whom: the places of the register frames, and the calls that cannot be compiled."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import RETURN_STACK_DEPTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.csl import ir
    from onewafer.csl.codegen.object_code import ObjectProgram
    from onewafer.diagnostics import DiagnosticSink

    Callees = Mapping[ir.Function, tuple[ir.Function, ...]]

FIRST_REGISTER: Final = 1
"""Register 0 is always zero."""
_WAY_OUT: Final = (
    "functions that return nothing and have no variables in memory may call each other where each "
    "such call is the last thing that they do"
)


def place_frames(program: ObjectProgram, sink: DiagnosticSink) -> dict[ir.Function, int]:
    """Return the first register of every frame.

    A frame begins after those of all callers, so frames overlap exactly where no chain of calls
    leads from one to the other. Those of functions that jump to each other lie side by side,
    after those of all who call one of them. Other recursion is reported as `recursive-call`.
    """
    callees = program.callees
    num_slots = {f.function: f.num_slots for f in program.functions}
    base = dict.fromkeys(callees, FIRST_REGISTER)
    depth = dict.fromkeys(callees, 0)
    for component in reversed(components(callees)):
        if is_cyclic(component, callees) and not program.jumping >= {*component}:
            _report_cycle(component, callees, sink)
        first = max(base[function] for function in component)
        deepest = max(depth[function] for function in component)
        for function in component:
            base[function], depth[function] = first, deepest
            first += num_slots[function]
        for caller in component:
            for callee in callees[caller]:
                if callee not in component:
                    base[callee] = max(base[callee], base[caller] + num_slots[caller])
                    depth[callee] = max(depth[callee], deepest + 1)
    _check_depth(depth, sink)
    return base


def _check_depth(depth: Mapping[ir.Function, int], sink: DiagnosticSink) -> None:
    """Report the first function that the return stack does not reach."""
    for function, calls in sorted(depth.items(), key=itemgetter(1)):
        if calls > RETURN_STACK_DEPTH:
            message = f"`{function.name}` is {calls} calls deep"
            sink.report(
                Diagnostic(
                    "calls-too-deep",
                    f"{message}; the return stack of a PE holds {RETURN_STACK_DEPTH}",
                    Annotation(function.span) if function.span else None,
                    help="merge functions of the chain, or continue in a task with `@activate`",
                )
            )
            break


def is_cyclic(component: Sequence[ir.Function], callees: Callees) -> bool:
    """Tell whether the functions of a component call each other, or the only one itself."""
    return len(component) > 1 or component[0] in callees[component[0]]


def components(callees: Callees) -> list[tuple[ir.Function, ...]]:
    """Return the functions, those together that can reach each other by calls, callees first."""
    search = _Search(callees)
    for function in callees:
        if function not in search.number:
            search.visit(function)
    return search.found


@dataclass(slots=True)
class _Search:
    """Tarjan's search for strongly connected components (SIAM J. Comput. 1, 1972)."""

    callees: Callees
    found: list[tuple[ir.Function, ...]] = field(default_factory=list["tuple[ir.Function, ...]"])
    number: dict[ir.Function, int] = field(default_factory=dict["ir.Function", int])
    """In the order of the first visit."""
    _lowest: dict[ir.Function, int] = field(default_factory=dict["ir.Function", int])
    """The lowest number of one that is open and can be reached."""
    _open: list[ir.Function] = field(default_factory=list["ir.Function"])

    def visit(self, function: ir.Function) -> None:
        self.number[function] = self._lowest[function] = len(self.number)
        self._open.append(function)
        for callee in self.callees[function]:
            if callee not in self.number:
                self.visit(callee)
                self._lowest[function] = min(self._lowest[function], self._lowest[callee])
            elif callee in self._open:
                self._lowest[function] = min(self._lowest[function], self.number[callee])
        if self._lowest[function] == self.number[function]:
            first = self._open.index(function)
            self.found.append(tuple(self._open[first:]))
            del self._open[first:]


def _report_cycle(component: Sequence[ir.Function], callees: Callees, sink: DiagnosticSink) -> None:
    """Report a way by which a function calls itself."""
    chain = [component[0]]
    while True:
        following = next(callee for callee in callees[chain[-1]] if callee in component)
        if following in chain:
            break
        chain.append(following)
    cycle = [*chain[chain.index(following) :], following]
    sink.report(
        Diagnostic(
            "recursive-call",
            f"`{following.name}` calls itself: " + " → ".join(f"`{f.name}`" for f in cycle),
            Annotation(following.span) if following.span else None,
            notes=(
                "frames are static: a function can begin anew only where it has ended",
                _WAY_OUT,
            ),
            help="write the recursion as a loop, or as a task that activates itself",
        )
    )
