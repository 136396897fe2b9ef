"""What was simulated and what derived, in the words of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.pytorch.report.words import count

if TYPE_CHECKING:
    from onewafer.pytorch.report.values import LaunchOrigins, SimulationReport


def show_origins(origins: LaunchOrigins) -> str:
    """Return where the cycles of launches come from.

    >>> from onewafer.pytorch.report import LaunchOrigins
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
    known = " (known: simulated by an earlier run)" if origins.known else ""
    return show_origins(origins) + known


def show_ratios(simulation: SimulationReport) -> str | None:
    """Return simulated cycles over the closed form, the largest last; None: not known."""
    lowest, largest = simulation.lowest_ratio, simulation.largest_ratio
    if lowest is None or largest is None:
        return None
    shown = f"{lowest:.3f}", f"{largest:.3f}"
    return " to ".join(dict.fromkeys(shown))


def show_dependences(simulation: SimulationReport) -> str | None:
    """Return the values that cycles depend on; None: derived ones are those of any values."""
    if not simulation.depends_on:
        return None
    return f"{', '.join(simulation.depends_on)}: derived cycles are those of simulated values"


def show_values(simulation: SimulationReport) -> str:
    """Return whose values the script got, and how the fabric's compare."""
    if not simulation.compared:
        return "the host's"
    compared = count(simulation.compared, "simulated launch")
    if simulation.other_bits or simulation.beyond_bound:
        return (
            f"the host's. The fabric's are WRONG, please report it: of {compared}, "
            f"{simulation.other_bits} with other bits than the NumPy reader, "
            f"{simulation.beyond_bound} beyond the bound of rounding"
        )
    found = f"the host's; in {compared} the fabric has the NumPy reader's bits"
    if simulation.distance is None:
        return found
    return f"{found}, {simulation.distance:.1e} from the host"
