"""How speed grows: over PEs, over wavelets, over the share of PEs that work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.benchmarks.catalog import find_benchmark
from onewafer.benchmarks.runner import run_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.benchmarks.benchmark import Sizes
    from onewafer.benchmarks.runner import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a curve: a benchmark at several sizes."""

    label: str
    benchmark: str
    points: tuple[tuple[float, Sizes], ...]
    """x and the sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One picture."""

    name: str
    """Name of its file, without `.svg`."""
    title: str
    x_label: str
    ticks: tuple[tuple[float, str], ...]
    """Marks of the x axis and their labels."""
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesResult:
    """One line, measured."""

    label: str
    points: tuple[tuple[float, Outcome], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveResult:
    """One picture, measured."""

    curve: Curve
    series: tuple[SeriesResult, ...]


_PROGRAMS = {
    "chain reduce": "chain-reduce-64",
    "multicast": "flood-64",
    "long routes": "long-routes-64",
}


def growth_curves(*, quick: bool) -> tuple[Curve, ...]:
    """Return the curves; quick ones have two small points a line."""
    sides = (2, 4) if quick else (8, 16, 32, 64, 128, 256)
    num_words = (2, 4) if quick else (8, 32, 128, 512, 2048)
    wide, active_sides = (6, (2, 6)) if quick else (256, (16, 32, 64, 128, 256))
    square, words = (4, 4) if quick else (64, 128)
    return (
        Curve(
            name="over-pes",
            title=f"Squares of PEs, {words} words",
            x_label="PEs",
            ticks=tuple((side * side, f"{side}×{side}") for side in sides),
            series=_series(
                tuple(
                    (side * side, {"width": side, "height": side, "num_words": words})
                    for side in sides
                )
            ),
        ),
        Curve(
            name="over-wavelets",
            title=f"{square}×{square} PEs",
            x_label="words of a message",
            ticks=tuple((n, f"{n:,}") for n in num_words),
            series=_series(
                tuple(
                    (float(n), {"width": square, "height": square, "num_words": n})
                    for n in num_words
                )
            ),
        ),
        Curve(
            name="over-active-fraction",
            title=f"Chain reduce on a part of {wide}×{wide} PEs, {words} words",
            x_label="share of PEs that have code",
            ticks=tuple(
                ((side / wide) ** 2, f"{100 * (side / wide) ** 2:.3g} %") for side in active_sides
            ),
            series=(
                Series(
                    label="chain reduce",
                    benchmark="chain-reduce-64",
                    points=tuple(
                        ((side / wide) ** 2, _active(wide, side, words)) for side in active_sides
                    ),
                ),
            ),
        ),
    )


def _series(points: tuple[tuple[float, Sizes], ...]) -> tuple[Series, ...]:
    return tuple(
        Series(label=label, benchmark=name, points=points) for label, name in _PROGRAMS.items()
    )


def _active(wide: int, side: int, num_words: int) -> Sizes:
    return {
        "width": wide,
        "height": wide,
        "active_width": side,
        "active_height": side,
        "num_words": num_words,
    }


def measure_curve(
    curve: Curve, *, engine: str, repeat: int, note: Callable[[str], None], threads: int = 1
) -> CurveResult:
    """Run every point of a curve in a process of its own."""
    results: list[SeriesResult] = []
    for series in curve.series:
        points: list[tuple[float, Outcome]] = []
        for number, (x, sizes) in enumerate(series.points, 1):
            place = f"{curve.name}, {series.label}, point {number} of {len(series.points)}"

            def tell(text: str, place: str = place) -> None:
                note(f"{place}: {text}")

            benchmark = find_benchmark(series.benchmark)
            outcome = run_benchmark(
                benchmark, sizes, engine=engine, repeat=repeat, note=tell, threads=threads
            )
            points.append((x, outcome))
        results.append(SeriesResult(label=series.label, points=tuple(points)))
    return CurveResult(curve=curve, series=tuple(results))
