"""What a run cost, as values, as JSON and as a table.

In: the ledger of a session. Out: a `Report`. A figure that nobody measured is None and prints as
a dash.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer import __version__
from onewafer.pytorch.options import Fidelity
from onewafer.units import format_bytes, format_hertz, format_seconds, to_seconds
from onewafer.whole_files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from onewafer.pytorch.executable import PeMemory
    from onewafer.pytorch.ledger import Ledger, ProgramRecord

FORMAT = "onewafer-report-1"


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """One compiled program: where it ran and what it cost over all its launches."""

    module: str
    compiled_because: str
    arch: str
    arch_title: str
    profile: str
    fidelity: str
    engine: str | None
    """Which engine simulated; None where nothing was."""
    dtype: str
    clock_hertz: float
    width: int
    height: int
    bucket_rows: int
    tile_programs: int | None
    memory_bytes: int
    """SRAM of a PE."""
    memory: PeMemory | None
    """Use of the fullest PE."""
    calls: int
    launches: int
    samples: int
    cycles: int
    """Over all launches."""
    cycles_per_launch: float | None
    cycles_per_sample: float | None
    seconds_per_launch: float | None
    seconds_per_sample: float | None
    wavelet_hops_per_launch: float | None
    busy_pe_fraction: float | None
    """Main thread cycles + data path cycles ÷ PEs × cycles; work of both at once counts twice."""
    busy_link_fraction: float | None
    """Wavelets over links between PEs ÷ links × cycles."""
    bytes_in: int
    """Over all launches, weights included. Replicas are made on the wafer and not counted."""
    bytes_out: int
    """Over all launches."""
    parameters_sent: int
    parameters_resent: int

    @property
    def num_pes(self) -> int:
        """PEs of the rectangle, all of which the program uses."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class HostCalls:
    """Calls of one module class that ran on the host for one reason."""

    module: str
    reason: str
    calls: int


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    version: str
    wafer_calls: int
    compilations: int
    recompilations: int
    """Compilations of a module beyond its first."""
    gradient_calls: tuple[HostCalls, ...]
    """Calls that needed gradients."""
    fallbacks: tuple[HostCalls, ...]
    """Calls that the wafer could not do."""
    programs: tuple[ProgramReport, ...]


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


def to_json(report: Report) -> str:
    """Return the report as JSON, every field under its name."""
    return json.dumps({"format": FORMAT, **asdict(report)}, indent=2) + "\n"


def write_json(report: Report, path: Path) -> None:
    """Write the report to a file: completely or not at all.

    A link or device (`/dev/stdout`) is written in place instead of being replaced.
    """
    write_text(path, to_json(report))


def _show(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def _count(number: int, noun: str) -> str:
    """Return a count with its noun.

    >>> _count(1, "launch"), _count(1200, "launch"), _count(2, "row")
    ('1 launch', '1,200 launches', '2 rows')
    """
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _show_calls(p: ProgramReport) -> str:
    return f"{p.calls:,} in {_count(p.launches, 'launch')}, {_count(p.samples, 'sample')}"


def _show_time(seconds: float | None, clock_hertz: float) -> str | None:
    return None if seconds is None else f"{format_seconds(seconds)} at {format_hertz(clock_hertz)}"


def _show_memory(program: ProgramReport) -> str | None:
    memory = program.memory
    if memory is None:
        return None
    share = memory.total_bytes / program.memory_bytes
    return f"{format_bytes(memory.total_bytes)} ({share:.0%}) at PE ({memory.x}, {memory.y})"


_Row = tuple[str, "Callable[[ProgramReport], str | None]"]

_SECTIONS: tuple[tuple[_Row, ...], ...] = (
    (
        ("program", lambda p: f"{p.module}, {_count(p.bucket_rows, 'row')}, {p.dtype}"),
        ("compiled because", lambda p: p.compiled_because),
        ("machine", lambda p: f"{p.arch_title}, {p.profile} timing, {p.fidelity} fidelity"),
        ("engine", lambda p: p.engine),
        ("rectangle", lambda p: f"{p.width}×{p.height}, {_count(p.num_pes, 'PE')} used"),
        ("tile programs", lambda p: _show(p.tile_programs, "{:,}")),
    ),
    (
        ("SRAM, fullest PE", _show_memory),
        ("  code, runtime", lambda p: p.memory and format_bytes(p.memory.code_bytes)),
        ("  weights", lambda p: p.memory and format_bytes(p.memory.weight_bytes)),
        ("  activations", lambda p: p.memory and format_bytes(p.memory.activation_bytes)),
        ("  buffers", lambda p: p.memory and format_bytes(p.memory.buffer_bytes)),
    ),
    (
        ("cycles a launch", lambda p: _show(p.cycles_per_launch, "{:,.0f}")),
        ("time a launch", lambda p: _show_time(p.seconds_per_launch, p.clock_hertz)),
        ("cycles a sample", lambda p: _show(p.cycles_per_sample, "{:,.0f}")),
        ("time a sample", lambda p: _show_time(p.seconds_per_sample, p.clock_hertz)),
        ("wavelet-hops a launch", lambda p: _show(p.wavelet_hops_per_launch, "{:,.0f}")),
        ("PEs busy", lambda p: _show(p.busy_pe_fraction, "{:.1%}")),
        ("links busy", lambda p: _show(p.busy_link_fraction, "{:.1%}")),
    ),
    (
        ("all calls", _show_calls),
        ("all bytes in", lambda p: f"{format_bytes(p.bytes_in)}, weights included, replicas not"),
        ("all bytes out", lambda p: format_bytes(p.bytes_out)),
        ("parameters sent", lambda p: f"{p.parameters_sent} once, {p.parameters_resent} again"),
    ),
)

_SHOWN_PROGRAMS = 3
"""Programs that get a column; the busiest ones."""


def render(report: Report) -> RenderableType:
    """Return the report for a terminal."""
    shown = sorted(report.programs, key=lambda p: p.cycles, reverse=True)[:_SHOWN_PROGRAMS]
    parts: list[RenderableType] = []
    if shown:
        parts += [Text("onewafer report", style="bold"), _render_programs(shown)]
    left_out = len(report.programs) - len(shown)
    if left_out:
        more = _count(left_out, "more program")
        parts.append(Text(f"and {more} with fewer cycles; --json has them all"))
    parts.append(_render_calls(report))
    return Group(*parts)


def _render_programs(programs: list[ProgramReport]) -> Table:
    table = Table(show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for _ in programs:
        table.add_column(overflow="fold")
    for section in _SECTIONS:
        table.add_section()
        for name, show in section:
            cells = [show(program) for program in programs]
            if any(cells):
                table.add_row(name, *(cell or "–" for cell in cells))
    return table


def _render_calls(report: Report) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("calls on the wafer", f"{report.wafer_calls:,}")
    table.add_row(
        "compilations", f"{report.compilations} ({report.recompilations} of them recompilations)"
    )
    table.add_row("calls on the host", *_lines(report.gradient_calls))
    table.add_row("host fallbacks", *_lines(report.fallbacks))
    return table


def _lines(calls: tuple[HostCalls, ...]) -> Iterator[str]:
    lines = [f"{entry.calls:,} × {entry.module}: {entry.reason}" for entry in calls]
    yield "\n".join(lines) or "none"
