"""Goals, tables, JSON and the page."""

import json
from pathlib import Path

import pytest

from onewafer.benchmarks import (
    Figure,
    Goal,
    Measurement,
    Outcome,
    Results,
    find_benchmark,
    render_page,
    to_json,
)
from onewafer.benchmarks.clock import Duration
from onewafer.benchmarks.facts import Facts, find_facts
from onewafer.benchmarks.report import render_text

FACTS = Facts(
    date="2026-01-31",
    cpu="Some CPU",
    num_cores=2,
    memory_bytes=24 * 10**9,
    system="Linux",
    python="3.11.7",
    numpy="2.4.6",
    numba="0.68.1",
    onewafer="0.1.0",
    load_average=0.25,
    load_average_after=4.5,
)
SECOND = Duration(1.5, 1.0)


def chain(hops, **others):
    benchmark = find_benchmark("chain-reduce-64")
    measurement = Measurement(
        figures={
            Figure.HOPS: hops,
            Figure.HOPS_WITH_RAMP: 2 * hops,
            Figure.COMPILE_PES: 12_345.0,
            Figure.RUN_SECONDS: 1.5,
        },
        counts={"pes": 4096, "pes_with_code": 4096, "cycles": 535, "wavelet_hops": 516_096},
        durations={"compile": (SECOND,), "load": (SECOND,), "first_run": (SECOND,), "run": ()},
        peak_bytes=200 << 20,
        checked="NumPy",
    )
    return Outcome(
        benchmark=benchmark,
        sizes=benchmark.sizes,
        repeat=5,
        **{"measurement": measurement, **others},
    )


def failed(name, failure):
    benchmark = find_benchmark(name)
    return Outcome(benchmark=benchmark, sizes=benchmark.sizes, repeat=0, failure=failure)


RESULTS = Results(
    engine="fast",
    facts=FACTS,
    outcomes=(chain(30e6), failed("gemv-16k", "memory [is] full")),
)


def rows(text):
    """Return the cells of every row of the tables that begins with a name or not."""
    lines = (line for line in text.splitlines() if "│" in line)
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal(figure=Figure.HOPS, at_least=40e6), 40e6, "met"),
        (Goal(figure=Figure.HOPS, at_least=40e6), 10e6, "missed by 4.00×"),
        (Goal(figure=Figure.IDLE_RATIO, at_most=1.3), 1.3, "met"),
        (Goal(figure=Figure.IDLE_RATIO, at_most=1.3), 2.6, "missed by 2.00×"),
    ],
)
def test_verdicts(goal, value, verdict):
    assert goal.verdict(value) == verdict


def test_figures_and_goals_for_people():
    assert str(Goal(figure=Figure.HOPS, at_least=40e6)) == "≥ 40.0 M"
    assert str(Goal(figure=Figure.IDLE_RATIO, at_most=1.3)) == "≤ 1.30×"
    assert str(Goal(figure=Figure.RUN_SECONDS, at_most=120)) == "≤ 120 s"
    assert Figure.ELEMENTS.show(1_234) == "1.23 k"
    assert Figure.ELEMENTS.show(4.5e9) == "4.50 G"
    assert Figure.ELEMENTS.show(7) == "7.00"


def test_every_figure_has_a_label():
    assert len({figure.label for figure in Figure}) == len(Figure)


def test_tables_say_met_missed_and_not_measured():
    text = render_text(RESULTS)
    table = rows(text)
    title = "chain reduce along rows, 64×64 PEs, 128 words"
    missed = ["wavelet-hops/s", "30.0 M", "–", "≥ 40.0 M", "missed by 1.33×"]
    assert ["chain-reduce-64", title, *missed] in table
    met = ["hops and ramp moves/s", "60.0 M", "–", "≥ 40.0 M", "met"]
    assert any(row[-5:] == met for row in table)
    assert any(row[2:] == ["run time", "–", "–", "≤ 120 s", "not measured"] for row in table)
    rates = next(row for row in table if row[:2] == ["chain-reduce-64", "4,096"])
    assert rates[2:6] == ["535", "1", "30.0 M", "60.0 M"]
    assert rates[-3:] == ["12.3 k", "1.50", "200"]
    assert "gemv-16k  memory [is] full" in text
    assert "chain-reduce-64  each hop comes with a move down the ramp" in text
    assert "Not run: chain-reduce-256, flood-64" in text
    assert "Goals: 1 met, 1 missed, 2 not judged. fast engine" in text
    assert "medians of 5 runs after a first, large ones run once." in text
    assert (
        "Some CPU, 2 cores, 24 GB, Linux; 0.2 processes wanted a core before, 4.5 at the end"
        in text
    )


def test_a_time_of_first_use_is_shown_with_and_without_a_goal():
    for name, figure, verdict in (
        ("first-use", Figure.FIRST_USE_SECONDS, "met"),
        ("first-use-compiled", Figure.COMPILED_USE_SECONDS, "no goal"),
    ):
        benchmark = find_benchmark(name)
        measurement = Measurement(figures={figure: 3.0})
        outcome = Outcome(
            benchmark=benchmark, sizes=benchmark.sizes, repeat=1, measurement=measurement
        )
        shown = render_text(Results(engine="fast", facts=FACTS, outcomes=(outcome,)))
        assert shown.count("3.00 s") == 1
        assert verdict in shown


def test_json_has_everything():
    document = json.loads(to_json(RESULTS))
    names = ["format", "engine", "threads", "computer", "benchmarks", "not_run", "curves"]
    assert list(document) == names
    assert (document["format"], document["engine"]) == ("onewafer-benchmarks-1", "fast")
    assert document["threads"] == RESULTS.threads == 1
    assert document["computer"]["cpu"] == "Some CPU"
    chained, product = document["benchmarks"]
    assert chained["sizes"] == {"width": 64, "height": 64, "num_words": 128}
    assert chained["goals"][0] == {
        "figure": "wavelet_hops_per_second",
        "at_least": 40e6,
        "verdict": "missed by 1.33×",
    }
    measurement = chained["measurement"]
    assert measurement["figures"]["wavelet_hops_per_second"] == 30e6
    assert measurement["durations"]["load"] == [{"wall_seconds": 1.5, "cpu_seconds": 1.0}]
    assert measurement["counts"]["cycles"] == 535
    assert (product["measurement"], product["failure"]) == (None, "memory [is] full")
    assert "axpy" in document["not_run"]


def test_page_shows_the_command_the_table_and_the_plots(tmp_path):
    text = render_page(
        RESULTS,
        command="onewafer bench --large",
        plots={"Squares": tmp_path / "docs" / "performance" / "over-pes.svg"},
        page=tmp_path / "docs" / "performance.md",
    )
    assert "\n```console\n$ onewafer bench --large\nFigures and goals\n" in text
    assert "![Squares](performance/over-pes.svg)" in text
    assert "It also allocates virtual channels, which static routes do not need" in text
    without = render_page(RESULTS, command="onewafer bench", plots={}, page=Path("page.md"))
    assert "How it grows" not in without


def test_facts_of_this_computer():
    facts = find_facts()
    assert facts.num_cores >= 1
    assert facts.cpu
    assert facts.numba != "unknown"
    assert len(facts.lines()) == 2


def test_reasons_of_misses_are_shown_only_with_a_miss():
    good = Results(engine="fast", facts=FACTS, outcomes=(chain(50e6),))
    assert "Why goals are missed" not in render_text(good)
    assert json.loads(to_json(good))["benchmarks"][0]["finding"] == ""


def test_clock_and_processor_time_are_told_apart():
    benchmark = find_benchmark("starts")
    figure = Figure.CS_PYTHON_SECONDS
    measurement = Measurement(figures={figure: 3.0}, cpu_seconds={figure: 1.25})
    busy = Outcome(benchmark=benchmark, sizes=benchmark.sizes, repeat=5, measurement=measurement)
    assert busy.verdict(benchmark.goals[0]) == "met in CPU time only"
    text = render_text(Results(engine="fast", facts=FACTS, outcomes=(busy,)))
    assert rows(text)[0][-4:] == ["3.00 s", "1.25 s", "≤ 2.00 s", "met in CPU time only"]
    assert "Goals: 0 met, 1 met in CPU time only (the computer was busy), 0 missed" in text
    slow = Measurement(figures={figure: 4.0}, cpu_seconds={figure: 3.0})
    missed = Outcome(benchmark=benchmark, sizes=benchmark.sizes, repeat=5, measurement=slow)
    assert missed.verdict(benchmark.goals[0]) == "missed by 2.00×"
