"""Strongly connected components of the call graph: functions that call one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.csl import ir

    Callees = Mapping[ir.Function, tuple[ir.Function, ...]]
    Component = tuple[ir.Function, ...]


def find_components(callees: Callees) -> list[Component]:
    """Return the strongly connected components of the call graph, callers first.

    Most components have one function. The algorithm is Tarjan's.
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
    """Order of the functions in the program, also used inside a component."""
    begun: dict[ir.Function, int] = field(default_factory=dict["ir.Function", int])
    """Function → number of its visit, in order of the visits."""
    open: list[ir.Function] = field(default_factory=list["ir.Function"])
    """Functions whose components are incomplete."""
    found: list[Component] = field(default_factory=list["Component"])

    def visit(self, function: ir.Function) -> int:
        """Visit a function; return the earliest reachable visit number in an open component."""
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
