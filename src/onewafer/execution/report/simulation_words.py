"""Simulated and derived launches, in the words of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.units import count_of

if TYPE_CHECKING:
    from onewafer.execution.report.values import LaunchOrigins, SimulationReport


def show_origins(origins: LaunchOrigins) -> str:
    """Return the numbers of launches by the origin of their cycles, as text.

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
    """Return the text of `show_origins`, with the meaning of `known`."""
    return show_origins(origins).replace("known", "known (earlier run)")


def show_formula_errors(simulation: SimulationReport) -> str | None:
    """Return the range of the closed form's errors as text; None: nothing was simulated.

    >>> from onewafer.execution.report import LaunchOrigins, SimulationReport
    >>> origins = LaunchOrigins(simulated=2, known=0, derived=0, closed_form=0)
    >>> show_formula_errors(SimulationReport(origins, 0.974, 1.011, (), 2, 0, 0, None, None))
    '-1.1% to +2.7%'
    """
    ratios = simulation.largest_ratio, simulation.lowest_ratio
    errors = (1 / ratio - 1 for ratio in ratios if ratio is not None)
    shown = [f"{round(error, 3) + 0.0:+.1%}" for error in errors]
    return " to ".join(dict.fromkeys(shown)) or None


def show_dependences(simulation: SimulationReport) -> str | None:
    """Return the values on which cycles depend; None: launches of a shape are equally long."""
    return ", ".join(simulation.depends_on) or None


def show_wrong_values(simulation: SimulationReport) -> str | None:
    """Return a text if values of simulated launches are wrong; None: they are right or unknown."""
    if not simulation.other_bits and not simulation.beyond_bound:
        return None
    return (
        f"WRONG, please report it: of {count_of(simulation.compared, 'launch')}, "
        f"{simulation.other_bits} with other bits than the NumPy reader, "
        f"{simulation.beyond_bound} beyond the bound of rounding"
    )


def show_fabric_values(simulation: SimulationReport) -> str | None:
    """Return the comparison of simulated values as text; None: there was none."""
    if not simulation.compared:
        return None
    wrong = show_wrong_values(simulation)
    if wrong is not None:
        return wrong
    bits = f"bit for bit as NumPy computes them, in {count_of(simulation.compared, 'launch')}"
    match simulation.distance:
        case None:
            return bits
        case 0.0:
            return f"{bits}; equal to PyTorch's"
        case distance:
            return f"{bits}; at most {distance:.0e} from PyTorch's"
