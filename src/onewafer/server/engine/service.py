"""The implementation of `Service` by an engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from onewafer.server.contract.events import Alternative, Completed
from onewafer.server.contract.failures import RequestError, UnavailableError, UnknownModelError
from onewafer.server.contract.service import Counters, Health, Service
from onewafer.server.engine.mailbox import Mailbox, Outbox
from onewafer.server.engine.requests import Asked, Pace
from onewafer.server.engine.runners import EngineThread, EngineTurns
from onewafer.server.scheduler import Arrival, Finished, Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from onewafer.perf import ServedSystem
    from onewafer.server.contract.events import Event, Lengths
    from onewafer.server.contract.generation import Generation
    from onewafer.server.contract.service import ServedModel
    from onewafer.server.engine.engine import Engine
    from onewafer.server.engine.runners import Runner
    from onewafer.server.text import Language


@dataclass(frozen=True, slots=True)
class Loaded:
    """The parts of the server that exist once the model is loaded."""

    model: ServedModel
    language: Language
    engine: Engine
    system: ServedSystem
    notes: tuple[str, ...] = ()
    """Remarks for the user, a sentence each."""
    against: ServedSystem | None = None
    """Another system to compare each answer with."""

    def compared(self, completed: Completed) -> Completed:
        """Return the last event of a request with the times on the other system."""
        assert self.against is not None
        alternative = alone(self.against, completed.lengths)
        return replace(completed, times=replace(completed.times, alternative=alternative))


MOST_CHARACTERS = 4_000
"""The longest prompt that is tokenized in the event loop: about a thousand tokens, in 1 ms."""
_Read = TypeVar("_Read")


class LiveService(Service):
    """A service that is loading until `begin`, and refuses new requests after `drain`."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._runner: Runner | None = None
        self._outbox = Outbox()
        self._is_draining = False
        self._until = 0.0
        """The time to which the clock was advanced, in pace `virtual`."""

    def begin(self, loaded: Loaded) -> None:
        """Start to answer requests with a loaded model; may be called in any thread."""
        is_made_up = loaded.engine.options.is_synthetic
        self._runner = (EngineTurns if is_made_up else EngineThread)(loaded.engine, self._outbox)
        self._loaded = loaded

    def drain(self) -> None:
        """Refuse new requests; open ones go on."""
        self._is_draining = True

    def close(self) -> None:
        """Stop the engine; no answer may be open."""
        if self._runner is not None:
            self._runner.stop()

    @property
    def health(self) -> Health:
        if self._is_draining:
            return Health.DRAINING
        return Health.LOADING if self._loaded is None else Health.READY

    @property
    def models(self) -> Sequence[ServedModel]:
        return () if self._loaded is None else (self._loaded.model,)

    @property
    def counters(self) -> Counters:
        if self._loaded is None:
            return Counters(running=0, waiting=0, cache_fraction=0.0, most_waiting=0)
        engine = self._loaded.engine
        return Counters(
            running=engine.timeline.num_running,
            waiting=engine.timeline.num_waiting,
            cache_fraction=engine.timeline.cache_fraction,
            most_waiting=engine.options.most_waiting,
        )

    async def count_tokens(self, generation: Generation) -> int:
        loaded, _ = self._ready(generation.model)
        return len(await _beside(loaded.language.read_prompt, generation))

    async def answer(self, generation: Generation) -> AsyncGenerator[Sequence[Event], None]:
        loaded, runner = self._ready(generation.model)
        engine = loaded.engine
        asked = await _read(loaded.language, generation)
        mailbox = Mailbox(self._outbox)
        runner.do(lambda: engine.submit(asked, mailbox))
        try:
            while True:
                events = await mailbox.take()
                last = events[-1]
                if not isinstance(last, Completed):
                    yield events
                    continue
                if loaded.against is not None:  # in a thread, so that other answers do not wait
                    last = await asyncio.to_thread(loaded.compared, last)
                yield (*events[:-1], last)
                return
        except BaseException:  # the client has disconnected, for instance
            runner.do(lambda: engine.give_up(generation.id))
            raise

    def advance(self, seconds: float) -> float:
        if self._loaded is None or self._runner is None:
            raise UnavailableError("the model is being loaded; try again in a few seconds")
        engine = self._loaded.engine
        if engine.options.pace is not Pace.VIRTUAL:
            raise RequestError(
                f"the clock cannot be moved: the server runs with --pace {engine.options.pace}; "
                "start it with --pace virtual"
            )
        self._runner.do(lambda: engine.advance(seconds))
        self._until += seconds
        return self._until

    def _ready(self, model: str) -> tuple[Loaded, Runner]:
        """Return the parts for a model, or refuse the request."""
        if self._is_draining:
            raise UnavailableError("the server ends, and takes nothing new")
        if self._loaded is None or self._runner is None:
            raise UnavailableError("the model is being loaded; try again in a few seconds")
        if model != self._loaded.model.id:
            raise UnknownModelError(
                f"there is no model {model!r} here; this server has {self._loaded.model.id!r}",
                param="model",
                code="model_not_found",
            )
        return self._loaded, self._runner


async def _read(language: Language, generation: Generation) -> Asked:
    """Tokenize the prompts of a request and compile its grammar."""
    return await _beside(
        lambda asked: Asked(
            generation=asked,
            prompts=tuple(map(language.read_prompt, asked.each())),
            grammar=language.read_grammar(asked),
        ),
        generation,
    )


async def _beside(read: Callable[[Generation], _Read], generation: Generation) -> _Read:
    """Return the result of `read`, called in a thread unless the request is short.

    A short prompt takes less time than starting a thread.
    """
    is_short = generation.is_free and generation.num_characters <= MOST_CHARACTERS
    return read(generation) if is_short else await asyncio.to_thread(read, generation)


_APART = 1 << 32
"""The distance between the made-up tokens of two prompts, so that no prefix is shared."""


def alone(system: ServedSystem, lengths: Sequence[Lengths]) -> Alternative | None:
    """Return the times of a request alone on a system; None: it is longer than the context."""
    timeline, ids = Timeline(system), count()
    room = min(system.context, system.room_tokens)
    if any(one.prompt_tokens + max(one.answer_tokens) > room for one in lengths):
        return None
    for number, one in enumerate(lengths):
        first = number * _APART
        prompt = range(first, first + one.prompt_tokens)
        for length, index in zip(one.answer_tokens, ids, strict=False):
            timeline.arrive(Arrival(id=index, seconds=0.0, prompt=prompt, most_tokens=length))
            timeline.tell(index, range(length), is_all=True)
    all_times = [one.times for one in timeline.run() if isinstance(one, Finished)]
    total = max(times.last_token_seconds for times in all_times)
    return Alternative(
        system=system.name,
        ttft_seconds=min(times.first_token_seconds for times in all_times),
        tokens_per_second=sum(times.answer_tokens for times in all_times) / total,
        total_seconds=total,
    )
