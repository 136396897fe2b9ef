"""The lines that a run prints: how much ran on the wafer, how fast, what limits it, how sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.execution import MOST_USUAL_PES
from onewafer.execution.report import show_wrong_values
from onewafer.graph import LayerPart
from onewafer.perf import known_error_of_closed_form, known_error_of_simulator
from onewafer.pytorch.report.host_words import describe_host, describe_workers
from onewafer.pytorch.report.share import describe_share
from onewafer.pytorch.report.values import AdviceKind
from onewafer.units import count_of, format_hertz, format_joules, format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from onewafer.execution.report import ProgramReport, SimulationReport
    from onewafer.pytorch.report.values import OnSystem, RunValues, Work

_EXPLAINED = "explained: docs/reference/report.md"
_HINTS = {False: f"all tables: onewafer run --verbose; {_EXPLAINED}", True: _EXPLAINED}
"""True if tables follow → the last line."""
_MOST_ON_HOST = 3
"""Lines about the host; the others are counted."""
_INSTALL = "pip install 'onewafer[gpu]', and the next report prices the same work there"
_NAMES = {"h100x1": "one H100"}


def render_summary(report: RunValues, *, is_verbose: bool) -> RenderableType:
    """Return the lines that a run prints; of a verbose one tables follow."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, lines in _labelled(report):
        if lines:
            table.add_row(label, Text("\n".join(lines)))
    alerts = (Text(line, style="bold red") for line in _alerts(report))
    share = [] if report.flop is None else [Text(describe_share(report.flop), style="bold")]
    hint = [Text(_HINTS[is_verbose], style="dim")] if report.programs or report.host else []
    return Group(Text("onewafer report", style="bold"), *alerts, *share, table, *hint)


def _alerts(report: RunValues) -> Iterator[str]:
    """Yield what must not be overlooked."""
    if report.ended is not None:
        yield f"The run ended early ({report.ended}); this is what is known so far."
    for program in report.programs:
        wrong = None if program.simulation is None else show_wrong_values(program.simulation)
        for found in (wrong, program.not_finite):
            if found is not None:
                yield f"{program.module}: {found}"


def _labelled(report: RunValues) -> Iterator[tuple[str, list[str]]]:
    host = [*describe_host(report.host, is_verbose=False), *describe_workers(report.workers)]
    more = len(host) - _MOST_ON_HOST
    yield (
        "on the host",
        [*host[:_MOST_ON_HOST], *([f"and {more} more: --verbose"] if more > 0 else [])],
    )
    yield "to do", [one.text for one in report.advice if one.kind is not AdviceKind.OPERATIONS]
    yield "note", [*report.notes]
    work = report.work
    if work is None:
        return
    program = report.programs[work.program]
    yield "speed", [_describe_speed(work, program)]
    for one in work.elsewhere:
        yield _NAMES.get(one.system, one.system), [_describe_other(one, work, program)]
    if work.fastest is not None and not work.elsewhere:
        yield _NAMES["h100x1"], [_INSTALL]
    yield "limit", [_describe_limit(work, program)]
    yield "PEs used", [" ".join(_describe_pes(work, program))]
    yield "how sure", [" ".join(_describe_sureness(program))]


def _describe_speed(work: Work, program: ProgramReport) -> str:
    rate, clock = _show_rate(work.rows_per_second, program), format_hertz(program.clock_hertz)
    energy = ""
    if work.energy is not None:
        ours, whole = map(format_joules, (work.energy.joules_of_pes, work.energy.joules))
        energy = f". Energy: {ours} in the PEs used, {whole} in the whole {work.energy.system}"
    return (
        f"{program.module}, {work.what}: {format_seconds(work.seconds)}, {rate} at {clock}{energy}"
    )


def _show_rate(per_second: float, program: ProgramReport) -> str:
    return f"{format_rate(per_second)} {'tokens' if program.is_in_tokens else 'samples'}/s"


def _describe_other(one: OnSystem, work: Work, program: ProgramReport) -> str:
    if one.seconds is None or one.rows_per_second is None or one.joules is None:
        return f"cannot: {one.refusal}"
    times = work.seconds / one.seconds
    compared = f"{times:.2g} times as fast" if times >= 1 else f"{1 / times:.2g} times as slow"
    compared += f" as these {count_of(program.num_pes, 'PE')}"
    if one.error is None:
        error = "Never compared with published figures"
    elif one.is_compared:
        error = (
            f"± {_percent(one.error.median)}, the median of {one.error.count:,} published figures"
        )
    else:
        error = "Never compared with published figures of models this small"
    return (
        f"{format_seconds(one.seconds)}, {_show_rate(one.rows_per_second, program)}, "
        f"{format_joules(one.joules)} in {one.precision}: {compared}. {error}"
    )


def _describe_limit(work: Work, program: ProgramReport) -> str:
    limit = work.limit
    is_named = limit.part not in (None, LayerPart.OTHER)
    shares = {
        f"arithmetic{f', most of it {limit.part}' if is_named else ''}": limit.arithmetic,
        "messages between PEs": limit.messages,
        "starting and ending launches": limit.control,
    }
    first, *others = sorted(shares, key=lambda name: -shares[name])
    rest = ", ".join(f"{name} {_percent(shares[name])}" for name in others)
    how = " by formula" if limit.busy is None else ""
    return f"{first}: {_percent(shares[first])} of the cycles{how}; {rest}{_describe_step(program)}"


def _describe_step(program: ProgramReport) -> str:
    """Return what each phase of a training step takes; nothing for a program without one."""
    phases = [phase for phase in program.phases if phase.phase.trains]
    if program.step is None:
        return ""
    cycles = sum(phase.cycles for phase in phases)
    phases.sort(key=lambda phase: -phase.cycles)
    return "; of the step: " + ", ".join(
        f"{each.phase} {_percent(each.cycles / cycles)}" for each in phases
    )


def _describe_pes(work: Work, program: ProgramReport) -> Iterator[str]:
    share = _percent(program.num_pes / work.num_pes, 1)
    if program.placement.is_pinned:
        why = "as you asked"
    elif program.num_pes <= MOST_USUAL_PES:
        why = "so few that each can be simulated"
    else:
        why = "the smallest tried that the model fits"
    sides = f"{program.width}×{program.height}"
    yield f"{program.num_pes:,} of {work.num_pes:,} ({share}): {sides}, {why}."
    fastest = work.fastest
    if fastest is None:
        return
    if (fastest.width, fastest.height) == (program.width, program.height):
        yield "No other rectangle is faster, by formula"
        return
    seconds = format_seconds(work.seconds / fastest.speedup)
    yield f"The fastest, {fastest.width}×{fastest.height}, takes {seconds} by formula"


def _describe_sureness(program: ProgramReport) -> Iterator[str]:
    formula = known_error_of_closed_form()
    usual = f"at most {_percent(formula.largest or formula.median)} off in {formula.count} others"
    if program.simulation is not None:
        yield from _describe_origins(program.simulation, usual)
    elif program.fidelity == "fabric":
        yield "All launches were simulated."
    else:
        yield f"No launch was simulated: cycles come from a formula, {usual}."
    error = known_error_of_simulator(program.profile)
    if error is not None:
        whose = "Cerebras' simulator" if program.profile == "sdk" else "a real CS-2 or CS-3"
        yield (
            f"The simulator is {_percent(error.median)} off {whose} (median of {error.count} "
            "published figures, none of a whole model)"
        )


def _describe_origins(simulation: SimulationReport, usual: str) -> Iterator[str]:
    """Yield how the cycles of fidelity `auto` were found."""
    origins, ratios = simulation.origins, (simulation.lowest_ratio, simulation.largest_ratio)
    simulated = origins.simulated + origins.known
    total = count_of(simulated + origins.derived + origins.closed_form, "launch")
    if simulated:
        which = f"{simulated:,} of {total}"
        if not (origins.derived or origins.closed_form):
            which = "The only launch" if simulated == 1 else f"All {total}"
        earlier = f", {origins.known:,} of them in an earlier run" if origins.known else ""
        end = ";" if origins.derived else "."
        yield f"{which} {'was' if simulated == 1 else 'were'} simulated{earlier}{end}"
    if origins.derived:
        errors = [abs(1 / ratio - 1) for ratio in ratios if ratio is not None]
        yield (
            f"{origins.derived:,} follow from them by a formula that was at most "
            f"{_percent(max(errors, default=0.0))} off."
        )
    if origins.closed_form:
        yield f"{origins.closed_form:,} of {total} come from a formula alone, {usual}:"
        yield f"{simulation.not_simulated}."


def _percent(fraction: float, digits: int = 2) -> str:
    """Return a share with a few significant digits.

    >>> _percent(0.069), _percent(0.7812), _percent(64 / 883_350, 1), _percent(1.0)
    ('6.9%', '78%', '0.007%', '100%')
    """
    return f"{float(f'{100 * fraction:.{digits}g}'):g}%"
