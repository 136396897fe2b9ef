"""Training on wafers: the fastest division of a step's sequences, and the time of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from onewafer.mesh import largest_rectangle
from onewafer.perf.answer import Answer, Choice, Memory, Refusal
from onewafer.perf.jobs import Precision
from onewafer.perf.training_work import AttentionPairs, model_flop_per_token
from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.system import machine as machine_of
from onewafer.perf.wafer.training_step import Round, StreamedTraining
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.breakdown import Breakdown
    from onewafer.perf.jobs import Train
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.system import Machine, Wafers

STATE_BYTES = 16
"""Bytes for each weight outside the wafers: Adam with weights and gradients of 16 bits, fp32
weights and two moments (Rajbhandari et al., ZeRO, arXiv 1910.02054, section 3.1)."""


def estimate_training(
    model: Model, job: Train, system: str | Wafers, options: WaferOptions | None = None
) -> Answer | Refusal:
    """Return what a training run takes under weight streaming, or why it cannot be done.

    Raises ConfigurationError for a name that is no wafer system, or a sequence that the model was
    not made for.
    """
    options = options or WaferOptions()
    question = _Question(model, job, machine_of(system, options), options)
    refusal = _refuse_early(question)
    if refusal is not None:
        return refusal
    case = question.case()
    considered, best = 0, None
    for candidate in _rounds(case, job.batch // question.machine.num_wafers):
        considered += 1
        room = case.room(candidate)
        if room is None or room < 0:
            continue
        seconds = case.seconds(candidate)
        if best is None or seconds < best[0]:
            best = seconds, candidate
    if best is None:
        return _refuse_memory(question)
    return _answer(question, case, best[1], considered=considered)


@dataclass(frozen=True, slots=True)
class _Question:
    model: Model
    job: Train
    machine: Machine
    options: WaferOptions

    def case(self) -> StreamedTraining:
        return StreamedTraining(self.model, self.job, self.machine, self.options)

    def refusal(self, reason: str) -> Refusal:
        return Refusal(system=self.machine.wafers.name, title=self.machine.title, reason=reason)

    @property
    def is_wide(self) -> bool:
        return self.options.precision is Precision.FP32

    @property
    def wafer_bytes(self) -> int:
        architecture = self.machine.architecture
        return math.prod(largest_rectangle(architecture)) * architecture.memory_bytes


def _rounds(case: StreamedTraining, share: int) -> Iterator[Round]:
    """Yield the ways to divide a wafer's sequences: rounds, strips, intervals of inputs."""
    sizes = {2**power for power in range(share.bit_length()) if 2**power <= share} | {share}
    intervals = {1, case.best_interval()}
    for size, interval, strips in product(sorted(sizes), sorted(intervals), case.strips):
        yield Round(sequences=size, rounds=-(-share // size), strips=strips, interval=interval)


def _refuse_early(question: _Question) -> Refusal | None:
    wafers, batch = question.machine.num_wafers, question.job.batch
    if question.model.has_feature_maps:
        return question.refusal(
            f"{question.model.title} has feature maps, for which there are no equations of weights "
            "that are streamed; a step that fits one wafer is laid out by "
            "`onewafer run --fidelity model SCRIPT`"
        )
    if batch % wafers:
        near = [batch // wafers * wafers, -(-batch // wafers) * wafers]
        sizes = " or ".join(f"{size:,}" for size in near if size)
        return question.refusal(
            f"a batch of {batch:,} sequences does not share evenly over {wafers:,} wafers; "
            f"write --batch {sizes}",
        )
    needed = question.model.num_weights * STATE_BYTES
    server = question.machine.system.weight_server_bytes
    if needed > server:
        return question.refusal(
            f"weights and optimizer states need {format_size(needed)} outside the wafers; the "
            f"largest server has {format_size(server)}",
        )
    return None


def _refuse_memory(question: _Question) -> Refusal:
    """Refuse with the bytes that a sequence saves, and the longest sequence that would fit."""
    case = question.case()
    interval, sequence = case.best_interval(), question.job.sequence
    kept = sequence * case.token_bytes(interval)
    while sequence > 1:
        sequence //= 2
        shorter = replace(question, job=replace(question.job, sequence=sequence)).case()
        if any((shorter.room(one) or -1) >= 0 for one in _rounds(shorter, 1)):
            break
    return question.refusal(
        f"one sequence of {question.job.sequence:,} tokens leaves {format_size(kept)} for its "
        f"backward pass, if every {interval} layers an input is kept; a wafer has "
        f"{format_size(question.wafer_bytes)}, code and weights in use included; sequences of "
        f"{sequence:,} tokens have room",
    )


def _answer(question: _Question, case: StreamedTraining, best: Round, *, considered: int) -> Answer:
    machine, job = question.machine, question.job
    breakdown = case.breakdown(best)
    rate = job.tokens_per_step / breakdown.seconds
    watts = machine.num_wafers * machine.system.busy_watts
    peak = machine.system.peak_flop_per_second(
        bits=32 if question.is_wide else 16, clock_hertz=machine.clock_hertz
    )
    flop = model_flop_per_token(question.model, job.sequence, AttentionPairs.ALL)
    return Answer(
        system=machine.wafers.name,
        title=machine.title,
        job=job,
        precision=question.options.precision,
        choice=Choice(
            text=best.text,
            reason=_reason(best, breakdown, considered),
            num_considered=considered,
        ),
        breakdown=breakdown,
        memory=_memory(question, case, best),
        num_devices=machine.num_wafers,
        watts=watts,
        energy_basis=(
            f"{machine.system.busy_watts:,.0f} W a system with cooling; weight servers and the "
            "tree, which are not published, left out"
        ),
        tokens_per_second=rate,
        joules_per_token=watts / rate,
        mfu=flop * rate / (machine.num_wafers * peak),
        total_seconds=job.tokens / rate,
        notes=_notes(question, case, best),
    )


def _reason(best: Round, breakdown: Breakdown, considered: int) -> str:
    ((limit, share),) = breakdown.largest(lambda item: item.limit, 1)
    of = "every layer" if best.interval == 1 else f"one in {best.interval} layers"
    return (
        f"the fastest of {considered:,} ways: {share:.0%} {limit}; the input of {of} is kept for "
        "the backward pass"
    )


def _memory(question: _Question, case: StreamedTraining, best: Round) -> Memory:
    """Return the bytes of all wafers: saved activations, and operands of products."""
    machine = question.machine
    room = case.room(best)
    assert room is not None, "a candidate that fits"
    used = (machine.architecture.memory_bytes - room) * best.strips.num_pes
    return Memory(
        weight_bytes=0,
        cache_bytes=0,
        other_bytes=round(used) * machine.num_wafers,
        available_bytes=question.wafer_bytes * machine.num_wafers,
    )


def _notes(question: _Question, case: StreamedTraining, best: Round) -> tuple[str, ...]:
    density, peak = question.options.density, "fp32" if question.is_wide else "fp16"
    share = case.fewest_seconds(best) / case.seconds(best)
    bound = (
        f"a step would take {share:.0%} of its time if products ran at the pace of the PEs' data "
        "path and hid everything else"
    )
    notes = [
        question.machine.clock_note,
        "products run at the speed of the mesh program's kernels, which are not tuned; " + bound,
        "backward pass, attention and elementwise operations have no program with tokens over rows",
        "the optimizer runs in the weight server as gradients arrive and takes no time of its own",
        f"MFU counts all pairs of tokens in attention, no recomputation, of the dense {peak} peak",
    ]
    hidden = case.hidden_from(best)
    if hidden is not None:
        each = "one sequence" if hidden == 1 else f"{hidden:,} sequences"
        notes.append(f"weights arrive in time from {each} a wafer on")
    if question.model.has_experts:
        notes.append(
            "all experts come by; chosen equally often, each is multiplied by tokens of every strip"
        )
    if density < 1:
        notes.append(f"of the weights {density:.0%} are sent and multiplied; MFU counts them all")
    return tuple(notes)
