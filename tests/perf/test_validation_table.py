"""What people and programs are shown of a validation."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from onewafer.perf import PerfValidation
from onewafer.perf.published import Role
from onewafer.perf.report import render_validation, render_validation_page, validation_to_json
from onewafer.perf.validation_rows import ErrorStatistics, FigureResult
from tests.perf.comparisons import FIGURE

HIT = FigureResult(figure=FIGURE, ours=1900.0, target=0.2, rule="one", range=(1700.0, 2400.0))
MISS = replace(
    HIT, figure=replace(FIGURE, name="other"), ours=900.0, finding="collectives", range=None
)
LEFT_OUT = replace(
    MISS, figure=replace(FIGURE, name="fast"), ours=None, finding="speculative decoding"
)
FITTED = replace(HIT, figure=replace(FIGURE, name="fitted", role=Role.CALIBRATION))
GOOD = ErrorStatistics(
    group="h100 · vllm",
    quantity="tpot_seconds",
    num_points=72,
    mean_error=0.15,
    median_error=0.08,
    bias=-0.02,
    target=0.12,
)
BAD = replace(GOOD, quantity="ttft_seconds", median_error=0.4, target=0.3)
VALIDATION = PerfValidation(
    figures=(HIT, MISS, LEFT_OUT, FITTED), statistics=(GOOD, BAD), notes=("10 points left out",)
)


def _print(validation):
    console = Console(width=150, file=StringIO(), color_system=None)
    console.print(render_validation(validation))
    return console.file.getvalue()


def test_ours_stands_beside_theirs_with_error_and_range():
    text = _print(VALIDATION)

    assert "1,900 (1,700 to 2,400)" in text
    assert "+5.6 %" in text
    assert "-50.0 %" in text


def test_misses_and_what_is_left_out_are_shown_with_their_reasons():
    text = _print(VALIDATION)

    assert "other: collectives" in text
    assert "fast: speculative decoding" in text
    assert "10 points left out" in text


def test_the_summary_counts_validation_apart_from_calibration():
    assert (
        "1 of 2 validation figures; 1 of 1 calibration figures; 1 of 2 groups of points"
        in _print(VALIDATION)
    )


def test_the_sum_of_two_validations_has_all_rows():
    assert VALIDATION + PerfValidation(figures=(HIT,)) == replace(
        VALIDATION, figures=(*VALIDATION.figures, HIT)
    )


def test_json_says_what_the_table_says():
    document = json.loads(validation_to_json(VALIDATION))

    assert [row["is_hit"] for row in document["figures"]] == [True, False, False, True]
    assert document["figures"][1]["error"] == pytest.approx(-0.5)
    assert [row["is_hit"] for row in document["statistics"]] == [True, False]


def test_the_page_names_its_command_and_every_rule():
    page = render_validation_page(VALIDATION, command="onewafer validate perf")

    assert "$ onewafer validate perf" in page
    for result in VALIDATION.figures:
        assert f"| `{result.figure.name}` | {result.rule} |" in page
