"""From the ledger of a session to a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import __version__
from onewafer.pytorch.options import Fidelity
from onewafer.pytorch.report.values import HostCalls, ProgramReport, Report
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from onewafer.pytorch.ledger import Ledger, ProgramRecord

NEEDS_GRADIENT = "the result needs a gradient"


def build_report(ledger: Ledger) -> Report:
    """Return the report of everything that a ledger holds."""
    programs = tuple(_report_program(record) for record in ledger.programs)
    return Report(
        version=__version__,
        wafer_calls=sum(program.calls for program in programs),
        compilations=len(programs),
        recompilations=sum(not record.is_first for record in ledger.programs),
        gradient_calls=tuple(
            HostCalls(module, NEEDS_GRADIENT, calls)
            for module, calls in ledger.gradient_calls.items()
        ),
        fallbacks=tuple(
            HostCalls(module, reason, calls) for (module, reason), calls in ledger.fallbacks.items()
        ),
        programs=programs,
    )


def _report_program(record: ProgramRecord) -> ProgramReport:
    program, activity, options = record.program, record.activity, record.options
    clock_hertz = options.clock_hertz or record.architecture.clock_hertz
    pe_cycles = activity.cycles * program.width * program.height
    link_cycles = activity.cycles * _count_links(program.width, program.height)
    is_simulated = options.fidelity is Fidelity.FABRIC
    per_launch = _ratio(activity.cycles, record.launches)
    per_sample = _ratio(activity.cycles, record.samples)
    return ProgramReport(
        module=record.module,
        compiled_because=record.reason,
        arch=record.architecture.name,
        arch_title=record.architecture.title,
        profile=record.architecture.profile,
        fidelity=options.fidelity,
        engine=record.engine,
        dtype=program.dtype,
        clock_hertz=clock_hertz,
        width=program.width,
        height=program.height,
        bucket_rows=record.bucket,
        tile_programs=record.num_tile_programs,
        memory_bytes=record.architecture.memory_bytes,
        memory=record.memory,
        calls=record.calls,
        launches=record.launches,
        samples=record.samples,
        cycles=activity.cycles,
        cycles_per_launch=per_launch,
        cycles_per_sample=per_sample,
        seconds_per_launch=_seconds(per_launch, clock_hertz),
        seconds_per_sample=_seconds(per_sample, clock_hertz),
        wavelet_hops_per_launch=(
            _ratio(activity.wavelet_hops, record.launches) if is_simulated else None
        ),
        busy_pe_fraction=_ratio(activity.busy_pe_cycles, pe_cycles) if is_simulated else None,
        busy_link_fraction=_ratio(activity.link_wavelets, link_cycles) if is_simulated else None,
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        parameters_sent=record.parameters_sent,
        parameters_resent=record.parameters_resent,
    )


def _count_links(width: int, height: int) -> int:
    """Return the number of links between neighbours, each direction counted."""
    return 2 * ((width - 1) * height + width * (height - 1))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _seconds(cycles: float | None, clock_hertz: float) -> float | None:
    return None if cycles is None else to_seconds(cycles, clock_hertz=clock_hertz)
