"""The engine: computes answers, and simulates their timing on the served system.

    submit ─▶ values: tokens, as fast as this computer can ─▶ listeners: events
          └▶ timeline: the same tokens, in the time of the served system ─▶ when events are sent

One thread calls it. Nothing here blocks; `run_once` returns how long the caller may sleep.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections import deque
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from onewafer.server.contract.events import Delta, Started
from onewafer.server.contract.failures import BrokenError, BusyError, RequestError
from onewafer.server.contract.values import Failed, SequenceRequest
from onewafer.server.engine.release import AsTheyLeave, Release, Replayed
from onewafer.server.engine.requests import Answer, Pace, Request
from onewafer.server.scheduler import Arrival, Began, Finished, Timeline, Token
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.perf import ServedSystem
    from onewafer.server.contract.generation import Generation, Sampling
    from onewafer.server.contract.values import Produced, Values
    from onewafer.server.engine.mailbox import Mailbox
    from onewafer.server.engine.requests import Asked
    from onewafer.server.scheduler import Happening
    from onewafer.server.text import Language

_logger = logging.getLogger(__name__)
_MOST_HELD = 65_536
"""The most synthetic tokens computed ahead of the served system, all answers together."""
_LAUNCHES_AT_A_TIME = 2_048
"""The most launches simulated in one call, which takes a few milliseconds."""
_SEED_STEP = 0x9E3779B97F4A7C15
"""The distance between seeds of a request's answers: odd, so that no two are equal."""
_MOST_RETRY_SECONDS = 30.0
"""The longest `retry-after`: clients give up if it is more than a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The pace of answers, and the limits of the queue and the context."""

    pace: Pace = Pace.HOST
    is_synthetic: bool = False
    """True if values are synthetic, which takes no time: the system's clock is then real time."""
    most_waiting: int = 256
    """The most answers in the queue; beyond it, requests are refused."""
    context_length: int = 2_048
    """Tokens of prompt and answer."""


class Engine:
    """Answers requests on one served system."""

    def __init__(
        self,
        language: Language,
        values: Values,
        system: ServedSystem,
        options: EngineOptions,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.timeline = Timeline(system)
        self.options = options
        self._language = language
        self._values = values
        self._system = system
        self._clock = clock
        self._started_at = self._idle_since = clock()
        self._until = 0.0
        """The time up to which the clock may run in pace `virtual`."""
        self._requests: dict[str, Request] = {}
        self._answers: dict[int, Answer] = {}
        self._ids = count(1)
        self._to_begin: deque[Answer] = deque()
        self._running: dict[int, Answer] = {}
        """The answers that are being computed, by sequence id."""
        self._release = self._new_release()

    def _new_release(self) -> Release:
        match self.options.pace:
            case Pace.HOST:
                return Release()
            case Pace.WAFER if not self.options.is_synthetic:
                return Replayed(self._clock)
            case _:
                return AsTheyLeave()

    def submit(self, asked: Asked, listener: Mailbox) -> None:
        """Begin a request, or report the error to its listener."""
        try:
            self._submit(asked, listener)
        except RequestError as error:
            listener.fail(error)
        except Exception as error:  # noqa: BLE001  # only this request fails
            listener.fail(self._broken(asked.generation.id, error))
            self.give_up(asked.generation.id)

    def give_up(self, request_id: str) -> None:
        """Cancel a request, whose client has disconnected."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return
        for answer in request.answers:
            sequence_id = answer.sequence.id
            self.timeline.give_up(sequence_id)
            if self._running.pop(sequence_id, None) is not None:
                self._values.end(sequence_id)
            self._answers.pop(sequence_id, None)
        self._to_begin = deque(one for one in self._to_begin if one.request is not request)
        self._release.forget(request)

    def advance(self, seconds: float) -> float:
        """Let the clock advance in pace `virtual`; return the time up to which it may run."""
        self._until += seconds
        return self._until

    def run_once(self) -> float | None:
        """Do all work that is due; return the seconds until there is more, None: not known."""
        self._compute()
        self._follow()
        waits = [self._release.run(), self._seconds_to_event()]
        if self._to_begin or (self._running and not self._is_far_ahead()):
            return 0.0
        if self.timeline.can_go_on(self._horizon()):
            return 0.0
        return min((wait for wait in waits if wait is not None), default=None)

    def fail_all(self, error: Exception) -> None:
        """Fail every request; all listeners are told before the engine cleans up."""
        requests = tuple(self._requests.items())
        for _, request in requests:
            request.listener.fail(error)
        for request_id, _ in requests:
            self.give_up(request_id)

    def _submit(self, asked: Asked, listener: Mailbox) -> None:
        generation = asked.generation
        most = [self._most_tokens(generation, prompt) for prompt in asked.prompts]
        self._check_queue(generation.total_answers)
        request = Request(asked, listener, began=self._clock())
        self._requests[generation.id] = request
        seconds = self._arrival_seconds(generation)
        for index in range(generation.total_answers):
            which = index // generation.num_answers
            answer = self._begin(request, index, most[which])
            sequence_id, prompt = answer.sequence.id, answer.sequence.prompt
            self._answers[sequence_id] = answer
            self._to_begin.append(answer)
            self.timeline.arrive(
                Arrival(id=sequence_id, seconds=seconds, prompt=prompt, most_tokens=most[which])
            )
        self._follow()
        num_tokens = sum(map(len, asked.prompts))
        listener.hear((Started(prompt_tokens=num_tokens, cached_tokens=request.cached_tokens),))
        listener.hear(self._echoes(generation))

    def _echoes(self, generation: Generation) -> list[Delta]:
        """Return the texts of prompts, for answers that begin with them (`echo`)."""
        texts = [self._language.echoed(one) for one in generation.each()]
        answers = range(generation.total_answers)
        each = generation.num_answers
        return [
            Delta(answer=i, text=texts[i // each], tokens=()) for i in answers if texts[i // each]
        ]

    def _begin(self, request: Request, index: int, most_tokens: int) -> Answer:
        """Make an answer of a request, with the seed that it would have in a request of its own."""
        asked = request.asked
        generation, grammar = asked.generation, asked.grammar
        which, of_prompt = divmod(index, generation.num_answers)
        sequence = SequenceRequest(
            id=next(self._ids),
            prompt=asked.prompts[which],
            sampling=_seeded(generation.sampling, of_prompt),
            constraint=None if grammar is None else grammar.begin(),
            top_logprobs=generation.top_logprobs,
        )
        text = self._language.begin_answer(generation, index, most_tokens=most_tokens)
        answer = Answer(request, index, sequence, text)
        request.answers.append(answer)
        return answer

    def _most_tokens(self, generation: Generation, prompt: tuple[int, ...]) -> int:
        """Return the most tokens of an answer, or refuse a request that exceeds the context."""
        context = self.options.context_length
        left = context - len(prompt)
        if left < 1:
            raise RequestError(
                f"the prompt has {len(prompt):,} tokens, and the context {context:,} for prompt "
                "and answer; shorten the prompt",
                code="context_length_exceeded",
            )
        wanted = generation.max_tokens
        if wanted is not None and wanted > left:
            raise RequestError(
                f"the prompt has {len(prompt):,} tokens and the answer may have {wanted:,}: "
                f"together more than the context of {context:,}; ask for at most {left:,}",
                code="context_length_exceeded",
            )
        return left if wanted is None else wanted

    def _check_queue(self, num_answers: int) -> None:
        """Refuse a request if the queue would be too long; an idle server takes any request."""
        timeline, most = self.timeline, self.options.most_waiting
        waiting = timeline.num_waiting
        is_alone = not waiting and not timeline.num_running
        if not is_alone and timeline.num_waiting_with(num_answers) > most:
            raise BusyError(
                f"the queue is full: {count_of(waiting, 'answer')} in it, of {most:,} that may be; "
                "try again later",
                retry_after_seconds=self._retry_seconds(),
            )

    def _retry_seconds(self) -> float:
        """Return an estimate of the time until an answer ends: the age of the oldest request."""
        age = self._clock() - min(request.began for request in self._requests.values())
        return min(max(1.0, age), _MOST_RETRY_SECONDS)

    def _arrival_seconds(self, generation: Generation) -> float:
        """Return the arrival of a request on the clock of the served system."""
        if self.options.pace is Pace.VIRTUAL:
            wanted = generation.arrival_seconds
            return self.timeline.now if wanted is None else max(wanted, self.timeline.now)
        if self._is_live:
            return self._clock() - self._started_at
        if self.timeline.is_idle:  # it was idle for as long as this computer was
            self.timeline.run(self.timeline.now + self._clock() - self._idle_since)
        return self.timeline.now

    @property
    def _is_live(self) -> bool:
        """True if the clock of the served system is real time."""
        return self.options.pace is Pace.WAFER and self.options.is_synthetic

    def _horizon(self) -> float:
        """Return the time up to which the clock of the served system may run."""
        if self.options.pace is Pace.VIRTUAL:
            return self._until
        return self._clock() - self._started_at if self._is_live else math.inf

    def _compute(self) -> None:
        """Give sequences slots, and let the model compute a step."""
        while self._to_begin and len(self._running) < self._values.num_slots:
            answer = self._to_begin.popleft()
            try:
                self._values.begin(answer.sequence)
            except Exception as error:  # noqa: BLE001  # only this request fails
                self._break_off(answer.request, error)
            else:
                self._running[answer.sequence.id] = answer
        if self._running and not self._is_far_ahead():
            for one in self._step():
                answer = self._running.get(one.id)
                if answer is None:  # another answer of its request has failed
                    continue
                try:
                    self._take(answer, one)
                except Exception as error:  # noqa: BLE001  # likewise
                    self._break_off(answer.request, error)

    def _step(self) -> Sequence[Produced | Failed]:
        """Let the model compute a step; an exception fails all running requests."""
        try:
            return self._values.step()
        except Exception as error:  # noqa: BLE001  # the queue is not affected
            for request in dict.fromkeys(answer.request for answer in self._running.values()):
                self._break_off(request, error)
            return ()

    def _break_off(self, request: Request, error: Exception) -> None:
        """Fail one request."""
        request_id = request.asked.generation.id
        request.listener.fail(self._broken(request_id, error))
        self.give_up(request_id)

    def _broken(self, request_id: str, error: Exception) -> BrokenError:
        _logger.error("request %s broke off", request_id, exc_info=error)
        return BrokenError("the answer broke off by a bug of the server, whose log says more")

    def _is_far_ahead(self) -> bool:
        """Tell whether so many tokens are computed ahead that the timeline need not wait."""
        return self._release.num_held >= _MOST_HELD and not self.timeline.lacks_token

    def _take(self, answer: Answer, produced: Produced | Failed) -> None:
        if isinstance(produced, Failed):
            raise produced.error
        answer.simulated = produced.simulated
        request, events = answer.request, answer.text.take(produced)
        request.computed = self._clock()
        if request.first_token is None:
            request.first_token = request.computed
        is_all = answer.text.has_ended
        if is_all:
            del self._running[produced.id]
            self._values.end(produced.id)
        self._release.compute(answer, events)
        self.timeline.tell(produced.id, (produced.token,), is_all=is_all)

    def _follow(self) -> None:
        """Advance the clock of the served system."""
        was_idle = self.timeline.is_idle
        for happening in self.timeline.run(self._horizon(), most_launches=_LAUNCHES_AT_A_TIME):
            self._note(happening)
        if not was_idle and self.timeline.is_idle:
            self._idle_since = self._clock()

    def _note(self, happening: Happening) -> None:
        answer = self._answers.get(happening.id)
        if answer is None:  # it was cancelled
            return
        match happening:
            case Began():
                answer.request.note_cached(answer, happening.cached_tokens)
            case Token():
                answer.note_left(happening.seconds)
                self._release.leave(answer, happening.seconds)
            case Finished():
                answer.times = happening.times
                del self._answers[happening.id]
                if answer.request.is_done:
                    self._complete(answer.request)

    def _complete(self, request: Request) -> None:
        del self._requests[request.asked.generation.id]
        completed = request.completed(
            system=self._system.name,
            clock_hertz=self._system.clock_hertz,
            is_synthetic=self.options.is_synthetic,
        )
        self._release.complete(request, completed)

    def _seconds_to_event(self) -> float | None:
        """Return the seconds to the timeline's next event, if its clock is real time."""
        following = self.timeline.next_seconds
        if not self._is_live or following is None:
            return None
        return max(0.0, following - (self._clock() - self._started_at))


def _seeded(sampling: Sampling, index: int) -> Sampling:
    """Return the sampling with the seed of an answer; at temperature 0 it has no effect."""
    is_seeded = index == 0 and sampling.seed is not None
    if is_seeded or not sampling.temperature:
        return sampling
    seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
    return replace(sampling, seed=seed if index == 0 else seed + index * _SEED_STEP)
