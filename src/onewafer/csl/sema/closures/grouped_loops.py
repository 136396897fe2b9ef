"""`for` loops of the layout that run once for all iterations that agree: see `grouping`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures.frame import Signal
from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.session.grouping import LEAST_ITERATIONS, CannotGroup, Recorder
from onewafer.csl.sema.values import Range, Scalar, Value, force

if TYPE_CHECKING:
    from onewafer.csl.sema.closures.frame import Execute, Frame
    from onewafer.csl.sema.session.grouping import LoopRecord
    from onewafer.diagnostics import Span

_MOST_FAILURES: Final = 3
"""Number of failed attempts after which a loop is no longer grouped."""


class GroupedLoop:
    """A compiled loop whose iterations pass no values to each other."""

    def __init__(self, element: int, index: int | None, body: Execute) -> None:
        """Keep the slots of the loop variables and the body."""
        self._element = element
        self._index = index
        self._body = body
        self._num_failures = 0

    def run(self, frame: Frame, iterated: Value, span: Span) -> bool:
        """Run the loop, or record it for the enclosing one; return whether that was possible."""
        match iterated:
            case Range(type_, Scalar() as start, Scalar() as stop, Scalar() as step):
                bounds = [int(force(bound, "loop bound", span)) for bound in (start, stop, step)]
            case _:
                return False
        if not bounds[2] or len(numbers := range(*bounds)) < LEAST_ITERATIONS:
            return False
        is_tried = self._num_failures < _MOST_FAILURES
        if is_tried and self._run(frame, type_, numbers):
            return True
        self._num_failures += is_tried
        if (recorder := frame.module.session.recorder) is not None:
            recorder.num_plain_loops += 1
        return False

    def _run(self, frame: Frame, type_: t.Type, numbers: range) -> bool:
        session = frame.module.session
        outer = session.recorder
        recorder = Recorder() if outer is None else outer
        volume = recorder.num_enclosing * len(numbers)
        if not session.has_steps(volume):
            return False
        state = recorder.state
        session.recorder = recorder
        try:
            loop = self._record(frame, recorder, type_, numbers)
        except CannotGroup:
            recorder.state = state
            frame.result = None
            return False
        except Fault:
            # Whose iterations are at fault, and who says so first, the plain loop finds out.
            if outer is not None:
                raise
            return False
        finally:
            session.recorder = outer
        if outer is not None:
            return True
        num_steps = loop.num_steps
        if not session.has_steps(num_steps):
            return False
        session.tick_many(num_steps)
        loop.replay(())
        return True

    def _record(
        self, frame: Frame, recorder: Recorder, type_: t.Type, numbers: range
    ) -> LoopRecord:
        start, step = numbers.start, numbers.step

        def run_iteration(number: int) -> None:
            taint = recorder.taint(lambda n: start + n * step)
            frame.slots[self._element] = Scalar(type_, numbers[number], taint)
            if self._index is not None:
                taint = recorder.taint(lambda n: n)
                frame.slots[self._index] = Scalar(t.COMPTIME_INT, number, taint)
            if self._body(frame) not in (None, Signal.CONTINUE):
                raise CannotGroup

        return recorder.record(len(numbers), run_iteration)
