"""Answer a job on wafers: the best layout of the best mode, or a refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.mesh import largest_rectangle
from onewafer.perf.answer import Answer, Refusal
from onewafer.perf.checks import as_rows, check_job, longest_sequence
from onewafer.perf.jobs import Decode, Goal, Job, Prefill, Serve
from onewafer.perf.wafer.answers import Others, Outcome, answer, streamed_memory
from onewafer.perf.wafer.inference import (
    decode_demand,
    decode_outcome,
    mfu,
    prefill_demand,
    prefill_outcome,
    serve_demand,
    serve_outcome,
)
from onewafer.perf.wafer.latent import has_latent_attention, latent_forms
from onewafer.perf.wafer.layout_search import lay_out
from onewafer.perf.wafer.layouts import Asked
from onewafer.perf.wafer.options import Mode, WaferOptions
from onewafer.perf.wafer.programs import Programs
from onewafer.perf.wafer.refusals import refusal, sides
from onewafer.perf.wafer.serving import lay_out_requests
from onewafer.perf.wafer.streaming import least_seconds, search_streaming
from onewafer.perf.wafer.system import machine as machine_of
from onewafer.perf.wafer.workload import has_windows, in_small_pieces, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.model import Model
    from onewafer.perf.wafer.layouts import Demand, Layout
    from onewafer.perf.wafer.region import Regions
    from onewafer.perf.wafer.streaming import Streamed
    from onewafer.perf.wafer.system import Machine, Wafers
    from onewafer.perf.wafer.workload import Load

_RESIDENT = (Mode.PIPELINE, Mode.WHOLE)


def estimate(
    model: Model,
    job: Job,
    system: str | Wafers,
    options: WaferOptions | None = None,
    *,
    programs: Programs | None = None,
) -> Answer | Refusal:
    """Return what a job of a model costs on wafers, or why they cannot do it.

    Weights stay on the wafers, unless the options ask for weight streaming, or it reads prompts
    faster. Pass the same `programs` for several jobs of a model: they cache what jobs share.

    Raises ConfigurationError for a job that the model cannot do, or that is no inference.
    """
    options = options or WaferOptions()
    programs = Programs() if programs is None else programs
    machine = machine_of(system, options)
    _check_region(machine, options)
    check_job(model, job)
    job = as_rows(model, job)
    demand = _demand(model, job)
    if model.has_feature_maps:
        model = in_small_pieces(model)
        _check_mode(model, options)
    try:
        pieces_of(model, demand.load, options.precision)
    except UnsupportedOperationError as error:
        return Refusal(system=machine.wafers.name, title=machine.title, reason=str(error))
    asked = Asked(model, demand, machine, options, programs)
    outcomes: list[Outcome] = []
    layout = None
    for mode in _RESIDENT:
        if options.mode in (None, mode):
            layout = _lay_out(asked, job, mode, of_other_mode=layout)
            found = layout and _outcome(model, job, layout, machine, options)
            outcomes += [found] if found else []
    is_read = isinstance(job, Prefill) and not model.has_feature_maps
    too_slow: dict[Mode, float] = {}
    if options.mode is Mode.STREAMING or (options.mode is None and is_read):
        in_a_pass = replace(demand, can_wait=False)  # the last launch may have fewer rows
        streaming = _Streaming(model, in_a_pass, machine, options, programs, job)
        most = streaming.most_tokens_per_second()
        if any(one.tokens_per_second >= most for one in outcomes):
            too_slow[Mode.STREAMING] = most
        elif (streamed := streaming.outcome()) is not None:
            outcomes.append(streamed)
    if not outcomes:
        return refusal(model, demand, machine, options, programs)
    best = max(outcomes, key=lambda one: _value(one, job, options.goal))
    best = replace(best, notes=(*best.notes, *_model_notes(model, job, best.load, best.mode)))
    others = Others(tuple(one for one in outcomes if one.mode is not best.mode), too_slow)
    return answer(job, machine, options, best, others=others, sample_rows=model.fixed_tokens)


def _lay_out(asked: Asked, job: Job, mode: Mode, *, of_other_mode: Layout | None) -> Layout | None:
    if isinstance(job, Serve):
        return lay_out_requests(asked, job, mode=mode, of_other_mode=of_other_mode)
    return lay_out(asked, mode=mode, of_other_mode=of_other_mode)


def _check_region(machine: Machine, options: WaferOptions) -> None:
    wafer = largest_rectangle(machine.architecture)
    if options.region and any(map(int.__gt__, options.region, wafer)):
        raise ConfigurationError(
            f"a region of {sides(options.region)} is larger than the wafer of a "
            f"{machine.system.title}, which has {sides(wafer)} for programs"
        )


def _check_mode(model: Model, options: WaferOptions) -> None:
    if options.mode is Mode.STREAMING:
        raise ConfigurationError(
            f"{model.name} has feature maps, whose blocks would have to be dealt out anew for "
            "every layer that comes; weights stay on the wafer: leave --mode out, or ask for "
            "pipeline or whole"
        )


def _demand(model: Model, job: Job) -> Demand:
    match job:
        case Decode():
            demand = decode_demand(job)
        case Serve():
            demand = serve_demand(job)
        case Prefill():
            demand = prefill_demand(model, job)
        case _:
            raise ConfigurationError("training is not inference; ask estimate_training")
    return replace(demand, forms=latent_forms(model, job))


def _outcome(
    model: Model, job: Job, layout: Layout, machine: Machine, options: WaferOptions
) -> Outcome | None:
    match job:
        case Decode():
            return decode_outcome(model, job, layout, machine)
        case Serve():
            return serve_outcome(model, job, layout, machine)
        case Prefill():
            return prefill_outcome(model, job, layout, machine, options)
        case _:
            return None


def _value(outcome: Outcome, job: Job, goal: Goal) -> float:
    if isinstance(job, Serve):
        return outcome.tokens_per_second  # the load is fixed: the fastest answers most
    if goal is Goal.LATENCY and outcome.tpot_seconds is not None:
        return 1 / outcome.tpot_seconds
    return outcome.tokens_per_second


@dataclass(frozen=True, slots=True)
class _Streaming(Asked):
    """A job under weight streaming: each wafer has a share of the sequences."""

    job: Job

    def most_tokens_per_second(self) -> float:
        """Return an upper bound of the rate: that at which the weights arrive."""
        regions = (self.regions(one.load) for one in self._in_forms())
        return self._tokens / min(least_seconds(one, self.machine) for one in regions)

    def outcome(self) -> Outcome | None:
        found = [one for one in map(self._stream, self._in_forms()) if one is not None]
        if not found:
            return None
        streamed, regions = min(found, key=lambda one: one[0].seconds)
        machine, seconds = self.machine, streamed.seconds
        width, height = streamed.rectangle
        largest = math.prod(largest_rectangle(machine.architecture))
        prefill = self.job if isinstance(self.job, Prefill) else None
        return Outcome(
            mode=Mode.STREAMING,
            text=f"weights layer by layer onto {width}×{height} PEs of each wafer",
            breakdown=streamed.breakdown,
            tokens=self._tokens,
            period=seconds,
            memory=streamed_memory(streamed, machine),
            busy_fraction=min(1.0, streamed.busy_pe_seconds / (seconds * largest)),
            num_considered=sum(one.num_considered for one, _ in found),
            load=regions.load,
            ttft_seconds=seconds if prefill else None,
            tpot_seconds=None if prefill else seconds,
            mfu=mfu(self.model, prefill, seconds, machine, self.options) if prefill else None,
        )

    @property
    def _tokens(self) -> int:
        """Tokens of one pass over all sequences."""
        is_prefill = isinstance(self.job, Prefill)
        return self.demand.sequences * (self.demand.load.capacity if is_prefill else 1)

    def _in_forms(self) -> Iterator[Demand]:
        """Yield the demand in the forms with the fewest copies, since all caches are resident."""
        least_copies = max(form.group for form in self.demand.forms)
        return (one for one in self.demand.in_forms() if one.load.form.group == least_copies)

    def _stream(self, demand: Demand) -> tuple[Streamed, Regions] | None:
        """Return the fastest pass in one form; rows per launch are doubled as long as it helps."""
        sequences = -(-demand.sequences // self.machine.num_wafers)
        best: tuple[Streamed, Regions] | None = None
        considered = 0

        def search(regions: Regions, *, is_thorough: bool) -> Streamed | None:
            near, limit = (best[0].rectangle, best[0].seconds) if best else (None, math.inf)
            return search_streaming(
                regions,
                self.machine,
                self.options,
                launches=demand.launches_of(sequences, regions.load.rows),
                near=near,
                at_most=limit,
                is_thorough=is_thorough,
            )

        for load in demand.loads(sequences):
            regions = self.regions(load)
            found = search(regions, is_thorough=False)
            if found is None or (best is not None and found.seconds >= best[0].seconds):
                break
            considered += found.num_considered
            best = found, regions
        if best is not None and (found := search(best[1], is_thorough=True)) is not None:
            considered += found.num_considered
            best = found, best[1]
        return best and (replace(best[0], num_considered=considered), best[1])


def _model_notes(model: Model, job: Job, load: Load, mode: Mode) -> tuple[str, ...]:
    notes = [*model.notes]
    if model.has_feature_maps:
        notes.append(
            "feature maps are cut into blocks of pixels, each on PEs with all weights of its "
            "layers; messages between blocks have a cost, but no kernel yet"
        )
    if model.has_experts:
        notes.append(
            "experts are counted as the products of those that a row meets, each over a whole "
            "region, with the weights of all stored, and their choice as far as it has a form; no "
            "kernel sends rows to experts yet"
        )
    if has_latent_attention(model):
        notes.append(
            f"attention to latent vectors is estimated {load.form}, by attention and products "
            "that have a form; no kernel does it yet"
        )
    if isinstance(job, Serve) and mode is Mode.STREAMING:
        notes.append(
            "the rate is that of answers: with weights from outside, prompts are not counted"
        )
    if isinstance(job, Decode | Prefill | Serve) and has_windows(model, longest_sequence(job)):
        notes.append(
            "attention with a window is counted as if it saw and kept all positions: the mesh "
            "program has no windows"
        )
    return tuple(notes)
