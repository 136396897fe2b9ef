"""Loops of the layout block, run once for all iterations that agree.

A loop over the PEs of a wafer does few different things. The loop variable of the first iteration
is tainted (see `scalars`), the body runs once and its effects are recorded instead of carried out,
with the decisions that were made on the way. Other iterations that decide alike have the same
effects, with other numbers. What is left runs in the same way. When all is recorded, the effects
are replayed iteration by iteration, in the order in which the plain loop has them, so that images
and findings are the same.

    LoopRecord := Group*                      one loop, for given iterations of the loops around it
    Group      := members, decisions, (Effect | LoopRecord)*
    Row        := number of the iteration of each loop, outermost first

A loop whose iterations depend on each other, or that does anything else than `@set_tile_code` and
`@set_color_config`, raises `CannotGroup` while it is recorded and is then run plainly.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.session.scalars import Decision, Decisions, Number, Scalar, Taint

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.diagnostics import Span

Row = tuple[int, ...]
Effect = Callable[[Row], None]

LEAST_ITERATIONS: Final = 3


@dataclass(frozen=True, slots=True)
class _Patience:
    """Grouping stops if the first `num_groups` have fewer than `least_members` on average."""

    num_groups: int
    least_members: int

    def is_over(self, num_groups: int, num_members: int) -> bool:
        """Tell whether there are too few members for that many groups."""
        return num_groups >= self.num_groups and num_members < self.least_members * num_groups


_PATIENCE: Final = _Patience(16, 4)
_LITTLE_PATIENCE: Final = _Patience(3, 16)
"""For a loop with an inner loop that ran plainly: recording takes some 16 times as long as plain
running, since results of functions are not remembered meanwhile."""


class CannotGroup(Exception):  # noqa: N818 - no error: the loop is run in the other way
    """The iterations of a loop have to run one by one."""


@dataclass(slots=True)
class LoopRecord:
    """The effects of a loop, by groups of iterations."""

    num_iterations: int
    groups: list[Group] = field(default_factory=list["Group"])
    group_of: list[Group | None] = field(default_factory=list["Group | None"])

    @property
    def num_steps(self) -> int:
        """Iterations of this loop and of those inside."""
        return self.num_iterations + sum(
            len(group.members) * step.num_steps
            for group in self.groups
            for step in group.steps
            if isinstance(step, LoopRecord)
        )

    def replay(self, prefix: Row) -> None:
        """Carry out the effects of every iteration, in order."""
        for number, group in enumerate(self.group_of):
            assert group is not None
            row = (*prefix, number)
            for effect in group.steps:
                if isinstance(effect, LoopRecord):
                    effect.replay(row)
                else:
                    effect(row)


@dataclass(slots=True)
class Group:
    """Iterations of one loop with the same effects and decisions."""

    depth: int
    """Number of enclosing loops, which is the index of its own iteration in a row."""
    steps: list[Effect | LoopRecord]
    decisions: list[Decision]
    """Its own decisions, without those of nested loops."""
    members: list[int] = field(default_factory=list[int])

    def agrees(self, row: Row, changed: int) -> bool:
        """Tell whether `row`, another iteration of loop `changed`, would do the same here.

        The loop of this group is `changed` itself or inside of it; `row` ends with its iteration.
        """
        if not _all_agree(self.decisions, row, changed):
            return False
        for step in self.steps:
            if isinstance(step, LoopRecord):
                for group in step.groups:
                    if not group.all_agree(row, changed):
                        return False
        return True

    def all_agree(self, prefix: Row, changed: int) -> bool:
        """Tell whether all members agree when loop `changed`, around this one, is at `prefix`."""
        mine = str(self.depth)
        relevant = [d for d in self.decisions if str(changed) in d.params]
        row = (*prefix, self.members[0])
        if not _all_agree([d for d in relevant if mine not in d.params], row, changed):
            return False
        mixed = [d for d in relevant if mine in d.params]
        loops = [step for step in self.steps if isinstance(step, LoopRecord)]
        if not mixed and not loops:
            return True
        return all(
            _all_agree(mixed, (*prefix, member), changed)
            and all(g.all_agree((*prefix, member), changed) for loop in loops for g in loop.groups)
            for member in self.members
        )


def _all_agree(decisions: Sequence[Decision], row: Row, changed: int) -> bool:
    name = str(changed)
    for decision in decisions:
        if name in decision.params:
            try:
                if decision.evaluate(row) != decision.value:
                    return False
            except (ArithmeticError, ValueError, struct.error):
                return False
    return True


State = tuple[Row, "list[Effect | LoopRecord]", int, tuple[int, int], int]


class Recorder:
    """Records an outermost loop and the loops inside of it."""

    def __init__(self) -> None:
        self._decisions = Decisions()
        self._row: Row = ()
        self._steps: list[Effect | LoopRecord] = []
        self._calls: list[tuple[Span, str]] = []
        """The calls around the effect being recorded, outermost first, for findings at replay."""
        self.num_enclosing = 1
        """Product of the iterations of the loops being recorded."""
        self.num_plain_loops = 0
        """Number of inner loops that were run plainly instead."""

    @property
    def state(self) -> State:
        """The position of the recorder; assign it to discard what was recorded since."""
        mark = self._decisions.mark
        return self._row, self._steps, len(self._steps), mark, self.num_enclosing

    @state.setter
    def state(self, state: State) -> None:
        self._row, self._steps, num_steps, mark, self.num_enclosing = state
        del self._steps[num_steps:]
        self._decisions.forget_since(mark)

    @contextmanager
    def calling(self, span: Span, label: str) -> Generator[None]:
        """Note a call in the body, of which findings say `label` at `span`."""
        self._calls.append((span, label))
        try:
            yield
        finally:
            self._calls.pop()

    def add(self, effect: Effect) -> None:
        """Note an effect of the iteration that is being recorded."""
        self._steps.append(_called_from(self._calls[::-1], effect) if self._calls else effect)

    def taint(self, compute: Callable[[int], int]) -> Taint:
        """Return the taint of a number that follows from the innermost loop's iteration."""
        depth = len(self._row) - 1
        return Taint(lambda row: compute(int(row[depth])), (str(depth),), self._decisions)

    def record(self, num_iterations: int, body: Callable[[int], None]) -> LoopRecord:
        """Record a loop; `body(number)` runs one iteration and taints values by its number."""
        loop = LoopRecord(num_iterations, group_of=[None] * num_iterations)
        remaining = list(range(num_iterations))
        self.num_enclosing *= num_iterations
        num_plain_loops = self.num_plain_loops
        while remaining:
            group = self._record_iteration(remaining[0], body)
            prefix, depth = self._row, group.depth
            rest: list[int] = []
            for number in remaining:
                if number == remaining[0] or group.agrees((*prefix, number), depth):
                    group.members.append(number)
                    loop.group_of[number] = group
                else:
                    rest.append(number)
            loop.groups.append(group)
            remaining = rest
            patience = _PATIENCE if self.num_plain_loops == num_plain_loops else _LITTLE_PATIENCE
            if patience.is_over(len(loop.groups), num_iterations - len(remaining)):
                raise CannotGroup
        self.num_enclosing //= num_iterations
        self._steps.append(loop)
        return loop

    def _record_iteration(self, number: int, body: Callable[[int], None]) -> Group:
        entries = self._decisions.entries
        outer_steps, self._steps = self._steps, []
        mark, depth = len(entries), len(self._row)
        self._row = (*self._row, number)
        body(number)
        self._row = self._row[:-1]
        group = Group(depth, self._steps, entries[mark:])
        del entries[mark:]
        self._steps = outer_steps
        return group


def _called_from(locations: Sequence[tuple[Span, str]], effect: Effect) -> Effect:
    """Return the effect with these call locations, innermost first, added to its faults."""

    def carry_out(row: Row) -> None:
        try:
            effect(row)
        except Fault as fault:
            for span, label in locations:
                fault.add_location(span, label)
            raise

    return carry_out


def evaluator(scalar: Scalar) -> Callable[[Sequence[Number]], Number]:
    """Return the function from a row to the number of a scalar."""
    if scalar.taint is not None:
        return scalar.taint.evaluate
    number = scalar.value
    return lambda _: number
