"""Times of one job under one plan, for the search over plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from onewafer.errors import ConfigurationError
from onewafer.perf.breakdown import Breakdown, Item, Limit, total
from onewafer.perf.gpu.engine import load_engine
from onewafer.perf.gpu.memory import memory_of_gpu
from onewafer.perf.gpu.serving import EngineClock, Load
from onewafer.perf.gpu.steps import Step, StepClock
from onewafer.perf.jobs import Decode, Goal, Pass, Prefill, Serve

if TYPE_CHECKING:
    from onewafer.arch import Gpu
    from onewafer.perf.gpu.clock import KernelClock
    from onewafer.perf.gpu.memory import MemoryOfGpu
    from onewafer.perf.gpu.options import GpuOptions
    from onewafer.perf.gpu.plan import Plan
    from onewafer.perf.gpu.steps import ShardedModel

InferenceJob = Decode | Prefill | Serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Times of a job under a plan."""

    plan: Plan
    tpot_seconds: float | None
    ttft_seconds: float
    tokens_per_second: float
    """Rate of all replicas: output tokens, or prompt tokens of a prefill."""
    has_room: bool = True
    """True if all requests are running, none waiting for another to end."""

    def score(self, goal: Goal) -> tuple[float, float, float]:
        """Return a score, larger is better: the goal first, then the other quantity.

        Under the goal of latency, room for all requests comes first: fast tokens of running
        requests do not help waiting ones.
        """
        per_user = 1 / (self.ttft_seconds if self.tpot_seconds is None else self.tpot_seconds)
        whole = self.tokens_per_second
        if goal is Goal.LATENCY:
            return float(self.has_room), per_user, whole
        return whole, per_user, 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Times plans of one model on one kind of GPU under one set of options."""

    model: ShardedModel
    gpu: Gpu
    clock: KernelClock
    options: GpuOptions

    def engine_clock(self, plan: Plan) -> EngineClock:
        """Return the clock of the engine under a plan."""
        steps = StepClock(self.model, plan, self.options.formats, self.clock)
        return EngineClock(load_engine(self.options.engine), steps)

    def memory(self, plan: Plan) -> MemoryOfGpu:
        """Return the memory use of a GPU under a plan."""
        engine = load_engine(self.options.engine)
        formats = self.options.formats
        return memory_of_gpu(self.model, self.gpu, engine, plan=plan, formats=formats)

    def tokens_needed(self, plan: Plan, job: InferenceJob) -> float:
        """Return the tokens of keys and values that a replica must have room for."""
        match job:
            case Decode():
                return _share(job.batch, plan) * job.context
            case Prefill():
                return _share(job.batch, plan) * job.tokens
            case Serve():
                return self._tokens_of_request(job)
            case _:
                assert_never(job)

    def fits(self, plan: Plan, job: InferenceJob) -> bool:
        """Tell whether the weights and the job's cache fit; for Serve, the cache of one request."""
        samples = _share(num_sequences(job), plan)
        return self.memory(plan).fits(self.tokens_needed(plan, job), samples=samples)

    def outcome(self, plan: Plan, job: InferenceJob) -> Outcome:
        """Return the times of a job under a plan for which it fits."""
        match job:
            case Decode():
                return self._decode(plan, job)
            case Prefill():
                seconds = self.prefill_breakdown(plan, job).seconds
                rate = job.batch * job.tokens / seconds
                first = seconds + self._request_seconds
                return Outcome(
                    plan=plan, tpot_seconds=None, ttft_seconds=first, tokens_per_second=rate
                )
            case Serve():
                return self._serve(plan, job)
            case _:
                assert_never(job)

    def breakdown(self, outcome: Outcome, job: InferenceJob) -> Breakdown:
        """Return where the time of an outcome goes."""
        plan, clock = outcome.plan, self.engine_clock(outcome.plan)
        match job:
            case Decode():
                sequences = _share(job.batch, plan)
                return self._decode_breakdown(clock, sequences, job.context)
            case Prefill():
                return self.prefill_breakdown(plan, job)
            case Serve():
                load = self.load(plan, job)
                context = job.prompt + job.answer // 2 + 1
                step = self._decode_breakdown(clock, load.running, context)
                assert outcome.tpot_seconds is not None
                others = max(0.0, outcome.tpot_seconds - step.seconds)
                item = Item(name="prompts of other requests", seconds=others, limit=Limit.COMPUTE)
                return step + Breakdown((item,))
            case _:
                assert_never(job)

    def load(self, plan: Plan, job: Serve, waves: float | None = None) -> Load:
        """Return the load of one replica."""
        room = self.memory(plan).num_cached_tokens() / self._tokens_of_request(job)
        return Load(
            open_requests=max(1.0, job.concurrency / plan.replicas),
            prompt=job.prompt,
            answer=job.answer,
            slots=room,
            waves=waves,
        )

    @property
    def is_served(self) -> bool:
        """True if a serving engine runs the job: the model generates tokens one after the other."""
        return self.options.is_served and self.model.model.cached_features > 0

    @property
    def _request_seconds(self) -> float:
        return load_engine(self.options.engine).request_seconds if self.is_served else 0.0

    def prefill_breakdown(self, plan: Plan, job: Prefill) -> Breakdown:
        """Return where the time of the prompts of one replica goes.

        Without a serving engine, as where a model generates no tokens, it is one launch of all
        kernels.
        """
        clock, sequences = self.engine_clock(plan), _share(job.batch, plan)
        if not self.is_served:
            one = Pass(sequences=sequences, new_tokens=job.tokens)
            return clock.steps.breakdown(Step(prefill=one)).merged()
        steps = clock.prefill_steps(job.tokens, sequences=sequences)
        own = len(steps) * clock.engine.overhead_seconds(sequences / len(steps))
        own += sequences * clock.engine.prompt_seconds
        kernels = total(clock.steps.breakdown(step) for step in steps)
        return kernels.merged() + Breakdown((_engine_item(own),))

    def _decode(self, plan: Plan, job: Decode) -> Outcome:
        clock = self.engine_clock(plan)
        seconds = clock.decode_seconds(_share(job.batch, plan), job.context)
        first = self.prefill_breakdown(plan, Prefill(tokens=job.context)).seconds
        return Outcome(
            plan=plan,
            tpot_seconds=seconds,
            ttft_seconds=first + clock.engine.request_seconds,
            tokens_per_second=job.batch / seconds,
        )

    def _serve(self, plan: Plan, job: Serve) -> Outcome:
        load = self.load(plan, job)
        times = self.engine_clock(plan).serve(load)
        return Outcome(
            plan=plan,
            tpot_seconds=times.tpot_seconds,
            ttft_seconds=times.ttft_seconds,
            tokens_per_second=job.concurrency * job.answer / times.seconds(job.answer),
            has_room=load.slots >= load.open_requests,
        )

    def _decode_breakdown(self, clock: EngineClock, sequences: float, context: int) -> Breakdown:
        step = clock.steps.breakdown(clock.decode_step(sequences, context))
        return step + Breakdown((_engine_item(clock.engine.overhead_seconds(sequences)),))

    def _tokens_of_request(self, job: Serve) -> float:
        """Return the cached tokens of a request: with half its answer, or all if it is reserved."""
        is_reserved = load_engine(self.options.engine).reserves_answers
        return job.prompt + (job.answer if is_reserved else job.answer / 2)


def _share(batch: int, plan: Plan) -> int:
    """Return the sequences of the fullest replica."""
    return -(-batch // plan.replicas)


def _engine_item(seconds: float) -> Item:
    return Item(name="engine", seconds=seconds, limit=Limit.LAUNCH)


def num_sequences(job: InferenceJob) -> int:
    """Return the number of sequences that a job has at a time."""
    match job:
        case Decode() | Prefill():
            return job.batch
        case Serve():
            return job.concurrency
        case _:
            assert_never(job)


def inference_job(job: object, name: str) -> InferenceJob:
    """Return the job if it is one of inference; raise ConfigurationError otherwise."""
    if isinstance(job, Decode | Prefill | Serve):
        return job
    raise ConfigurationError(
        f"{name}: {type(job).__name__.lower()} is not a job of inference; training has its own "
        "estimate, estimate_training"
    )
