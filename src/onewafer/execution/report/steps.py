"""The cost of a training step: a column for each of its launches."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from onewafer.arch import find_wafer_system
from onewafer.execution.records import Phase
from onewafer.execution.report.phases import busy_pes
from onewafer.execution.report.values import EnergyReport, StepReport
from onewafer.mesh import Role
from onewafer.units import format_bytes, format_hertz, format_joules, format_seconds, to_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from onewafer.execution.records import PhaseRecord, ProgramRecord
    from onewafer.execution.report.values import PhaseReport, ProgramReport
    from onewafer.mesh import MeshProgram


def report_step(record: ProgramRecord) -> StepReport | None:
    """Return the cost of a training step of a program; None: it was not trained."""
    phases = {phase: done for phase, done in record.phases.items() if phase.trains}
    last = phases.get(Phase.UPDATE) or phases.get(Phase.BACKWARD)
    if last is None:
        return None
    steps = _count(last)
    samples = phases[Phase.FORWARD].rows / steps
    cycles = sum(record.activity_of(done).cycles for done in phases.values()) / steps
    seconds = to_seconds(cycles, clock_hertz=record.clock_hertz)
    return StepReport(
        steps=steps,
        samples=samples,
        cycles=cycles,
        seconds=seconds,
        samples_per_second=samples / seconds,
        bytes_in=(_count_bytes(record.program, Role.INPUT, phases.values()) + record.resent_bytes)
        / steps,
        bytes_out=_count_bytes(record.program, Role.OUTPUT, phases.values()) / steps,
        repeated=record.repeated,
        energy=energy_of(record, cycles),
    )


def _count(last: PhaseRecord) -> int:
    """Return the number of steps; the updates of two optimizers count as one step."""
    launched = Counter[str]()
    for launch, count in last.launches.items():
        launched["" if launch is None else launch.entry] += count
    return max(launched.values()) if last.calls == launched.total() else last.calls


def _count_bytes(program: MeshProgram, role: Role, phases: Iterable[PhaseRecord]) -> int:
    """Return the bytes sent to or read from the wafer for all launches of some phases."""
    launched = Counter[str]()
    for phase in phases:
        for launch, count in phase.launches.items():
            launched[(launch or program.whole_launch()).entry] += count
    return sum(
        item.num_bytes * count
        for item in program.with_role(role)
        if not item.is_resident
        for entry, count in launched.items()
        if item.is_of(entry)
    )


def render_step(program: ProgramReport, step: StepReport) -> RenderableType:
    """Return the table of a program's training step."""
    phases = [phase for phase in program.phases if phase.phase.trains]
    table = Table(show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for _ in (*phases, step):
        table.add_column(justify="right", no_wrap=True)
    heads = (*(phase.phase for phase in phases), "all")
    table.add_row("costs of a step", *(Text(head, style="bold") for head in heads))
    table.add_section()
    for name, cells in _figures(phases, step, program.clock_hertz):
        table.add_row(name, *cells)
    table.add_section()
    what = "tokens" if program.is_in_tokens else "samples"
    for name, cell in _totals(step, what, program.clock_hertz):
        table.add_row(name, *[""] * len(phases), cell)
    return table


def _figures(
    phases: Sequence[PhaseReport], step: StepReport, clock_hertz: float
) -> Iterator[tuple[str, list[str]]]:
    cycles = [phase.cycles / step.steps for phase in phases]
    yield "cycles", [f"{count:,.0f}" for count in (*cycles, step.cycles)]
    seconds = [to_seconds(count, clock_hertz=clock_hertz) for count in cycles]
    yield "time", [format_seconds(time) for time in (*seconds, step.seconds)]
    yield "share of the time", [f"{count / step.cycles:.0%}" for count in (*cycles, step.cycles)]
    if phases[0].busy_pe_fraction is not None:
        yield "off closed form", [*(f"{phase.expected_error:+.1%}" for phase in phases), ""]
        busy = [phase.busy_pe_fraction or 0.0 for phase in phases]
        mean = sum(part * count for part, count in zip(busy, cycles, strict=True)) / step.cycles
        yield "PEs busy", [f"{part:.0%}" for part in (*busy, mean)]


def _totals(step: StepReport, what: str, clock_hertz: float) -> Iterator[tuple[str, str]]:
    yield "steps", f"{step.steps:,}"
    yield f"{what} a step", f"{step.samples:,.4g}"
    yield f"{what}/s, {format_hertz(clock_hertz)}", f"{step.samples_per_second:,.0f}"
    yield "bytes in a step", format_bytes(round(step.bytes_in))
    yield "bytes out a step", format_bytes(round(step.bytes_out))
    if step.energy is not None:
        yield "energy, PEs used", format_joules(step.energy.joules_of_pes)
        yield f"energy, whole {step.energy.system}", format_joules(step.energy.joules)
    if step.repeated:
        yield "forward passes again", f"{step.repeated:,}"


def energy_of(record: ProgramRecord, cycles: float) -> EnergyReport | None:
    """Return the energy of so many cycles of a program; None: the system's power is not known.

    The rule is that of recordings (`energy_joules`): every PE of the fabric has an equal share of
    the power of an idle system, and, while it works, of the additional power of a busy system. This
    division is assumed; the two powers have their sources in `arch/wafer_systems`.

    PEs that were not observed count as busy; those that the program does not use are idle.
    """
    architecture, program = record.architecture, record.program
    system = find_wafer_system(architecture.name)
    if system is None:
        return None
    seconds = to_seconds(cycles, clock_hertz=record.clock_hertz)
    busy = busy_pes(record, record.activity)
    used = program.width * program.height / (architecture.fabric_width * architecture.fabric_height)
    idle_joules = system.idle_watts * seconds
    more = used * (1.0 if busy is None else busy) * (system.busy_watts - system.idle_watts)
    return EnergyReport(
        system=system.title,
        joules=idle_joules + more * seconds,
        joules_of_pes=used * idle_joules + more * seconds,
    )
