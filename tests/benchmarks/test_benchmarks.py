"""Every benchmark runs, on both engines, and finds wrong values; no test looks at how fast."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from onewafer.benchmarks import (
    BENCHMARKS,
    Conditions,
    Figure,
    Measurement,
    communication,
    find_benchmark,
    local_work,
    run_benchmark,
    select_benchmarks,
    starting,
)
from onewafer.benchmarks.clock import Duration, Stopwatch
from onewafer.benchmarks.execution import Execution
from onewafer.benchmarks.runner import Request
from onewafer.errors import ConfigurationError, InternalError
from onewafer.host import Device
from onewafer.known_answers import WrongResultError

ENGINES = ("reference", "fast")
WORKLOADS = {
    "chain-reduce-64": communication.chain_reduce,
    "flood-64": communication.flood,
    "long-routes-64": communication.long_routes,
    "exchange-64": communication.exchange,
    "axpy": local_work.axpy,
    "scalar-tasks": local_work.scalar_tasks,
}


def conditions(engine="reference", repeat=1, note=lambda _note: None):
    return Conditions(engine=engine, repeat=repeat, note=note)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
@pytest.mark.alternate(7)
def test_small_sizes_run_and_are_checked(benchmark, engine):
    measurement = benchmark.measure(conditions(engine), benchmark.quick_sizes)
    assert "NumPy" in measurement.checked
    assert all(value > 0 for value in measurement.figures.values())
    for goal in benchmark.goals:
        assert goal.figure in measurement.figures
    assert Measurement.from_fields(measurement.to_fields()) == measurement


@pytest.mark.parametrize("name", WORKLOADS)
def test_engines_count_the_same(name):
    sizes = find_benchmark(name).quick_sizes
    counts = [find_benchmark(name).measure(conditions(e), sizes).counts for e in ENGINES]
    assert counts[0] == counts[1]


def test_chain_reduce_counts_what_it_must():
    sizes = {"width": 6, "height": 5, "num_words": 4}
    counts = find_benchmark("chain-reduce-64").measure(conditions(), sizes).counts
    assert counts["wavelet_hops"] == counts["ramp_moves"] == 5 * (6 - 1) * 4
    assert counts["dsd_elements"] == 5 * 6 * 4
    assert (counts["pes"], counts["pes_with_code"]) == (30, 30)
    assert counts["pe_cycles"] == 30 * counts["cycles"]


def test_flood_and_long_routes_count_what_they_must():
    sizes = {"width": 6, "height": 5, "num_words": 4}
    flood = find_benchmark("flood-64").measure(conditions(), sizes).counts
    assert flood["wavelet_hops"] == flood["ramp_moves"] == (30 - 1) * 4
    routes = find_benchmark("long-routes-64").measure(conditions(), sizes).counts
    assert (routes["wavelet_hops"], routes["ramp_moves"]) == (5 * 5 * 4, 5 * 4)


def test_exchange_counts_what_it_must():
    sizes = {"width": 4, "height": 3, "num_words": 7}
    counts = find_benchmark("exchange-64").measure(conditions(), sizes).counts
    num_links = 2 * (3 * 3 + 4 * 2)
    assert counts["wavelet_hops"] == num_links * 7
    assert counts["dsd_elements"] == (12 + 2 * num_links) * 7


@pytest.mark.parametrize("name", WORKLOADS)
def test_wrong_input_is_found(name):
    """What the check reads depends on what the program computed from its input."""
    workload = WORKLOADS[name](find_benchmark(name).quick_sizes)
    symbol = {"axpy": "x", "scalar-tasks": "seed"}.get(name, "values")
    device = Device(workload.compile(), workload.architecture())
    device.load()
    workload.prepare(device)
    array = device.read(symbol, 1)
    array[...] += 1
    device.write(symbol, array)
    device.launch(workload.function)
    with pytest.raises(WrongResultError, match="result"):
        workload.check(device)


def test_results_of_no_run_are_wrong():
    workload = communication.flood({"width": 3, "height": 3, "num_words": 2})
    device = Device(workload.compile(), workload.architecture())
    device.load()
    workload.prepare(device)
    with pytest.raises(WrongResultError, match=r"'result'\[0\] of PE \(0, 1\) is 0.0, NumPy"):
        workload.check(device)


def test_part_of_a_rectangle_works_and_the_rest_has_no_code():
    sizes = {"width": 6, "height": 5, "active_width": 3, "active_height": 2, "num_words": 4}
    workload = communication.chain_reduce(sizes)
    execution = Execution(workload, conditions())
    execution.launch(conditions(), "run")
    assert (execution.counts["pes"], execution.counts["pes_with_code"]) == (30, 6)
    assert execution.counts["wavelet_hops"] == 2 * 2 * 4


def test_launches_that_do_different_work_are_refused():
    first = communication.chain_reduce({"width": 3, "height": 2, "num_words": 4})
    execution = Execution(first, conditions())
    execution.launch(conditions(), "run")
    execution.counts["wavelet_hops"] += 1
    with pytest.raises(InternalError, match="a second launch did"):
        execution.launch(conditions(), "run")


def test_progress_is_told():
    notes = []
    benchmark = find_benchmark("flood-64")
    benchmark.measure(conditions(note=notes.append), benchmark.quick_sizes)
    assert notes[:3] == ["reading the kernels", "compiling", "loading"]
    assert "run 1 of 1" in notes


def test_medians_are_of_the_runs_after_the_first():
    benchmark = find_benchmark("flood-64")
    measurement = benchmark.measure(conditions(repeat=3), benchmark.quick_sizes)
    assert {name: len(samples) for name, samples in measurement.durations.items()} == {
        "compile": 1,
        "load": 1,
        "first_run": 1,
        "run": 3,
    }
    single = benchmark.measure(conditions(repeat=0), benchmark.quick_sizes)
    assert single.durations["run"] == ()
    first = single.durations["first_run"][0]
    assert single.figures[Figure.RUN_SECONDS] == first.wall_seconds


def test_selection_keeps_the_order_of_the_table():
    chosen = select_benchmarks(["gemv-16k", "axpy", "axpy"], with_large=False)
    assert [benchmark.name for benchmark in chosen] == ["axpy", "gemv-16k"]
    assert not any(benchmark.is_large for benchmark in select_benchmarks([], with_large=False))
    assert select_benchmarks([], with_large=True) == BENCHMARKS


def test_unknown_benchmark():
    with pytest.raises(ConfigurationError, match="there is no benchmark 'axpi'; the benchmarks"):
        select_benchmarks(["axpi"], with_large=False)


def test_names_differ_and_titles_are_complete():
    assert len({benchmark.name for benchmark in BENCHMARKS}) == len(BENCHMARKS)
    for benchmark in BENCHMARKS:
        assert set(benchmark.sizes) == set(benchmark.quick_sizes)
        assert "{" not in benchmark.describe(benchmark.sizes)


def test_process_of_its_own():
    benchmark = find_benchmark("axpy")
    notes = []
    outcome = run_benchmark(
        benchmark, benchmark.quick_sizes, engine="reference", repeat=1, note=notes.append
    )
    assert outcome.failure == ""
    assert outcome.measurement.counts["dsd_elements"] == 6 * 8 * 3
    assert "compiling" in notes
    if outcome.measurement.peak_bytes is not None:
        assert outcome.measurement.peak_bytes > np.zeros(1 << 20).nbytes


def test_failure_in_the_process_is_an_outcome():
    benchmark = find_benchmark("flood-64")
    outcome = run_benchmark(
        benchmark,
        {"width": 1, "height": 1, "num_words": 4},
        engine="reference",
        repeat=1,
        note=lambda _note: None,
    )
    assert outcome.measurement is None
    assert "comptime-assert" in outcome.failure
    assert outcome.verdict(benchmark.goals[0]) == "not judged: other sizes"
    own = replace(outcome, sizes=benchmark.sizes)
    assert own.verdict(benchmark.goals[0]) == "not measured"


def test_process_that_dies_says_its_last_words():
    benchmark = find_benchmark("axpy")
    sizes = {"width": 2}
    outcome = run_benchmark(benchmark, sizes, engine="reference", repeat=1, note=lambda _note: None)
    assert outcome.failure.startswith("its process ended with 1\n")
    assert outcome.failure.endswith("KeyError: 'height'")


def test_interruption_ends_the_process():
    benchmark = find_benchmark("axpy")
    told = []

    def interrupt(note):
        told.append(note)
        raise KeyboardInterrupt

    sizes = {**benchmark.quick_sizes, "num_rounds": 60_000}  # minutes, unless it is ended
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(benchmark, sizes, engine="reference", repeat=1, note=interrupt)
    assert told == ["reading the kernels"]


def test_its_process_ends_with_whoever_asked():
    """Even after a signal that cannot be caught."""
    sizes = {**find_benchmark("axpy").quick_sizes, "num_rounds": 60_000}  # as above
    request = Request(benchmark="axpy", sizes=sizes, engine="reference", repeat=1)
    command = [sys.executable, "-m", "onewafer.benchmarks.worker", json.dumps(asdict(request))]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with worker:
        assert b"note" in worker.stdout.readline()
        worker.stdin.close()
        assert worker.wait(timeout=60) == 1


def test_the_memory_limit_is_kept(monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_MEMORY", "1K")
    benchmark = find_benchmark("axpy")
    outcome = run_benchmark(
        benchmark, benchmark.quick_sizes, engine="reference", repeat=1, note=lambda _note: None
    )
    assert "1,024 B is allowed (ONEWAFER_MAX_MEMORY)" in outcome.failure


@pytest.mark.parametrize(
    ("compiled", "prebuilt", "figure"),
    [(0, "on", Figure.FIRST_USE_SECONDS), (1, "off", Figure.COMPILED_USE_SECONDS)],
)
def test_first_use_finds_nothing_in_the_cache(compiled, prebuilt, figure, monkeypatch):
    seen = []

    def note_folder(arguments, added):
        folder = Path(added["ONEWAFER_CACHE_DIR"])
        seen.append((arguments[-2:], added["ONEWAFER_PREBUILT"], list(folder.iterdir())))
        return Duration(2.0, 1.0)

    monkeypatch.setattr(starting, "_time_process", note_folder)
    measurement = starting.measure_first_use(conditions("fast"), {"compiled": compiled})
    assert seen == [(("--warm-up", "fast"), prebuilt, [])]
    assert measurement.figures == {figure: 2.0}


def test_what_takes_less_than_a_tick_of_the_clock_takes_one(monkeypatch):
    monkeypatch.setattr("time.process_time", lambda: 7.0)
    assert Stopwatch().read().cpu_seconds > 0
