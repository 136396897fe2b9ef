"""Simulated and derived launches of fidelity `auto`, and how to simulate more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import OnewaferError
from onewafer.execution.launch_times import Origin
from onewafer.execution.report.values import LaunchOrigins, SimulationReport
from onewafer.graph import DataType, with_dtype
from onewafer.mesh import Cutter, estimate, smallest_rectangle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.execution.executor import NotSimulated
    from onewafer.execution.records import ProgramRecord
    from onewafer.mesh import Launch


def report_simulation(record: ProgramRecord) -> SimulationReport | None:
    """Return the simulated launches of a program; None: its fidelity is not `auto`."""
    if record.times is None:
        return None
    origins = sum((phase.origins for phase in record.phases.values()), start=Counter[Origin]())
    ratios, agreement = record.times.ratios(), record.figures.agreement
    missed = record.figures.not_simulated
    return SimulationReport(
        origins=count_origins(origins),
        lowest_ratio=min(ratios, default=None),
        largest_ratio=max(ratios, default=None),
        depends_on=record.program.depends_on,
        compared=agreement.launches,
        other_bits=agreement.other_bits,
        beyond_bound=agreement.beyond_bound,
        distance=agreement.distance,
        not_simulated=None if missed is None else _explain(record, missed),
    )


def count_origins(origins: Counter[Origin]) -> LaunchOrigins:
    """Return the numbers of launches by the origin of their cycles."""
    return LaunchOrigins(
        simulated=origins[Origin.SIMULATED],
        known=origins[Origin.KNOWN],
        derived=origins[Origin.DERIVED],
        closed_form=origins[Origin.CLOSED_FORM],
    )


def _explain(record: ProgramRecord, missed: NotSimulated) -> str:
    """Return why a launch was not simulated, and the options with which it would be."""
    if missed.needed_budget is None:
        return missed.reason
    wider = f"`--simulate-budget {_round_up(missed.needed_budget)}` would do"
    if not missed.may_be_cheaper:
        return f"{missed.reason}; {wider}"
    for named, pe_cycles in _cheaper(record, missed.launch):
        if pe_cycles <= record.options.simulate_budget:
            wider += f", or {named}: about {pe_cycles:,} a launch"
            break
    return f"{missed.reason}; {wider}"


def _cheaper(record: ProgramRecord, launch: Launch | None) -> Iterator[tuple[str, int]]:
    """Yield options with which the model takes fewer PEs, each with the PE-cycles of a launch."""
    program, architecture = record.program, record.architecture
    graphs = [("", program.graph)]
    if program.dtype is DataType.F32 and not program.trains:  # training in f16 is not supported
        graphs.append(("--dtype f16 ", with_dtype(program.graph, DataType.F16)))
    for options, graph in graphs:
        try:
            smallest = smallest_rectangle(replace(program, graph=graph), architecture)
            if smallest is None:
                continue
            width, height = smallest
            cutter = Cutter(graph, sequences=program.sequences, training=program.training)
            smaller = cutter.cut(
                width=width,
                height=height,
                architecture=architecture,
                context=program.context,
            )
        except OnewaferError:  # no program of that kind
            continue
        cycles = estimate(smaller, architecture, launch).cycles
        yield f"`{options}--rectangle {width}x{height}`", cycles * width * height


def _round_up(pe_cycles: int) -> str:
    """Return a number of PE-cycles rounded up to two digits, as text for the option.

    >>> _round_up(3_141_592_653), _round_up(1_000)
    ('3200M', '1M')
    """
    millions = -(-pe_cycles // 10**6)
    step = 10 ** max(0, len(str(millions)) - 2)
    return f"{-(-millions // step) * step}M"
