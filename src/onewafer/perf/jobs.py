"""The work that a system is asked for: one frozen value a job, checked when it is made.

Model and machine are not part of a job: a job says how much work there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from onewafer.errors import ConfigurationError

MOST_AT_A_TIME = 1_000_000
"""The largest batch of sequences, samples or requests."""
MOST_TOKENS = 1e18
"""The longest training run that is accepted; published runs have up to some 10^13 tokens."""
_LONG = 1e15
"""Numbers at least this large are written with an exponent."""


class Precision(StrEnum):
    """Number format of weights and of the products with them; sums are wider."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    FP4 = "fp4"
    MXFP4 = "mxfp4"
    """Format of the weights of experts; other weights, and all products, are wider."""

    @property
    def num_bytes(self) -> float:
        """Bytes of one weight, without the scales of blocks."""
        return {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "fp4": 0.5, "mxfp4": 0.5}[
            self.value
        ]


class Goal(StrEnum):
    """The goal of a search over mappings."""

    LATENCY = "latency"
    """The most tokens per second for each user."""
    THROUGHPUT = "throughput"
    """The most tokens per second of the whole system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """One more token for each sequence of a batch, at a given context."""

    batch: int = 1
    """Sequences that are decoded together."""
    context: int
    """Tokens that each sequence has, the new one included."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        _at_least_one(batch=self.batch, context=self.context)
        _at_most(MOST_AT_A_TIME, batch=self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """The prompts of a batch, up to the first token of each answer."""

    batch: int = 1
    tokens: int
    """Tokens of each prompt."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        _at_least_one(batch=self.batch, tokens=self.tokens)
        _at_most(MOST_AT_A_TIME, batch=self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One pass over a batch of samples of the size that the model takes: pictures, mostly."""

    batch: int = 1
    """Samples."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        _at_least_one(batch=self.batch)
        _at_most(MOST_AT_A_TIME, batch=self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """A steady stream of requests: `concurrency` at a time, each with a prompt and an answer."""

    concurrency: int
    """Requests in progress at any time: when one ends, the next begins."""
    prompt: int
    """Tokens of a prompt."""
    answer: int
    """Tokens of an answer."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        _at_least_one(concurrency=self.concurrency, prompt=self.prompt, answer=self.answer)
        _at_most(MOST_AT_A_TIME, concurrency=self.concurrency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """A training run from scratch: forward, backward, optimizer."""

    tokens: float
    """Tokens of the whole run."""
    sequence: int
    """Tokens of a sequence."""
    batch: int
    """Sequences of an optimizer step, all machines together."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        _at_least_one(tokens=self.tokens, sequence=self.sequence, batch=self.batch)
        _at_most(MOST_AT_A_TIME, batch=self.batch)
        _at_most(MOST_TOKENS, tokens=self.tokens)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of an optimizer step."""
        return self.sequence * self.batch


Job: TypeAlias = Decode | Prefill | Forward | Serve | Train


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass of a batch of equally long sequences; all jobs consist of such passes."""

    sequences: int
    new_tokens: int
    """Tokens that each sequence adds."""
    cached_tokens: int = 0
    """Earlier tokens of each sequence; their keys and values are in the cache."""

    @property
    def rows(self) -> int:
        """Tokens that go through the layers."""
        return self.sequences * self.new_tokens

    @property
    def context(self) -> int:
        """Tokens of a sequence after the pass."""
        return self.cached_tokens + self.new_tokens


def _at_least_one(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number >= 1:
            raise ConfigurationError(f"{name} is {number:g}; it must be at least 1")
        if not math.isfinite(number):
            raise ConfigurationError(f"{name} is {number:g}; it must be a number that ends")


def _at_most(most: float, **numbers: float) -> None:
    for name, number in numbers.items():
        if number > most:
            said, limit = (f"{n:,.0f}" if n < _LONG else f"{n:g}" for n in (number, most))
            raise ConfigurationError(f"{name} is {said}; it can be {limit} at most")
