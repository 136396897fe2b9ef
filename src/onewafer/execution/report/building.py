"""The report of a program, made from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.execution.report.phases import busy_links, busy_pes, ratio, report_phases
from onewafer.execution.report.placement import explain_placement
from onewafer.execution.report.simulation import report_simulation
from onewafer.execution.report.steps import report_step
from onewafer.execution.report.values import CacheReport, ProgramReport
from onewafer.graph import Attention
from onewafer.mesh import longest_context
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from onewafer.execution.records import ProgramRecord


def report_program(record: ProgramRecord) -> ProgramReport:
    """Return the costs of a program over all its launches."""
    program, activity, options = record.program, record.activity, record.options
    clock_hertz = record.clock_hertz
    per_launch = ratio(activity.cycles, record.launches)
    per_sample = ratio(activity.cycles, record.samples)
    return ProgramReport(
        module=record.module,
        compiled_because=record.reason,
        arch=record.architecture.name,
        arch_title=record.architecture.title,
        profile=record.architecture.profile,
        fidelity=options.fidelity,
        engine=record.figures.engine,
        dtype=program.dtype,
        clock_hertz=clock_hertz,
        width=program.width,
        height=program.height,
        bucket_rows=record.bucket,
        tile_programs=record.figures.num_tile_programs,
        memory_bytes=record.architecture.memory_bytes,
        memory=record.figures.memory,
        cache=_report_cache(record),
        placement=explain_placement(record.placed),
        on_host=record.on_host,
        not_finite=record.not_finite,
        calls=record.calls,
        launches=record.launches,
        samples=record.samples,
        is_in_tokens=program.graph.is_sequence,
        flop=record.flop,
        cycles=activity.cycles,
        cycles_per_launch=per_launch,
        cycles_per_sample=per_sample,
        seconds_per_launch=_seconds(per_launch, clock_hertz),
        seconds_per_sample=_seconds(per_sample, clock_hertz),
        wavelet_hops_per_launch=(
            ratio(activity.of_all_cycles().wavelet_hops, record.launches)
            if activity.observed_cycles
            else None
        ),
        busy_pe_fraction=busy_pes(record, activity),
        busy_link_fraction=busy_links(record, activity),
        bytes_in=record.figures.bytes_in,
        bytes_out=record.figures.bytes_out,
        parameters_sent=record.parameters_sent,
        parameters_resent=record.parameters_resent,
        phases=report_phases(record),
        simulation=report_simulation(record),
        step=report_step(record),
    )


def _report_cache(record: ProgramRecord) -> CacheReport | None:
    program, reserved = record.program, record.figures.memory.cache_bytes
    if program.context is None or not reserved:
        return None
    tensors = program.graph.by_name
    attentions = (one for one in program.graph.operations if isinstance(one, Attention))
    features = sum(attention.count_token_features(tensors) for attention in attentions)
    return CacheReport(
        bytes_per_token=features * program.dtype.num_bytes,
        bytes_per_token_per_pe=reserved / (program.sequences * program.context),
        sequences=program.sequences,
        context=program.context,
        longest_context=(
            None  # a launch has the whole sequence
            if program.trains
            else longest_context(program, record.architecture, has_tables=False)
        ),
    )


def _seconds(cycles: float | None, clock_hertz: float) -> float | None:
    return None if cycles is None else to_seconds(cycles, clock_hertz=clock_hertz)
