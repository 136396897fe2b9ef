"""Results of benchmarks: figures, the goals they are held against, and counts.

A rate is a count by *processor* seconds, all threads together: what one core does, however busy the
computer is. A time that people wait for is in seconds by the clock on the wall.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

from onewafer.benchmarks.clock import Duration


class Figure(StrEnum):
    """The kinds of figures; the value is its name in JSON."""

    HOPS = "wavelet_hops_per_second"
    """Link traversals between PEs; a multicast to two neighbours is two."""
    HOPS_WITH_RAMP = "wavelet_hops_and_ramp_moves_per_second"
    """Hops per second, with the moves from routers down to their compute elements."""
    PE_CYCLES = "pe_cycles_per_second"
    """PEs that have code times simulated cycles: grows with idle PEs, so never quote it alone."""
    ELEMENTS = "dsd_elements_per_second"
    INSTRUCTIONS = "instructions_per_second"
    TASKS = "task_starts_per_second"
    COMPILE_PES = "compiled_pes_per_second"
    COMPILE_SECONDS = "compile_seconds"
    LOAD_SECONDS = "load_seconds"
    RUN_SECONDS = "run_seconds"
    IDLE_RATIO = "idle_ratio"
    """Time of a program inside a full wafer, divided by its time alone."""
    FIRST_USE_SECONDS = "first_use_seconds"
    COMPILED_USE_SECONDS = "compiled_use_seconds"
    CS_PYTHON_SECONDS = "cs_python_seconds"
    VERSION_SECONDS = "version_seconds"

    @property
    def label(self) -> str:
        """The name of the figure in tables, with the unit that `show` uses."""
        return _LABELS[self]

    def show(self, value: float) -> str:
        """Return a value for people."""
        if self.value.endswith("_per_second"):
            return _show_rate(value)
        return f"{value:.2f}×" if self is Figure.IDLE_RATIO else f"{_round(value)} s"


_LABELS = {
    Figure.HOPS: "wavelet-hops/s",
    Figure.HOPS_WITH_RAMP: "hops and ramp moves/s",
    Figure.PE_CYCLES: "PE-cycles/s",
    Figure.ELEMENTS: "DSD elements/s",
    Figure.INSTRUCTIONS: "instructions/s",
    Figure.TASKS: "task starts/s",
    Figure.COMPILE_PES: "PEs compiled/s",
    Figure.COMPILE_SECONDS: "compile time",
    Figure.LOAD_SECONDS: "load time",
    Figure.RUN_SECONDS: "run time",
    Figure.IDLE_RATIO: "time in a full wafer by time alone",
    Figure.FIRST_USE_SECONDS: "first use",
    Figure.COMPILED_USE_SECONDS: "first use, kernels compiled",
    Figure.CS_PYTHON_SECONDS: "cs_python, small program",
    Figure.VERSION_SECONDS: "onewafer --version",
}
_THOUSAND, _MILLION, _BILLION = 1e3, 1e6, 1e9
_HUNDRED, _TEN = 100, 10


def _show_rate(value: float) -> str:
    for unit, size in (("G", _BILLION), ("M", _MILLION), ("k", _THOUSAND)):
        if value >= size:
            return f"{_round(value / size)} {unit}"
    return _round(value)


def _round(value: float) -> str:
    """Return a number with three digits, or its whole part."""
    if value >= _HUNDRED:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _TEN else f"{value:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound on a figure: one of the two."""

    figure: Figure
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Insist on one bound."""
        assert (self.at_least is None) != (self.at_most is None)

    def is_met(self, value: float) -> bool:
        """Tell whether a figure is good enough."""
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most

    def verdict(self, value: float) -> str:
        """Return `met`, or how far the figure is off."""
        if self.is_met(value):
            return "met"
        is_low = self.at_least is not None
        shortfall = self._bound / value if is_low else value / self._bound
        return f"missed by {_round(shortfall)}×"

    def __str__(self) -> str:
        """Return the goal as people write it: `≥ 40.0 M`."""
        sign = "≥" if self.at_least is not None else "≤"
        return f"{sign} {self.figure.show(self._bound)}"

    @property
    def _bound(self) -> float:
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None
        return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The result of one benchmark, in one process."""

    figures: dict[Figure, float]
    cpu_seconds: dict[Figure, float] = field(default_factory=dict[Figure, float])
    """Processor seconds of the figures that are times by the clock."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    """`pes`, `active_pes`, and of one run `cycles`, `wavelet_hops`, `ramp_moves`, …"""
    durations: dict[str, tuple[Duration, ...]] = field(
        default_factory=dict[str, tuple[Duration, ...]]
    )
    """Every sample by what was timed: `compile`, `load`, `first_run`, `run`, …"""
    peak_bytes: int | None = None
    """Most memory that the process had resident; None where the system does not say."""
    checked: str = ""
    """How results were checked: a sentence without a full stop."""

    def to_fields(self) -> dict[str, Any]:
        """Return the measurement as values for JSON."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Measurement:
        """Return the measurement of `to_fields`."""
        return cls(
            figures={Figure(name): value for name, value in fields["figures"].items()},
            cpu_seconds={Figure(name): value for name, value in fields["cpu_seconds"].items()},
            counts=fields["counts"],
            durations={
                name: tuple(Duration(**sample) for sample in samples)
                for name, samples in fields["durations"].items()
            },
            peak_bytes=fields["peak_bytes"],
            checked=fields["checked"],
        )


def median_wall(samples: tuple[Duration, ...] | list[Duration]) -> float:
    """Return the median of the wall seconds."""
    return median(sample.wall_seconds for sample in samples)


def median_cpu(samples: tuple[Duration, ...] | list[Duration]) -> float:
    """Return the median of the processor seconds."""
    return median(sample.cpu_seconds for sample in samples)
