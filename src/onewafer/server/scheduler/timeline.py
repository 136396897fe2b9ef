"""The simulated time of the served system: arrivals, launches and tokens, in order.

    arrival ─▶ queue ─▶ slot ─▶ chunks of the prompt ─▶ first token ─▶ … ─▶ last token, slot is free
                                └───── launches: enter one a period, are done after their latency

Tokens are computed elsewhere, at any time, and passed to `tell`. At a token that is not known yet,
the timeline stops until it is told.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from onewafer.perf import Rows
from onewafer.server.scheduler.launching import Launch, Ready
from onewafer.server.scheduler.sequences import Arrival, Began, Finished, Sequence, Token
from onewafer.server.scheduler.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Several

    from onewafer.perf import LaunchTime, ServedSystem
    from onewafer.server.scheduler.sequences import Happening

    _Event: TypeAlias = Arrival | Launch
    """The arrival of a sequence, or the end of a launch."""


@dataclass(slots=True)
class IdlePower:
    """Divides the idle energy equally among the sequences on the system."""

    watts: float
    _joules: float = 0.0
    """The integral of idle power ÷ number of sequences, over time."""
    _since: float = 0.0
    _at_entry: dict[int, float] = field(default_factory=dict[int, float])

    def enter(self, sequence_id: int, now: float) -> None:
        """Add a sequence."""
        self._advance(now)
        self._at_entry[sequence_id] = self._joules

    def leave(self, sequence_id: int, now: float) -> float:
        """Remove a sequence, and return its joules."""
        self._advance(now)
        return self._joules - self._at_entry.pop(sequence_id)

    def forget(self, sequence_id: int, now: float) -> None:
        """Remove a sequence, if it is there."""
        self._advance(now)
        self._at_entry.pop(sequence_id, None)

    def _advance(self, now: float) -> None:
        if self._at_entry:
            self._joules += self.watts * (now - self._since) / len(self._at_entry)
        self._since = now


_KEPT_TIMES = 16_384
"""The most cached times of launches, most of which have the same rows as an earlier one."""


class Timeline:
    """The sequences on one system.

    `now` is in seconds from 0. The events depend only on the arrivals and the answers, not on the
    steps in which `run` is called.
    """

    def __init__(self, system: ServedSystem) -> None:
        self.system = system
        self.now = 0.0
        self._time = lru_cache(_KEPT_TIMES)(system.time)

        def time_of_token(position: int) -> LaunchTime:
            return system.time(Rows(1, position))

        self._time_of_token = lru_cache(_KEPT_TIMES)(time_of_token)
        self._times_of_parts: dict[int, Callable[[int], LaunchTime]] = {}
        self._events: list[tuple[float, int, _Event]] = []
        self._order = count()
        self._waiting: deque[Sequence] = deque()
        self._on_the_way: set[int] = set()
        """Sequences that were submitted and have not arrived at the system."""
        self._sequences: dict[int, Sequence] = {}
        self._slots = Slots(system.replicas, system.num_slots, system.room_tokens)
        self._ready = [Ready(replica) for replica in range(system.replicas)]
        self._free_at = [0.0] * system.replicas
        """The earliest time of each replica's next launch."""
        self._done_at = [0.0] * system.replicas
        """The end of each replica's last launch; launches end in order."""
        self._enters_at = [math.inf] * system.replicas
        """The time of each replica's next launch, after all events of that time; infinite: no
        sequence is ready."""
        self._power = IdlePower(system.idle_watts)
        self._happened: list[Happening] = []
        self._left = 0
        """The launches left in this call of `run`."""

    @property
    def num_waiting(self) -> int:
        """Number of sequences without a slot, apart from future arrivals."""
        return len(self._waiting) + len(self._on_the_way)

    def num_waiting_with(self, more: int) -> int:
        """Return the number of sequences without a slot if `more` were submitted now."""
        free = 0 if self._waiting else self._slots.num_free
        return max(0, self.num_waiting + more - free)

    @property
    def num_running(self) -> int:
        """Number of sequences with a slot."""
        return self._slots.num_taken

    @property
    def cache_fraction(self) -> float:
        """The reserved share of the KV cache, 0 to 1."""
        return self._slots.fraction_in_use

    @property
    def is_idle(self) -> bool:
        """True if there are no sequences and no events."""
        return not (self._sequences or self._events)

    @property
    def lacks_token(self) -> bool:
        """True if the next event needs a token that is not known yet."""
        if not self._events or self._events[0][0] > min(self._enters_at):
            return False
        event = self._events[0][2]
        return isinstance(event, Launch) and not _is_known(event)

    @property
    def next_seconds(self) -> float | None:
        """The time of the next known event or launch; None: there is none."""
        entering = min(self._enters_at)
        following = min(self._events[0][0], entering) if self._events else entering
        return following if following < math.inf else None

    def can_go_on(self, until: float) -> bool:
        """Tell whether `run` would advance to an event at or before a time."""
        following = self.next_seconds
        return following is not None and following <= until and not self.lacks_token

    def arrive(self, arrival: Arrival) -> None:
        """Submit a sequence that arrives now or later.

        Its `reserved_tokens` must fit the system's KV cache.
        """
        assert arrival.id not in self._sequences, "ids are used once"
        assert len(arrival.prompt) >= 1, "a prompt has a token"
        assert arrival.most_tokens >= 1, "an answer has a token"
        assert arrival.reserved_tokens <= self.system.room_tokens, "it would wait forever"
        self._sequences[arrival.id] = Sequence(arrival)
        if arrival.seconds <= self.now:
            self._on_the_way.add(arrival.id)
        self._at(max(arrival.seconds, self.now) + self.system.request_seconds, arrival)

    def tell(self, sequence_id: int, tokens: Several[int], *, is_all: bool) -> None:
        """Add known tokens of an answer; `is_all`: they are the last ones."""
        sequence = self._sequences.get(sequence_id)
        if sequence is not None:
            sequence.computed.extend(tokens)
            sequence.is_known = is_all
            assert sequence.computed or not is_all, "an answer has a token"

    def give_up(self, sequence_id: int) -> None:
        """Cancel a sequence, and free its slot at once."""
        sequence = self._sequences.pop(sequence_id, None)
        if sequence is None:
            return
        sequence.is_given_up = True
        self._on_the_way.discard(sequence_id)
        if not sequence.has_come:
            self._forget_arrival(sequence.arrival)
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence.slot is not None:
            ready = self._ready[sequence.slot.replica]
            ready.forget(sequence)
            if not ready:
                self._enters_at[ready.replica] = math.inf
            self._release(sequence)
            self._admit()
        self._power.forget(sequence_id, self.now)

    def _forget_arrival(self, arrival: Arrival) -> None:
        """Remove the event of an arrival."""
        self._events = [entry for entry in self._events if entry[2] is not arrival]
        heapq.heapify(self._events)

    def run(self, until: float = math.inf, *, most_launches: int = sys.maxsize) -> list[Happening]:
        """Simulate up to a time, or until a token is not known, or for `most_launches`.

        Returns the events. If it was not stopped early, `now` is `until` afterwards, or the time of
        the last event if that is infinite.
        """
        happened, self._happened = self._happened, []
        self._left = most_launches
        events, enters_at = self._events, self._enters_at
        while True:
            entering = min(enters_at)
            seconds = events[0][0] if events else math.inf
            following = min(seconds, entering)
            if following > until or following == math.inf:
                break
            if self._left <= 0:
                return happened + self._take()
            if entering < seconds:
                self.now = entering
                self._let_in(self._ready[enters_at.index(entering)], until)
                continue
            event = events[0][2]
            if isinstance(event, Arrival):
                heapq.heappop(events)
                self.now = seconds
                self._come(event)
            elif _is_known(event):
                heapq.heappop(events)
                self.now = seconds
                self._finish(event)
            else:
                return happened + self._take()
        if until < math.inf:
            self.now = max(self.now, until)
        return happened + self._take()

    def _take(self) -> list[Happening]:
        happened, self._happened = self._happened, []
        return happened

    def _at(self, seconds: float, event: _Event) -> None:
        heapq.heappush(self._events, (seconds, next(self._order), event))

    def _come(self, arrival: Arrival) -> None:
        self._on_the_way.discard(arrival.id)
        sequence = self._sequences[arrival.id]
        sequence.has_come = True
        self._power.enter(arrival.id, self.now)
        self._waiting.append(sequence)
        self._admit()

    def _admit(self) -> None:
        """Give slots to waiting sequences, in order."""
        while self._waiting:
            sequence = self._waiting[0]
            arrival = sequence.arrival
            taken = self._slots.take(arrival.prompt, reserved=arrival.reserved_tokens)
            if taken is None:
                return
            self._waiting.popleft()
            sequence.slot, sequence.cached = taken
            sequence.read = sequence.cached
            sequence.part_rows = self.system.part_rows(sequence.left_to_read)
            self._happened.append(Began(sequence.arrival.id, self.now, sequence.cached))
            ready = self._ready[sequence.slot.replica]
            ready.prompts.append((self.now, sequence))
            self._call(ready)

    def _call(self, ready: Ready) -> None:
        """Schedule the next launch of a replica."""
        replica = ready.replica
        if self._enters_at[replica] == math.inf and ready:
            self._enters_at[replica] = max(self.now, self._free_at[replica])

    def _let_in(self, ready: Ready, until: float) -> None:
        """Start the next launch of a replica, or several that only read a prompt."""
        replica = ready.replica
        self._enters_at[replica] = math.inf
        if self.system.is_mixed:
            self._launch(ready)
        elif ready.has_one_token:
            self._launch_token(ready)
        elif (reader := ready.reader()) is not None:
            self._read_on(reader, ready, until)
        else:
            self._launch(ready)
        if ready:
            self._enters_at[replica] = self._free_at[replica]

    def _time_of_part(self, rows: int) -> Callable[[int], LaunchTime]:
        """Return the cached function from the position of a prompt chunk of `rows` to its time."""
        found = self._times_of_parts.get(rows)
        if found is None:

            def time_of(position: int) -> LaunchTime:
                return self.system.time(Rows(0, 0, 1, rows, position))

            found = self._times_of_parts[rows] = lru_cache(_KEPT_TIMES)(time_of)
        return found

    def _read_on(self, sequence: Sequence, ready: Ready, until: float) -> None:
        """Start consecutive launches of prompt chunks, none of them the last.

        Equivalent to `_launch` for each, in half the time: a prompt may have hundreds.
        """
        rows, read = sequence.part_rows, sequence.read
        time_of = self._time_of_part(rows)
        last = len(sequence.arrival.prompt) - rows
        now, done, left = self.now, self._done_at[ready.replica], self._left
        limit = min(self._enters_at)  # of other replicas
        if self._events:
            limit = min(limit, self._events[0][0])
        joules = sequence.joules
        if sequence.first_launch is None:
            sequence.first_launch = now
        while True:
            time = time_of(read)
            read += rows
            joules += time.joules / rows * rows
            following = now + time.period_seconds
            done = max(now + time.latency_seconds, done + time.period_seconds)
            left -= 1
            if following > until or following >= limit or not left or read >= last:
                break
            now = following
        sequence.launches += self._left - left
        sequence.read, sequence.joules, self._left = read, joules, left
        self.now, self._free_at[ready.replica], self._done_at[ready.replica] = now, following, done
        ready.note_part(now)

    def _launch(self, ready: Ready) -> None:
        now = self.now
        self._left -= 1
        entering = ready.next_rows(self.system, now)
        rows = entering.rows
        time = self._time(rows)
        joules = time.joules / (rows.tokens + rows.prompt_rows)
        for sequence in entering.tokens:  # their first launches were prompt chunks
            sequence.launches += 1
            sequence.joules += joules
        for part in entering.parts:
            part.sequence.enter(now, joules * part.rows)
        self._go_in(Launch(ready.replica, entering.yielding), time)

    def _launch_token(self, ready: Ready) -> None:
        """Start a launch of one decode row: most launches of a wafer have one.

        Equivalent to `_launch`, in half the time.
        """
        self._left -= 1
        sequence = ready.take_token()
        time = self._time_of_token(sequence.position)
        sequence.launches += 1
        sequence.joules += time.joules
        self._go_in(Launch(ready.replica, (sequence,)), time)

    def _go_in(self, launch: Launch, time: LaunchTime) -> None:
        """Set the earliest time of the next launch, and the end of this one."""
        now, replica = self.now, launch.replica
        self._free_at[replica] = now + time.period_seconds
        done = max(now + time.latency_seconds, self._done_at[replica] + time.period_seconds)
        self._done_at[replica] = done
        if launch.yielding:  # else its end changes nothing
            self._at(done, launch)

    def _finish(self, launch: Launch) -> None:
        for sequence in launch.yielding:
            if not sequence.is_given_up:
                self._produce(sequence, launch.replica)
        self._call(self._ready[launch.replica])

    def _produce(self, sequence: Sequence, replica: int) -> None:
        index, sequence_id = sequence.produced, sequence.arrival.id
        sequence.produced += 1
        if index == 0:
            sequence.first_token = self.now
        self._happened.append(Token(sequence_id, index, self.now))
        if not sequence.is_known or sequence.produced < len(sequence.computed):
            self._ready[replica].tokens.append((self.now, sequence))
            return
        sequence.joules += self._power.leave(sequence_id, self.now)
        self._happened.append(Finished(sequence_id, sequence.times(self.now)))
        del self._sequences[sequence_id]
        self._release(sequence)
        self._admit()

    def _release(self, sequence: Sequence) -> None:
        """Free the slot of a sequence, whose last token is not in the cache."""
        assert sequence.slot is not None, "it has one"
        read = max(0, sequence.produced - 1)
        prompt = sequence.arrival.prompt[: sequence.read]
        self._slots.release(sequence.slot, (*prompt, *sequence.computed[:read]))
        sequence.slot = None


def _is_known(launch: Launch) -> bool:
    """Tell whether all tokens that a launch yields are known."""
    for sequence in launch.yielding:  # a loop, for speed
        if not sequence.is_given_up and len(sequence.computed) <= sequence.produced:
            return False
    return True
