"""`onewafer validate perf` as a user meets it, with rows that take no time."""

import json
from dataclasses import replace

import pytest

from onewafer.cli.main import execute
from onewafer.perf import PerfValidation, gpu, wafer
from tests.perf.test_validation_table import HIT, MISS, VALIDATION


@pytest.fixture(autouse=True)
def _quick_rows(monkeypatch):
    def empty(load_model, progress):
        del load_model, progress
        return PerfValidation()

    for family in (gpu, wafer):
        monkeypatch.setattr(family, "validate_training", empty)
    for name in ("validate", "validate_samples"):
        monkeypatch.setattr(gpu, name, empty)
    monkeypatch.setattr(wafer, "validate", lambda load_model, progress: VALIDATION)  # noqa: ARG005


def test_all_topics_are_shown_and_written(tmp_path, capsys):
    report, page = tmp_path / "perf.json", tmp_path / "perf.md"
    assert execute(["validate", "perf", "--json", str(report), "--page", str(page)]) == 0
    out, err = capsys.readouterr()

    assert err == ""
    assert "1 of 2 validation figures" in out
    assert len(json.loads(report.read_text())["figures"]) == len(VALIDATION.figures)
    assert "$ onewafer validate perf\n" in page.read_text()


def test_one_topic(tmp_path, capsys):
    page = tmp_path / "perf.md"
    assert execute(["validate", "perf", "--only", "serving", "--page", str(page)]) == 0

    assert "validation figures" not in capsys.readouterr().out
    assert "$ onewafer validate perf --only serving\n" in page.read_text()


def test_an_unknown_topic(capsys):
    assert execute(["validate", "perf", "--only", "weather"]) == 2
    assert (
        "choose from wafer, serving, samples, wafer-training, gpu-training"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(("rows", "code"), [((HIT,), 0), ((HIT, MISS), 1)])
def test_a_miss_is_an_error_only_if_strict(monkeypatch, capsys, rows, code):
    found = replace(VALIDATION, figures=rows, statistics=())
    monkeypatch.setattr(wafer, "validate", lambda load_model, progress: found)  # noqa: ARG005

    assert execute(["validate", "perf", "--strict"]) == code
    assert execute(["validate", "perf"]) == 0
    capsys.readouterr()
