"""Growth curves and their pictures."""

import pytest

from onewafer.benchmarks import CurveResult, Outcome, draw, find_benchmark, growth_curves
from onewafer.benchmarks import plots as plots_module
from onewafer.benchmarks.clock import Duration
from onewafer.benchmarks.curves import SeriesResult, measure_curve
from onewafer.benchmarks.figures import Figure, Measurement
from onewafer.errors import ConfigurationError


def outcome(hops, seconds, benchmark="chain-reduce-64"):
    measurement = Measurement(
        figures={Figure.HOPS: hops}, durations={"run": (Duration(seconds, seconds),)}
    )
    chosen = find_benchmark(benchmark)
    return Outcome(benchmark=chosen, sizes={}, repeat=1, measurement=measurement)


def result_of(curve, failed_points=0):
    series = []
    for line in curve.series:
        points = [(x, outcome(1e6 * x, 0.1 * x)) for x, _ in line.points]
        for i in range(failed_points):
            x, measured = points[i]
            failed = Outcome(benchmark=measured.benchmark, sizes={}, repeat=1, failure="no")
            points[i] = (x, failed)
        series.append(SeriesResult(label=line.label, points=tuple(points)))
    return CurveResult(curve=curve, series=tuple(series))


def test_curves_fit_their_benchmarks():
    for quick in (False, True):
        for curve in growth_curves(quick=quick):
            for series in curve.series:
                find_benchmark(series.benchmark)
                xs = [x for x, _ in series.points]
                assert xs == sorted(set(xs))


def test_active_fraction_is_that_of_the_sizes():
    curve = growth_curves(quick=False)[2]
    x, sizes = curve.series[0].points[0]
    assert x == sizes["active_width"] * sizes["active_height"] / sizes["width"] / sizes["height"]
    assert curve.series[0].points[-1][0] == 1


@pytest.mark.slow
def test_quick_curve_is_measured():
    notes = []
    curve = growth_curves(quick=True)[2]
    result = measure_curve(curve, engine="reference", repeat=1, note=notes.append)
    (series,) = result.series
    assert [x for x, _ in series.points] == [(2 / 6) ** 2, 1]
    hops = [outcome.measurement.counts["wavelet_hops"] for _, outcome in series.points]
    assert hops == [2 * 1 * 4, 6 * 5 * 4]
    assert "over-active-fraction, chain reduce, point 2 of 2: compiling" in notes


@pytest.mark.slow
def test_pictures_name_their_lines_and_are_reproducible(tmp_path):
    pytest.importorskip("matplotlib")
    for curve in growth_curves(quick=False):
        path = draw(result_of(curve), tmp_path)
        assert path == tmp_path / f"{curve.name}.svg"
        text = path.read_text()
        assert "wavelet-hops by processor second" in text
        assert all(series.label in text for series in curve.series)
        assert ("BookSim2" in text) == (curve.name == "over-pes")
        draw(result_of(curve), tmp_path)
        assert path.read_text() == text


def test_points_that_failed_are_left_out(tmp_path):
    pytest.importorskip("matplotlib")
    curve = growth_curves(quick=False)[0]
    whole = draw(result_of(curve), tmp_path).read_text()
    assert draw(result_of(curve, failed_points=2), tmp_path).read_text() != whole


def test_without_matplotlib(monkeypatch):
    monkeypatch.setattr(plots_module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'onewafer\[view\]'"):
        plots_module.require_matplotlib()


def test_picture_that_cannot_be_written(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "over-pes.svg").mkdir()
    with pytest.raises(ConfigurationError, match=r"over-pes\.svg: Is a directory"):
        draw(result_of(growth_curves(quick=False)[0]), tmp_path)
