"""Errors over measured runs: held out, complete, within what is promised."""

from importlib.util import find_spec

import pytest

from onewafer.perf.gpu import validation
from onewafer.perf.gpu.aiconfigurator import is_installed
from onewafer.perf.gpu.kernels import NumberFormat
from onewafer.perf.gpu.serving_points import ServingPoint, aggregated_points
from onewafer.perf.gpu.validation import (
    CATALOG_NAMES,
    all_conditions,
    conditions_of,
    point_results,
    statistics,
    validate,
)
from tests.perf.dense_model import (
    LLAMA_8B,
    LLAMA_70B,
    QWEN3_32B,
    QWEN3_235B,
    dense_model,
)

SIZES = {
    "llama-3.1-8b": LLAMA_8B,
    "llama-3.1-70b": LLAMA_70B,
    "llama-3.3-70b": LLAMA_70B,
    "qwen3-32b": QWEN3_32B,
    "qwen3-235b-a22b": QWEN3_235B,
}
needs_tables = pytest.mark.skipif(
    not is_installed() or find_spec("aiconfigurator_core") is None,
    reason="needs the packages aiconfigurator-core and pyarrow",
)


def load_model(name):
    return dense_model(name, SIZES[name])


def point(**fields) -> ServingPoint:
    usual = {
        "id": "p", "engine": "vllm", "model": "Qwen/Qwen3-32B",
        "gpu": "h100_sxm", "quantization": "", "prompt": 10, "answer": 10, "batch": 1,
        "concurrency": 1, "tensor_parallel": 1, "pipeline_parallel": 1,
        "attention_data_parallel": 1, "expert_parallel": 1, "origin": "",
        "ttft_seconds": 1.0, "tpot_seconds": 1.0,
    }  # fmt: skip
    return ServingPoint(**{**usual, **fields})


def test_every_condition_has_a_source():
    assert all(conditions.source for conditions in all_conditions())


def test_conditions_are_the_first_that_fit():
    benchmark = point(origin="source_file=2026-04-06.csv; more", quantization="fp8")
    other = point(engine="trtllm", quantization="fp8")

    assert conditions_of(benchmark).length_share == 0.9
    assert conditions_of(benchmark).formats(benchmark).cache is NumberFormat.BF16
    assert conditions_of(other).formats(other).products is NumberFormat.FP8_DYNAMIC
    assert conditions_of(point()).formats(point()).products is NumberFormat.BF16


def test_without_the_tables_there_is_a_note(monkeypatch):
    monkeypatch.setattr(validation, "is_installed", lambda: False)

    assert validate(load_model).statistics == ()
    assert "pip install" in validate(load_model).notes[0]


@needs_tables
def test_errors_are_of_runs_that_nothing_was_fitted_on():
    seen: list[str] = []
    result = validate(load_model, seen.append)
    whole = {row.quantity: row for row in result.statistics if row.group == "all serving runs"}

    assert seen
    assert whole["tpot_seconds"].num_points == whole["ttft_seconds"].num_points > 800
    assert whole["tpot_seconds"].median_error < 0.06
    assert whole["tpot_seconds"].mean_error < 0.12
    assert whole["ttft_seconds"].median_error < 0.22


@needs_tables
def test_the_calibration_fifth_is_left_out():
    fitted = {p.id for p in aggregated_points() if p.is_calibration}
    held_out = [p for p in aggregated_points() if p.model in CATALOG_NAMES and p.id not in fitted]
    rows = [row for row in validate(load_model).statistics if row.quantity == "tpot_seconds"]

    assert sum(row.num_points for row in rows[:-1]) == rows[-1].num_points
    assert 0.95 * len(held_out) < rows[-1].num_points <= len(held_out)


@needs_tables
def test_constants_are_as_good_on_what_they_were_fitted_on():
    dense = {name for name in CATALOG_NAMES if "A22B" not in name}
    fitted = [p for p in aggregated_points() if p.model in dense and p.is_calibration]
    *_, tpot, ttft = statistics(point_results(fitted, load_model))

    assert tpot.median_error < 0.06
    assert ttft.median_error < 0.20
