"""Measured serving runs: the split is fixed by ids, a row is read as it is."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from onewafer.errors import ConfigurationError
from onewafer.perf.gpu import serving_points
from onewafer.perf.gpu.serving_points import (
    aggregated_points,
    count_disaggregated_points,
    is_calibration,
)

needs_tables = pytest.mark.skipif(
    find_spec("aiconfigurator_core") is None, reason="needs the package aiconfigurator-core"
)


def test_the_split_depends_on_the_id_alone_and_is_about_a_fifth():
    ids = [f"run {index}" for index in range(5000)]
    chosen = [name for name in ids if is_calibration(name)]

    assert chosen == [name for name in reversed(ids) if is_calibration(name)][::-1]
    assert 0.18 < len(chosen) / len(ids) < 0.22


def test_the_split_is_the_one_that_was_published():
    assert [index for index in range(12) if is_calibration(f"run {index}")] == [1, 5, 6, 10, 11]


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(serving_points, "_PACKAGE", "onewafer_no_such_package")

    with pytest.raises(ConfigurationError, match=r"pip install .onewafer\[gpu\]"):
        count_disaggregated_points()


@needs_tables
def test_rows_are_read_with_their_concurrency():
    points = aggregated_points()
    fifth = sum(point.is_calibration for point in points) / len(points)
    run = next(p for p in points if p.id.endswith("1024x512_c64_tp2_epnone_22"))

    assert 0.17 < fifth < 0.23
    assert (run.engine, run.gpu, run.prompt, run.answer) == (
        "sglang",
        "h100_sxm",
        1024,
        512,
    )
    assert (run.batch, run.concurrency, run.tensor_parallel) == (64, 64, 2)
    assert run.quantization == ""
    assert run.tpot_seconds == pytest.approx(23.57e-3, rel=1e-3)
    assert count_disaggregated_points() == 1602
