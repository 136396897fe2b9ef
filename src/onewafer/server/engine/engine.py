"""The engine: computes answers, and lets the clock of the served system follow.

    submit ─▶ values: prompts and tokens, as fast as this computer can ─▶ readers: events
          └▶ timeline: the same tokens, in the time of the served system ─▶ when they are let out

One thread calls it. Nothing here waits; `run_once` says how long the caller may.
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
"""Tokens that are made up ahead of the served system, all answers together."""
_LAUNCHES_AT_A_TIME = 2_048
"""Launches of the served system that are followed in one go, in a few milliseconds."""
_SEED_STEP = 0x9E3779B97F4A7C15
"""Between the seeds of the answers of one request: odd, so that no two are equal."""
_MOST_RETRY_SECONDS = 30.0
"""Clients that are told to come again later than in a minute give up instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How answers are let out, and how many requests wait."""

    pace: Pace = Pace.HOST
    is_synthetic: bool = False
    """True if values are made up, in no time: then the system's clock is the clock of the day."""
    most_waiting: int = 256
    """Answers that may wait for a slot; with more, requests are refused."""
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
        """How far the clock may go in pace `virtual`."""
        self._requests: dict[str, Request] = {}
        self._answers: dict[int, Answer] = {}
        self._ids = count(1)
        self._to_begin: deque[Answer] = deque()
        self._running: dict[int, Answer] = {}
        """Answers that values compute."""
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
        """Begin a request, or tell its listener why not."""
        try:
            self._submit(asked, listener)
        except RequestError as error:
            listener.fail(error)
        except Exception as error:  # noqa: BLE001  # it is the end of this request alone
            listener.fail(self._broken(asked.generation.id, error))
            self.give_up(asked.generation.id)

    def give_up(self, request_id: str) -> None:
        """Forget a request, whose client has gone."""
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
        """Let the clock go on in pace `virtual`; return how far it may go."""
        self._until += seconds
        return self._until

    def run_once(self) -> float | None:
        """Do what can be done at once; return in how many seconds there is more, None: never."""
        self._compute()
        self._follow()
        waits = [self._release.run(), self._seconds_to_event()]
        if self._to_begin or (self._running and not self._is_far_ahead()):
            return 0.0
        if self.timeline.can_go_on(self._horizon()):
            return 0.0
        return min((wait for wait in waits if wait is not None), default=None)

    def fail_all(self, error: Exception) -> None:
        """Break off every request; everyone is told, even if the engine cannot tidy up."""
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
        """Return the prompts, for answers that begin with them."""
        texts = [self._language.echoed(one) for one in generation.each()]
        answers = range(generation.total_answers)
        each = generation.num_answers
        return [
            Delta(answer=i, text=texts[i // each], tokens=()) for i in answers if texts[i // each]
        ]

    def _begin(self, request: Request, index: int, most_tokens: int) -> Answer:
        """Return one of the answers of a request, with what it would have alone."""
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
        """Return how many tokens an answer may have."""
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
        """Refuse a request whose answers would wait behind too many; one that is alone may come."""
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
        """Return a time in which some answers end: as long as the oldest one has taken."""
        age = self._clock() - min(request.began for request in self._requests.values())
        return min(max(1.0, age), _MOST_RETRY_SECONDS)

    def _arrival_seconds(self, generation: Generation) -> float:
        """Return when a request arrives, on the clock of the served system."""
        if self.options.pace is Pace.VIRTUAL:
            wanted = generation.arrival_seconds
            return self.timeline.now if wanted is None else max(wanted, self.timeline.now)
        if self._is_live:
            return self._clock() - self._started_at
        if self.timeline.is_idle:  # it has waited as long as this computer has
            self.timeline.run(self.timeline.now + self._clock() - self._idle_since)
        return self.timeline.now

    @property
    def _is_live(self) -> bool:
        """True if the clock of the served system is that of the day."""
        return self.options.pace is Pace.WAFER and self.options.is_synthetic

    def _horizon(self) -> float:
        """Return how far the clock of the served system may go."""
        if self.options.pace is Pace.VIRTUAL:
            return self._until
        return self._clock() - self._started_at if self._is_live else math.inf

    def _compute(self) -> None:
        """Give sequences slots, and let the model make a step."""
        while self._to_begin and len(self._running) < self._values.num_slots:
            answer = self._to_begin.popleft()
            try:
                self._values.begin(answer.sequence)
            except Exception as error:  # noqa: BLE001  # it is the end of this request alone
                self._break_off(answer.request, error)
            else:
                self._running[answer.sequence.id] = answer
        if self._running and not self._is_far_ahead():
            for one in self._step():
                answer = self._running.get(one.id)
                if answer is None:  # another answer of its request has broken off
                    continue
                try:
                    self._take(answer, one)
                except Exception as error:  # noqa: BLE001  # likewise
                    self._break_off(answer.request, error)

    def _step(self) -> Sequence[Produced | Failed]:
        """Let the model make a step; what it raises is the end of all answers that it computes."""
        try:
            return self._values.step()
        except Exception as error:  # noqa: BLE001  # those that wait go on
            for request in dict.fromkeys(answer.request for answer in self._running.values()):
                self._break_off(request, error)
            return ()

    def _break_off(self, request: Request, error: Exception) -> None:
        """End one request, and tell its client."""
        request_id = request.asked.generation.id
        request.listener.fail(self._broken(request_id, error))
        self.give_up(request_id)

    def _broken(self, request_id: str, error: Exception) -> BrokenError:
        _logger.error("request %s broke off", request_id, exc_info=error)
        return BrokenError("the answer broke off by a bug of the server, whose log says more")

    def _is_far_ahead(self) -> bool:
        """Tell whether the system can go on for long with the tokens that are known."""
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
        """Let the clock of the served system go on."""
        was_idle = self.timeline.is_idle
        for happening in self.timeline.run(self._horizon(), most_launches=_LAUNCHES_AT_A_TIME):
            self._note(happening)
        if not was_idle and self.timeline.is_idle:
            self._idle_since = self._clock()

    def _note(self, happening: Happening) -> None:
        answer = self._answers.get(happening.id)
        if answer is None:  # its client has gone
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
        """Return how long nothing happens on a clock that is that of the day."""
        following = self.timeline.next_seconds
        if not self._is_live or following is None:
            return None
        return max(0.0, following - (self._clock() - self._started_at))


def _seeded(sampling: Sampling, index: int) -> Sampling:
    """Return sampling with a seed of its own for each answer of a request, where one matters."""
    is_seeded = index == 0 and sampling.seed is not None
    if is_seeded or not sampling.temperature:
        return sampling
    seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
    return replace(sampling, seed=seed if index == 0 else seed + index * _SEED_STEP)
