"""Remedies for a module in training that does not fit: each is tried by placing it.

`mesh.verify` names bytes by arena and a rectangle, where the whole batch is one launch. Here are
the others: launches of a part of the batch, a smaller batch where it cannot be cut, a shorter
sequence. Training is in f32, so f16 is none of them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.execution import refuse_outside_of_groups
from onewafer.graph import num_samples, with_rows, with_samples
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.arch import Architecture
    from onewafer.execution import WaferOptions
    from onewafer.graph import Graph
    from onewafer.pytorch.training.programs import Plan

_RECTANGLE = re.compile(r"use a rectangle of at least (\d+×\d+) PEs")


class Room:
    """The search for a configuration that has room on the wafer."""

    def __init__(
        self, place: Callable[[Plan], object], architecture: Architecture, options: WaferOptions
    ) -> None:
        """Take the function that places a plan, or raises UnsupportedOperationError."""
        self._place, self._architecture, self._options = place, architecture, options
        self._in_groups: dict[Plan, TooLargeError | None] = {}

    def in_groups(self, error: TooLargeError, plan: Plan) -> TooLargeError:
        """Return the error that names groups of samples with room for a batch; else its own."""
        if plan not in self._in_groups:
            self._in_groups[plan] = refuse_outside_of_groups(
                plan.derive(), plan.trained, self._architecture, self._options
            )
        return (self._in_groups[plan] or error).again()

    def with_parts(self, error: TooLargeError, of_part: TooLargeError) -> TooLargeError:
        """Return the error of a batch, of which not even one sample has room."""
        found = _RECTANGLE.search(of_part.refusal.reason)
        smaller = f", or {found[1]} PEs for launches of one sample each" if found else ""
        none = "; nor has one sample room, in a launch of its own"
        return TooLargeError(f"{error.refusal.reason}{smaller or none}")

    def with_smaller_batch(
        self, error: TooLargeError, why: UnsupportedOperationError, plan: Plan
    ) -> TooLargeError:
        """Return the error of a batch that cannot be cut into several launches, and why."""
        reason = (
            f"its batch does not fit ({error.refusal.reason}), nor can it take several launches"
        )
        most = self._most(plan, with_samples, num_samples(plan.graph))
        advice = f"; a batch of {count_of(most, 'sample')} has room" if most else ""
        return TooLargeError(f"{reason}: {why.cause}{advice}")

    def with_shorter_sequence(
        self, error: TooLargeError, plan: Plan, why: UnsupportedOperationError | None = None
    ) -> TooLargeError:
        """Return the error of a sequence that does not fit, and why it takes one launch.

        Without a reason, not even a token of it has room.
        """
        cause = "" if why is None else f"; a sequence cannot take several launches: {why.cause}"
        most = self._most(plan, with_rows, plan.graph.inputs[0].shape[0])
        advice = f", or a sequence of at most {count_of(most, 'token')}" if most else ""
        return TooLargeError(f"{error.refusal.reason}{advice}{cause}")

    def _most(self, plan: Plan, resize: Callable[[Graph, int], Graph], size: int) -> int | None:
        """Return the largest power of two below a size that has room; None: not even 1 has."""
        powers = [1 << power for power in range((size - 1).bit_length())]
        if not powers or not self._has_room(plan, resize, powers[0]):
            return None
        low, high = 0, len(powers) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._has_room(plan, resize, powers[middle]):
                low = middle
            else:
                high = middle - 1
        return powers[low]

    def _has_room(self, plan: Plan, resize: Callable[[Graph, int], Graph], size: int) -> bool:
        try:
            self._place(replace(plan, graph=resize(plan.graph, size)))
        except UnsupportedOperationError:
            return False
        return True
