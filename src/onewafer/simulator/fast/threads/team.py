"""The threads of a run: called where help pays, dismissed where it does not.

Help changes no result. The decision depends on counts only: the PEs of the windows, and the polls
of one thread for another in vain.
"""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from onewafer.simulator.fast.kernels.bookkeeping.signals import (
    CLOSED,
    NUM_BUSY,
    NUM_LEAN,
    NUM_LOOKS,
)
from onewafer.simulator.fast.kernels.loop import (
    HELP_FUTILE,
    HELP_UNWANTED,
    HELP_WANTED,
    PAUSED,
    run_cycles,
)
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from onewafer.simulator.fast.machine_code.native import Bound
    from onewafer.simulator.fast.state.arrays import Arrays

_MOST_PATIENCE = 1 << 10
Piece = TypeVar("Piece")


class Team:
    """Runs the cycles of a machine, alone or with helpers.

    Helpers are in kernels only during `run`: between two calls the arrays belong to the caller.
    """

    def __init__(self, shares: Sequence[Arrays]) -> None:
        """Take the arrays of each thread, the caller's first."""
        self._num_members = len(shares)
        self._clock = shares[0].clock
        self._signals = shares[0].signals
        self._help_after = int(self._clock[f.HELP_AFTER])
        self._session = 0
        self._is_helped = False
        self._patience = 1
        """Factor on the work after which help is called; it grows when help was futile."""

    def run(self, bound: Bound, until: int, budget: int) -> int:
        """Run as `run_cycles` does, and return why the run ended."""
        outcome = (
            self._run_with_help(bound, until, budget)
            if self._is_helped
            else run_cycles(bound, 0, 0, until, budget)
        )
        if outcome == HELP_FUTILE:
            self._patience = min(8 * self._patience, _MOST_PATIENCE)
        elif outcome == PAUSED and self._is_helped:
            self._patience = max(self._patience // 2, 1)
        if outcome in (HELP_WANTED, HELP_UNWANTED, HELP_FUTILE):
            self._is_helped = outcome == HELP_WANTED
            self._clock[f.HELP_AFTER] = self._help_after * self._patience
            self._signals[NUM_BUSY] = self._signals[NUM_LEAN] = 0
            return PAUSED
        return outcome

    def do(self, work: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
        """Run pieces of work between two runs, each on the next free thread."""
        helpers: list[tuple[Future[None], Piece]] = []
        with suppress(RuntimeError):  # no thread can be started: the caller does it alone
            for piece in pieces[1:] if self._num_members > 1 else ():
                pool = _pool(os.getpid(), self._num_members - 1)
                helpers.append((pool.submit(work, piece), piece))
        for piece in [*pieces[:1], *pieces[1 + len(helpers) :]]:
            work(piece)
        for helper, piece in reversed(helpers):
            if helper.cancel():
                work(piece)
            else:
                helper.result()

    def _run_with_help(self, bound: Bound, until: int, budget: int) -> int:
        self._session += 1
        self._signals[NUM_BUSY] = self._signals[NUM_LEAN] = self._signals[NUM_LOOKS] = 0
        helpers: list[Future[None]] = []
        try:
            self._call(helpers, bound)
            return run_cycles(bound, 0, self._session, until, budget)
        finally:
            self._signals[CLOSED] = self._session
            for helper in helpers:
                if not helper.cancel():
                    helper.result()

    def _call(self, helpers: list[Future[None]], bound: Bound) -> None:
        """Call helper threads without waiting for them."""
        try:
            for share in range(1, self._num_members):
                pool = _pool(os.getpid(), self._num_members - 1)
                helpers.append(pool.submit(self._help, bound, share, self._session))
        except RuntimeError:  # no thread can be started: the caller does it alone
            return

    def _help(self, bound: Bound, share: int, session: int) -> None:
        """Run the parts of a share until the session is closed."""
        try:
            run_cycles(bound, share, session, 0, 0)
        finally:
            self._signals[CLOSED] = session  # no thread shall wait for this one


@functools.cache
def _pool(_process: int, num_threads: int) -> ThreadPoolExecutor:
    """Return the helper threads of this process; a forked child gets its own."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="onewafer")
