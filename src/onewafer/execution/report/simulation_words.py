"""Simulated and derived launches, in the words of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.units import count_of

if TYPE_CHECKING:
    from onewafer.execution.report.values import LaunchOrigins, SimulationReport


def show_origins(origins: LaunchOrigins) -> str:
    """Return where the cycles of launches come from.

    >>> from onewafer.execution.report import LaunchOrigins
    >>> show_origins(LaunchOrigins(simulated=2, known=0, derived=14, closed_form=0))
    '2 simulated, 14 derived'
    """
    named = (
        (origins.simulated, "simulated"),
        (origins.known, "known"),
        (origins.derived, "derived"),
        (origins.closed_form, "closed form"),
    )
    return ", ".join(f"{number:,} {name}" for number, name in named if number)


def explain_origins(origins: LaunchOrigins) -> str:
    """Return where the cycles of launches come from, with what is meant by `known`."""
    return show_origins(origins).replace("known", "known (earlier run)")


def show_ratios(simulation: SimulationReport) -> str | None:
    """Return simulated cycles over the closed form, the largest last; None: not known."""
    lowest, largest = simulation.lowest_ratio, simulation.largest_ratio
    if lowest is None or largest is None:
        return None
    shown = f"{lowest:.3f}", f"{largest:.3f}"
    return " to ".join(dict.fromkeys(shown))


def show_dependences(simulation: SimulationReport) -> str | None:
    """Return the values that cycles depend on; None: launches of one shape are equally long."""
    return ", ".join(simulation.depends_on) or None


def show_fabric_values(simulation: SimulationReport) -> str | None:
    """Return how the values of simulated launches compare; None: there was none."""
    if not simulation.compared:
        return None
    compared = count_of(simulation.compared, "launch")
    if simulation.other_bits or simulation.beyond_bound:
        return (
            f"WRONG, please report it: of {compared}, {simulation.other_bits} with other bits than "
            f"the NumPy reader, {simulation.beyond_bound} beyond the bound of rounding"
        )
    bits = f"reader's bits in {compared}"
    if simulation.distance is None:
        return bits
    if not simulation.distance:
        return f"{bits}, equal to PyTorch's"
    return f"{bits}, {simulation.distance:.0e} from PyTorch"
