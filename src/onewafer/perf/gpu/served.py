"""Serving a model on GPUs: times of the steps of an inference engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.perf.answer import Refusal
from onewafer.perf.checks import check_job
from onewafer.perf.gpu.energy import busy_share
from onewafer.perf.gpu.estimate import best_outcome
from onewafer.perf.gpu.steps import Step
from onewafer.perf.jobs import Pass, Serve
from onewafer.perf.launches import AtPositions, LaunchTime

if TYPE_CHECKING:
    from onewafer.arch import GpuCluster
    from onewafer.perf.gpu.engine import Engine
    from onewafer.perf.gpu.options import GpuOptions
    from onewafer.perf.gpu.outcome import Bench
    from onewafer.perf.gpu.plan import Plan
    from onewafer.perf.launches import Rows
    from onewafer.perf.model import Model

MOST_KINDS = 16_384
"""Most kinds of steps whose times are cached, since a long-running server meets ever new ones."""


@dataclass(frozen=True, slots=True)
class ServedGpus:
    """A `ServedSystem` of GPUs: steps follow each other, and each waits for the one before."""

    bench: Bench
    plan: Plan
    cluster: GpuCluster
    context: int
    num_slots: int
    _times: dict[tuple[int, int, int, int], AtPositions] = field(
        default_factory=dict[tuple[int, int, int, int], AtPositions]
    )

    is_mixed = True
    clock_hertz = None

    @property
    def name(self) -> str:
        """The name of the cluster."""
        return self.cluster.name

    @property
    def title(self) -> str:
        """The cluster in words."""
        return self.cluster.title

    @property
    def layout(self) -> str:
        """The parallelism."""
        return str(self.plan)

    @property
    def replicas(self) -> int:
        """Copies of the model."""
        return self.plan.replicas

    @property
    def room_tokens(self) -> int:
        """Tokens that the pages of the cache hold."""
        return int(min(self.bench.memory(self.plan).num_cached_tokens(), 2**62))

    @property
    def most_tokens(self) -> int:
        """All sequences that run."""
        return self.num_slots

    @property
    def most_prompt_rows(self) -> int:
        """The engine's budget of tokens of a step."""
        return self._engine.token_budget

    def part_rows(self, tokens: int) -> int:
        """Return all tokens, up to the budget."""
        return min(tokens, self.most_prompt_rows)

    @property
    def request_seconds(self) -> float:
        """The engine's own time for a request."""
        return self._engine.request_seconds

    @property
    def idle_watts(self) -> float:
        """Power of all GPUs and their nodes while nothing runs."""
        gpu = self.cluster.gpu
        return self.cluster.count * (gpu.idle_watts + gpu.host_watts)

    @property
    def notes(self) -> tuple[str, ...]:
        """The engine and its measurements."""
        return (f"{self._engine.title}; {self.bench.clock.measurements.source}",)

    @property
    def _engine(self) -> Engine:
        return self.bench.engine_clock(self.plan).engine

    def time(self, rows: Rows) -> LaunchTime:
        """Return the time of a step; the next one begins when it ends."""
        read = -(-rows.prompt_rows // rows.prompts) if rows.prompts else 0
        kind = rows.tokens, rows.prompts, read, _round_up(rows.prompt_position)
        times = self._times.get(kind)
        if times is None:
            if len(self._times) >= MOST_KINDS:
                del self._times[next(iter(self._times))]  # the oldest
            times = AtPositions(lambda at: self._step_time(kind, at), self.context - 1)
            self._times[kind] = times
        return times.at(rows.token_position)

    def _step_time(self, kind: tuple[int, int, int, int], token_position: int) -> LaunchTime:
        tokens, prompts, read, prompt_position = kind
        clock = self.bench.engine_clock(self.plan)
        step = Step(
            decode=clock.decode_step(tokens, token_position + 1).decode if tokens else None,
            prefill=Pass(sequences=prompts, new_tokens=read, cached_tokens=prompt_position)
            if prompts
            else None,
        )
        breakdown = clock.steps.breakdown(step)
        own = clock.engine.overhead_seconds(tokens) + prompts * clock.engine.prompt_seconds
        seconds = breakdown.seconds + own
        gpu = self.cluster.gpu
        busy = self.plan.gpus_per_replica * breakdown.seconds * busy_share(breakdown)
        return LaunchTime(seconds, seconds, busy * (gpu.busy_watts - gpu.idle_watts))


def _round_up(position: int) -> int:
    """Round a position up to a power of two, so that few different steps are timed."""
    return 1 << (position - 1).bit_length() if position else 0


def serve_on_gpus(
    model: Model,
    cluster: GpuCluster,
    options: GpuOptions,
    *,
    sequences: int,
    context: int,
) -> ServedGpus:
    """Choose a plan for `sequences` of `context` tokens, as `compare --serve` does.

    Raises:
        ConfigurationError: the model does not fit; the message says what would do. Or it is no
            model that answers prompts.
    """
    job = Serve(
        concurrency=sequences, prompt=max(1, context // 2), answer=max(1, context - context // 2)
    )
    check_job(model, job)
    found = best_outcome(model, job, cluster, options)
    if isinstance(found, Refusal):
        raise ConfigurationError(f"{model.name} does not fit on {found.title}: {found.reason}")
    plan = found.outcome.plan
    return ServedGpus(
        found.bench, plan, cluster, context=context, num_slots=-(-sequences // plan.replicas)
    )
