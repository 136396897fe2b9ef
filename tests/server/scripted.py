"""A service whose answers are written down: every event is the test's."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass

from onewafer.server.contract.events import (
    Alternative,
    CallDelta,
    ChosenToken,
    Completed,
    Delta,
    Ended,
    Event,
    HostTimes,
    Reason,
    Started,
    SystemTimes,
    TokenLogprob,
    Usage,
)
from onewafer.server.contract.failures import BusyError, RequestError, UnknownModelError
from onewafer.server.contract.generation import (
    Conversation,
    Generation,
    JsonObject,
    JsonSchema,
    PlainText,
    ToolUse,
)
from onewafer.server.contract.service import Counters, Health, ServedModel

WORDS = ("The", " wafer", " says", " <b>hi</b>", " – ", "\u2028end")
"""The tokens of an answer: text that is no markup, and a separator that cuts lines elsewhere."""
TEXT = "".join(WORDS)
MODEL = "scripted"
TIMES = SystemTimes(
    system="cs3",
    arrival_seconds=2.0,
    queue_seconds=0.25,
    prompt_seconds=0.5,
    completion_seconds=1.0,
    launches=7,
    cycles=1_000_000,
    joules=3.5,
    alternative=Alternative(
        system="h100x8", ttft_seconds=0.125, tokens_per_second=40.0, total_seconds=2.5
    ),
)


@dataclass(frozen=True)
class Pause:
    """A wait between two items; `None`: until the request is given up."""

    seconds: float | None = None


Step = Sequence[Event] | Pause | Exception
Script = Callable[[Generation], Iterable[Step]]


def prompt_text(generation: Generation) -> str:
    """Return the last thing that was said."""
    match generation.prompt:
        case Conversation(messages):
            return messages[-1].text
        case PlainText(text):
            return text
        case tokens:
            return " ".join(map(str, tokens.ids))


def logprob(text: str, token: int, value: float) -> TokenLogprob:
    return TokenLogprob(token=text, data=text.encode(), id=token, logprob=value)


def completed(generation: Generation, num_tokens: int) -> Completed:
    each = num_tokens // generation.total_answers - 1
    gaps = (TIMES.completion_seconds / max(1, each),) * (each * generation.total_answers)
    return Completed(
        gaps=gaps,
        usage=Usage(prompt_tokens=12, cached_tokens=4, completion_tokens=num_tokens),
        times=TIMES,
        host=HostTimes(ttft_seconds=0.01, total_seconds=0.02),
        is_synthetic=generation.model == "synthetic",
    )


def say(generation: Generation) -> Iterable[Step]:
    """Answer with words, with JSON, or with a call, as the request wants it."""
    yield (Started(prompt_tokens=12, cached_tokens=4),)
    if generation.tools.use is ToolUse.REQUIRED:
        yield from call(generation)
        return
    words = WORDS
    if isinstance(generation.form, JsonObject | JsonSchema):
        words = ("{", '"name": "Ada"', ', "age": 36}')
    words = words[: generation.max_tokens]
    stops = [stop for stop in generation.stop if stop in TEXT]
    reason = Reason.STOP_TEXT if stops else Reason.LENGTH if len(words) < 3 else Reason.END
    for i, word in enumerate(words):
        yield tuple(
            Delta(answer=n, text=word, tokens=(i,), logprobs=probabilities(generation, word, i))
            for n in range(generation.total_answers)
        )
    ends = [
        Ended(answer=n, reason=reason, stop=stops[0] if stops else None)
        for n in range(generation.total_answers)
    ]
    yield (*ends, completed(generation, len(words) * generation.total_answers))


def say_slowly(generation: Generation) -> Iterable[Step]:
    """Answer as `say` does, with a pause behind the first word."""
    first, second, *rest = say(generation)
    return [first, second, Pause(0.3), *rest]


def probabilities(generation: Generation, word: str, i: int) -> tuple[ChosenToken, ...]:
    if generation.top_logprobs is None:
        return ()
    top = tuple(logprob(f"t{k}", k, -1.0 - k) for k in range(generation.top_logprobs))
    return (ChosenToken(chosen=logprob(word, i, -0.5), top=top),)


def call(generation: Generation) -> Iterable[Step]:
    name = generation.tools.only or generation.tools.tools[0].name
    yield (CallDelta(answer=0, call=0, arguments="", id="call_1", name=name),)
    for piece in ('{"city"', ': "Oslo"', "}"):
        yield (CallDelta(answer=0, call=0, arguments=piece),)
    yield (Ended(answer=0, reason=Reason.TOOL_CALLS), completed(generation, 9))


class ScriptedService:
    """Plays a script for each request; knows what was asked and what was given up."""

    def __init__(self, script: Script = say) -> None:
        self.script = script
        self.health = Health.READY
        self.asked: list[Generation] = []
        self.running: set[str] = set()
        self.given_up: list[str] = []
        self.now = 0.0
        self.models = (
            ServedModel(
                id=MODEL,
                created=1_700_000_000,
                owned_by="tests",
                context_length=4096,
                system="cs3",
                is_synthetic=False,
                fingerprint="fp_scripted",
            ),
        )

    @property
    def counters(self) -> Counters:
        return Counters(running=len(self.running), waiting=3, cache_fraction=0.25, most_waiting=8)

    async def count_tokens(self, generation: Generation) -> int:
        self._check(generation)
        return len(prompt_text(generation).split())

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now

    async def answer(self, generation: Generation) -> AsyncGenerator[Sequence[Event], None]:
        self._check(generation)
        self.asked.append(generation)
        self.running.add(generation.id)
        try:
            for step in self.script(generation):
                match step:
                    case Pause(seconds=None):
                        await asyncio.Event().wait()
                    case Pause(seconds=seconds):
                        await asyncio.sleep(seconds)
                    case Exception():
                        raise step
                    case _:
                        yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.given_up.append(generation.id)
            raise
        finally:
            self.running.discard(generation.id)

    def _check(self, generation: Generation) -> None:
        match generation.model:
            case "busy":
                raise BusyError("the queue is full", retry_after_seconds=0.05)
            case "long":
                raise RequestError(
                    "the prompt has 5000 tokens, the context 4096",
                    param="messages",
                    code="context_length_exceeded",
                )
            case "missing":
                raise UnknownModelError("no model 'missing' is served here", param="model")
            case _:
                pass
