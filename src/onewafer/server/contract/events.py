"""Events of a request, in order: the stream that every dialect writes in its own form.

    Started  (Delta | CallDelta)*  Ended    one Ended for each answer; answers interleave
    Completed                               once, at the end, in the item of the last Ended

A request that fails after `Started` raises an error of `failures.py` from the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reason(StrEnum):
    """Why an answer ends."""

    END = "end"
    """The model said so."""
    STOP_TEXT = "stop_text"
    LENGTH = "length"
    """It has as many tokens as it may have, or the context is full."""
    TOOL_CALLS = "tool_calls"
    """It made its calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The prompt has been read into tokens, and the request waits for its turn."""

    prompt_tokens: int
    cached_tokens: int
    """Tokens of the prompt whose keys and values were there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One token with the logarithm of its probability."""

    token: str
    """Its text, or the name of a control token; a part of a character shows as U+FFFD."""
    data: bytes
    """Its bytes in a text; a control token has none."""
    id: int
    logprob: float
    """Natural logarithm, at most 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenToken:
    """A token of an answer, with the most likely ones in its place, the likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


class Delta(NamedTuple):  # not a frozen dataclass: one a token, made in half the time
    """More text of an answer.

    Text that may yet turn out to be a stop text, or is a part of a character, is held back.
    """

    answer: int
    """Index of the answer, from 0."""
    text: str
    tokens: tuple[int, ...]
    """The tokens that became known with it; several, or none."""
    logprobs: tuple[ChosenToken, ...] = ()
    """One a token, if the request asked for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDelta:
    """The beginning of a call (`id` and `name`), or more text of its arguments."""

    answer: int
    call: int
    """Index of the call in its answer, from 0."""
    arguments: str
    """More of the JSON text."""
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An answer is complete."""

    answer: int
    reason: Reason
    stop: str | None = None
    """The stop text that was met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a request, all answers together."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The same request on another system."""

    system: str
    ttft_seconds: float
    tokens_per_second: float
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemTimes:
    """Times of the request on the served system, by its own clock: never the host's."""

    system: str
    """`cs3`, `cs3x6`, `h100x8`."""
    arrival_seconds: float
    """On the clock of the system, which begins at 0 with the server."""
    queue_seconds: float
    """From the arrival to the first launch."""
    prompt_seconds: float
    """From then to the first token."""
    completion_seconds: float
    """From then to the last token."""
    launches: int
    """Launches that had rows of this request."""
    cycles: int | None
    """Cycles of the wafer from the first launch to the last token; None on GPUs."""
    joules: float
    """Share of the system's energy: of each launch by rows, of the idle power by answers."""
    alternative: Alternative | None = None
    """With `--against`."""

    @property
    def total_seconds(self) -> float:
        """The time from the arrival to the last token."""
        return self.queue_seconds + self.prompt_seconds + self.completion_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimes:
    """Seconds that this computer took to compute the values, by its clock."""

    ttft_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Work of a simulated wafer for answers; other answers may have had rows of its launches."""

    launches: int = 0
    cycles: int = 0

    def __add__(self, other: Simulated) -> Simulated:
        """Return the sum of both."""
        return Simulated(launches=self.launches + other.launches, cycles=self.cycles + other.cycles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The tokens of one prompt and of its answers."""

    prompt_tokens: int
    answer_tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """Every answer of the request is complete."""

    usage: Usage
    times: SystemTimes
    host: HostTimes
    is_synthetic: bool
    """True if the text was made up, not computed by the model (`--values none`)."""
    simulated: Simulated | None = None
    """The launches that computed the text (`--values fabric`); None: no wafer computed it."""
    lengths: tuple[Lengths, ...] = ()
    """The lengths of each prompt and its answers."""
    gaps: Sequence[float] = ()
    """Seconds between consecutive tokens of an answer (ITL) on the system's clock."""


Event: TypeAlias = Started | Delta | CallDelta | Ended | Completed
