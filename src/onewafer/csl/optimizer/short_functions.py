"""The choice of functions to inline, besides each `inline fn`.

In: an instance. Out: the same, with `is_inline` set for functions that `expand_inline` may expand:

* a function with one call, whose code is not copied;
* a short function, as long as all copies together add little to the code. It has no loop, and
  starts no asynchronous operation: each copy would take registers of its own (`dsr_plan`).

A recursive function stays. The code of tasks and of functions that the host launches stays, too,
beside copies in their callers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.ir.components import find_components
from onewafer.csl.optimizer.sizes import units_of

MOST_UNITS: Final = 20
"""The largest function of which there may be copies; a unit is about 4 bytes of code."""
MOST_ADDED: Final = 96
"""The most units that all copies add to the code of a PE."""


def mark_inlined(instance: ir.InstanceIr, *, most_added: int = MOST_ADDED) -> None:
    """Set `is_inline` of functions worth inlining; their copies add at most `most_added` units."""
    num_calls = Counter(call.function for f in instance.functions for call in walk.calls(f))
    started = {task.function for task in instance.tasks}
    started |= {e.target for e in instance.exports if isinstance(e.target, ir.Function)}
    callees = {function: walk.callees(function) for function in instance.functions}
    sizes = _Sizes(most_added)
    for component in reversed(find_components(callees)):
        function = component[0]
        units = sizes.add(function)
        if len(component) > 1 or function in callees[function] or not num_calls[function]:
            continue
        num_copies = num_calls[function] - (function not in started)
        added = num_copies * max(units - _units_of_call(function), 0)
        if num_copies == 0:
            function.is_inline = True
        elif units <= MOST_UNITS and added <= sizes.num_left and _may_be_copied(function):
            function.is_inline = True
            sizes.num_left -= added


@dataclass(slots=True)
class _Sizes:
    """Sizes of functions including their inlined callees; callees come first."""

    num_left: int
    """Units that copies may still add."""
    units: dict[ir.Function, int] = field(default_factory=dict[ir.Function, int])

    def add(self, function: ir.Function) -> int:
        """Return the size of a function."""
        expanded = (call.function for call in walk.calls(function) if call.function.is_inline)
        inside = sum(self.units.get(callee, 0) for callee in expanded)
        self.units[function] = units_of(function.body) + inside
        return self.units[function]


def _may_be_copied(function: ir.Function) -> bool:
    return not any(
        isinstance(statement, ir.Loop | ir.Map)
        or (isinstance(statement, ir.DsdStatement) and statement.config is not None)
        for statement in walk.statements(function.body)
    )


def _units_of_call(function: ir.Function) -> int:
    """Return the size of a call and its return: a jump each, and moves of values."""
    return 2 + len(function.parameters) + (function.result is not None)
