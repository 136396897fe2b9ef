"""The result of a comparison for one system: times, rates, energy, memory, and why."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from onewafer.terminal import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onewafer.perf.breakdown import Breakdown, Limit
    from onewafer.perf.jobs import Job, Precision
    from onewafer.perf.published import PublishedFigure

_SECONDS_PER_HOUR = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The mapping of the work to a system, and the mappings that were considered."""

    text: str
    """In a few words, as `pipeline over 34 regions` or `tensor parallelism 8`."""
    reason: str
    """Why this one, in a sentence."""
    num_considered: int = 1
    is_pinned: bool = False
    """True if the user chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the fullest device (a GPU, a wafer) and over the system."""

    weight_bytes: int
    cache_bytes: int
    """Keys and values at the job's context."""
    other_bytes: int
    """Activations, buffers, code, reserves; in training gradients and optimizer states too."""
    available_bytes: int
    """Memory of all devices in use."""
    longest_context: int | None = None
    """Tokens that each sequence of the batch could have; None: no cache, or no limit."""

    @property
    def used_bytes(self) -> int:
        """The total bytes in use."""
        return self.weight_bytes + self.cache_bytes + self.other_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Shown):
    """The result of one job of one model on one system; None: the job has no such quantity."""

    system: str
    """The name that the user wrote: `cs3`, `h100x8`."""
    title: str
    """`CS-3, WSE-3 at 850 MHz`, `8 × H100 SXM`."""
    job: Job
    precision: Precision
    choice: Choice
    breakdown: Breakdown
    """The time of one token of each sequence (Decode), of the pass (Prefill), of a step (Train), or
    of one token of each request (Serve)."""
    memory: Memory
    num_devices: int
    """Wafers or GPUs."""
    watts: float
    """Power of the whole system during the job."""
    energy_basis: str
    """The parts that the watts include, with their source."""
    ttft_seconds: float | None = None
    """Time to the first token: of a prompt of `context` tokens for Decode."""
    tpot_seconds: float | None = None
    """Time per output token of each sequence."""
    pass_seconds: float | None = None
    """Time of a batch, where no token follows (Forward, and Prefill of an encoder)."""
    tokens_per_second: float
    """Rate of the whole system: output tokens (Decode, Serve), tokens read (Prefill), trained
    tokens (Train), rows of samples (Forward)."""
    joules_per_token: float
    tokens_per_sample: int | None = None
    """Rows of a sample (Forward); None: what the job counts is tokens."""
    mfu: float | None = None
    """Model FLOP utilisation, 0 to 1, of the peak at the job's precision."""
    total_seconds: float | None = None
    """Time of the whole run (Train)."""
    price_per_hour: float | None = None
    """Price of the whole system, in the user's currency; None: the user named no price."""
    published: tuple[PublishedFigure, ...] = ()
    notes: tuple[str, ...] = ()
    """Assumptions and fallbacks that the user should know, a sentence each."""

    def __rich__(self) -> RenderableType:
        """Return the table of `onewafer compare` with the column of this system."""
        report = import_module("onewafer.perf.report")  # by its name: it reads answers itself
        return report.render_answer(self)

    @property
    def limit(self) -> Limit | None:
        """The resource that most of the time is spent waiting for."""
        return self.breakdown.limit

    @property
    def tokens_per_second_per_user(self) -> float | None:
        """Rate at which one reader sees tokens; None: the job has no reader."""
        return None if self.tpot_seconds is None else 1 / self.tpot_seconds

    @property
    def samples_per_second(self) -> float | None:
        """Rate of the whole system; None: the job counts tokens."""
        if self.tokens_per_sample is None:
            return None
        return self.tokens_per_second / self.tokens_per_sample

    @property
    def joules_per_sample(self) -> float | None:
        """Energy of one sample on the whole system; None: the job counts tokens."""
        rate = self.samples_per_second
        return None if rate is None else self.watts / rate

    @property
    def price_per_million_tokens(self) -> float | None:
        """Price of a million tokens while the system does nothing else."""
        return self._price_per_million(self.tokens_per_second)

    @property
    def price_per_million_samples(self) -> float | None:
        """Price of a million samples while the system does nothing else."""
        rate = self.samples_per_second
        return None if rate is None else self._price_per_million(rate)

    def _price_per_million(self, rate: float) -> float | None:
        if self.price_per_hour is None:
            return None
        return self.price_per_hour / _SECONDS_PER_HOUR / rate * 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A system that cannot do the job, and what could."""

    system: str
    title: str
    reason: str
    """The part that is too large, bytes needed and available, and the smallest system that would
    do."""
    memory: Memory | None = None
    """Bytes that the smallest possible plan needs and that there are; None: memory is not the
    reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One job of one model on several systems, in the order in which they were named."""

    model: str
    job: Job
    results: tuple[Answer | Refusal, ...]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The results of the systems that can do the job."""
        return tuple(result for result in self.results if isinstance(result, Answer))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The results of the systems that cannot."""
        return tuple(result for result in self.results if isinstance(result, Refusal))
