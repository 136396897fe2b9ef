"""The events of a request, in order, which every dialect writes in its own form.

    Started  (Delta | CallDelta)*  Ended    one Ended for each answer; answers interleave
    Completed                               once, at the end, in the item of the last Ended

If a request fails after `Started`, the stream raises an error of `failures.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reason(StrEnum):
    """The reason why an answer ends."""

    END = "end"
    """The model chose an end token."""
    STOP_TEXT = "stop_text"
    LENGTH = "length"
    """It has the most tokens that it may have, or the context is full."""
    TOOL_CALLS = "tool_calls"
    """The model called tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The prompt was tokenized, and the request is in the queue."""

    prompt_tokens: int
    cached_tokens: int
    """Tokens of the prompt that were in the prefix cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One token with its log probability."""

    token: str
    """The token's text, with U+FFFD for a part of a character, or the name of a control token."""
    data: bytes
    """The token's bytes; empty for a control token."""
    id: int
    logprob: float
    """Natural logarithm, at most 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenToken:
    """A token of an answer, with the most likely alternatives, the likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


class Delta(NamedTuple):  # not a frozen dataclass: one a token, made in half the time
    """More text of an answer.

    Text that may be the start of a stop text, or of a character, is held back.
    """

    answer: int
    """The index of the answer, from 0."""
    text: str
    tokens: tuple[int, ...]
    """The tokens of this text; several, or none."""
    logprobs: tuple[ChosenToken, ...] = ()
    """An entry for each token, if the request asks for log probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDelta:
    """The start of a tool call, with `id` and `name`, or more text of its arguments."""

    answer: int
    call: int
    """The index of the call in its answer, from 0."""
    arguments: str
    """The next part of the JSON text."""
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An answer is complete."""

    answer: int
    reason: Reason
    stop: str | None = None
    """The stop text that ended it."""


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
    """Times of the request on the clock of the served system, never the host's."""

    system: str
    """`cs3`, `cs3x6`, `h100x8`."""
    arrival_seconds: float
    """On the system's clock, which starts at 0 with the server."""
    queue_seconds: float
    """From the arrival to the first launch."""
    prompt_seconds: float
    """From the first launch to the first token."""
    completion_seconds: float
    """From the first to the last token."""
    launches: int
    """Launches that computed rows of this request."""
    cycles: int | None
    """Cycles of the wafer from the first launch to the last token; None on GPUs."""
    joules: float
    """The request's share of the energy: of a launch by rows, of idle power by running answers."""
    alternative: Alternative | None = None
    """The times on the system of `--against`."""

    @property
    def total_seconds(self) -> float:
        """The time from the arrival to the last token."""
        return self.queue_seconds + self.prompt_seconds + self.completion_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimes:
    """Times of the computation on this computer, by its clock."""

    ttft_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Launches of a simulated wafer for an answer, some shared with other answers."""

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
    """True if the text is synthetic, not the model's (`--values none`)."""
    simulated: Simulated | None = None
    """The launches that computed the text (`--values fabric`); None: not computed on a wafer."""
    lengths: tuple[Lengths, ...] = ()
    """The lengths of each prompt and its answers."""
    gaps: Sequence[float] = ()
    """Seconds between consecutive tokens of an answer (ITL) on the system's clock."""


Event: TypeAlias = Started | Delta | CallDelta | Ended | Completed
