"""Serving under a closed load: the time to the first token and per token of each request.

In: an engine, the times of its steps, a load. Out: times of one request. The load is closed: a
client keeps so many requests open and sends the next when one is answered.

With N requests in a replica, t the time of a step in which all of them decode, x what one prompt
adds to a step, and an answer of a tokens, the cycle of every request is

    C = (a − 1) · t + N · x

since each of the N − 1 others has exactly one prompt done in it. Of these prompts, q are read while
a request waits for its first token, the others while it decodes:

    TPOT = t + (N − 1 − q) · x / (a − 1)        TTFT = f + t + (1 + q) · x

In steady state prompts are a queue with one server and service x: q = ρ / (2 (1 − ρ)) with
ρ = N · x / C (the mean queue of M/D/1, Kleinrock, "Queueing Systems" I, 1975), at most (N − 1) / 2,
as where all come at once. A benchmark begins with all N at once; then a first token waits for half
of the prompts, the k in one step together: q = (N + k) / 2 − 1. A run of w waves has 1 / w of its
requests in that first one.

What does not fit the cache waits outside: with M requests open, (M − N) · C / N (Little).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf.gpu.steps import Step
from onewafer.perf.jobs import Pass

if TYPE_CHECKING:
    from onewafer.perf.gpu.engine import Engine
    from onewafer.perf.gpu.steps import StepClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that a client keeps open at one replica."""

    open_requests: float
    prompt: int
    """Mean tokens of a prompt."""
    answer: int
    """Mean tokens of an answer."""
    slots: float
    """Requests that the replica has room for at a time; the others wait."""
    known_tokens: int = 0
    """Tokens of each prompt that other requests share: their keys and values are in the cache."""
    waves: float | None = None
    """Total requests ÷ open requests, the first of which are sent all at once; None: steady
    state."""

    @property
    def running(self) -> float:
        """Number of requests that the replica works on."""
        return max(1.0, min(self.open_requests, self.slots))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimes:
    """Times of one request."""

    ttft_seconds: float
    tpot_seconds: float
    step_seconds: float
    """Time of a step without prompts, the engine's own time included; a part of TPOT."""
    prompt_seconds: float
    """Time that one prompt adds to its steps."""

    def seconds(self, answer: int) -> float:
        """Return the time from sending a request to the end of its answer."""
        return self.ttft_seconds + (answer - 1) * self.tpot_seconds


@dataclass(frozen=True, slots=True)
class EngineClock:
    """Times of an engine on the GPUs of one replica."""

    engine: Engine
    steps: StepClock

    def decode_step(self, sequences: float, context: int) -> Step:
        """Return a step with one new token per sequence; stages share the sequences."""
        here = max(1, round(sequences / self.steps.plan.pipeline))
        return Step(decode=Pass(sequences=here, new_tokens=1, cached_tokens=context - 1))

    def decode_seconds(self, sequences: float, context: int) -> float:
        """Return the time between two tokens where no prompts come."""
        step = self.decode_step(sequences, context)
        return self.steps.seconds(step) + self.engine.overhead_seconds(sequences)

    def prefill_steps(
        self, prompt: int, *, sequences: int = 1, known_tokens: int = 0
    ) -> tuple[Step, ...]:
        """Return the steps that prompts of equal length take, several in a step if they fit."""
        budget, new = self.engine.token_budget, prompt - known_tokens
        if new <= budget:
            together = max(1, budget // new)
            counts = [min(together, sequences - done) for done in range(0, sequences, together)]
            passes = [
                Pass(sequences=count, new_tokens=new, cached_tokens=known_tokens)
                for count in counts
            ]
        else:
            parts = [
                Pass(sequences=1, new_tokens=min(budget, prompt - done), cached_tokens=done)
                for done in range(known_tokens, prompt, budget)
            ]
            passes = parts * sequences
        return tuple(Step(prefill=part) for part in passes)

    def prompt_seconds(self, prompt: int, beside: Step, *, known_tokens: int = 0) -> float:
        """Return the time that a prompt adds to steps that also decode."""
        alone = self.steps.seconds(beside)
        added = (
            self.steps.seconds(Step(decode=beside.decode, prefill=step.prefill)) - alone
            for step in self.prefill_steps(prompt, known_tokens=known_tokens)
        )
        return max(0.0, sum(added)) + self.engine.prompt_seconds

    def serve(self, load: Load) -> RequestTimes:
        """Return the times of a request under a load."""
        running, tokens = load.running, load.answer - 1
        context = load.prompt + load.answer // 2 + 1
        step = self.decode_seconds(running, context)
        beside = self.decode_step(running, context)
        added = self.prompt_seconds(load.prompt, beside, known_tokens=load.known_tokens)
        cycle = tokens * step + running * added
        ahead = _prompts_ahead(running, added, cycle)
        first = 0.0 if load.waves is None else 1 / load.waves
        new = load.prompt - load.known_tokens
        together = max(1.0, min(running, self.engine.token_budget // new))
        ahead_at_first = (running + together) / 2 - 1
        outside = (load.open_requests - running) * (cycle + added) / running
        waiting = (1 - first) * (outside + step + ahead * added)
        waiting += first * (outside / 2 + ahead_at_first * added)
        while_decoding = (1 - first) * (running - 1 - ahead) + first * (running - 1) / 2
        return RequestTimes(
            ttft_seconds=self.engine.request_seconds + waiting + added,
            tpot_seconds=step + (while_decoding * added / tokens if tokens else 0.0),
            step_seconds=step,
            prompt_seconds=added,
        )


def _prompts_ahead(running: float, added: float, cycle: float) -> float:
    """Return q: the mean number of prompts ahead of a new one in steady state."""
    most = (running - 1) / 2
    utilisation = running * added / cycle
    if utilisation >= 1:
        return most
    return min(most, utilisation / 2 / (1 - utilisation))
