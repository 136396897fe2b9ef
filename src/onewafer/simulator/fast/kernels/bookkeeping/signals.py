"""Synchronisation of the threads of a run: monotonic counters.

The first thread plans a window and raises `TURN`; the others follow. After each phase of a window
every thread raises its own word, and goes on when all have. A session is a call of `run_cycles` by
the first thread: a waiting thread leaves when it sees the session closed.

No thread sleeps here: a window takes microseconds. Waiting is counted, not timed: after some polls
a thread yields its core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.machine_code.compilation import shared
from onewafer.simulator.fast.machine_code.native import give_way, load_signal, relax, store_signal
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

(
    PLANNED_START,
    PLANNED_END,
    PLANNED_LIMIT,
    NUM_BUSY,  # PEs in windows of many since a thread was called or sent away
    NUM_LEAN,  # windows of few since the last one of many
    NUM_LOOKS,  # of the first thread, in vain, since the others were called
) = range(6)
"""Words that only the first thread writes; those of a window, before it raises `TURN`."""
TURN = f.LINE_WORDS
CLOSED = 2 * f.LINE_WORDS
"""The last closed session."""
MEMBERS = 3 * f.LINE_WORDS
"""A cache line for each thread: the session that it joined, and its progress."""
HAS_COME, DONE = range(2)

_LOOKS = 1 << 10
"""Polls of a word before a thread yields its core."""


def num_signals(num_shares: int) -> int:
    """Return the length of the array of signals."""
    return MEMBERS + f.LINE_WORDS * num_shares


@shared
def arrive(s: Arrays, share: int, session: int) -> None:
    """Signal that the thread of a share has joined."""
    store_signal(s.signals, MEMBERS + f.LINE_WORDS * share + HAS_COME, session)


@shared
def is_complete(s: Arrays, session: int) -> bool:
    """Tell whether all threads have joined."""
    for share in range(1, s.clock[f.NUM_SHARES]):
        if load_signal(s.signals, MEMBERS + f.LINE_WORDS * share + HAS_COME) != session:
            return False
    return True


@shared
def await_turn(s: Arrays, turn: int, session: int) -> bool:
    """Wait for the turn after `turn`; tell whether it came before the session closed."""
    looks = 0
    while load_signal(s.signals, TURN) == turn:
        if load_signal(s.signals, CLOSED) >= session:
            return False
        looks = wait_a_moment(looks)
    return True


@shared
def meet(s: Arrays, share: int, session: int, number: int) -> bool:
    """Wait at a barrier for all threads; tell whether they came before the session closed."""
    store_signal(s.signals, MEMBERS + f.LINE_WORDS * share + DONE, number)
    for other in range(s.clock[f.NUM_SHARES]):
        looks = 0
        while load_signal(s.signals, MEMBERS + f.LINE_WORDS * other + DONE) < number:
            if load_signal(s.signals, CLOSED) >= session:
                return False
            looks = wait_a_moment(looks)
        if share == 0:
            s.signals[NUM_LOOKS] += looks
    return True


@shared
def wait_a_moment(looks: int) -> int:
    """Pause between two polls; return the number of polls so far."""
    if looks & (_LOOKS - 1) == _LOOKS - 1:
        give_way()
    else:
        relax()
    return looks + 1
