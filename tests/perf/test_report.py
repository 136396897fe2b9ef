"""What people, programs and pandas are shown of a comparison."""

import json
import math
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from onewafer.errors import ConfigurationError, InternalError
from onewafer.perf import Comparison, Forward, Prefill, Serve, Train
from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.report import draw, draw_curve, render, render_curve, to_json, to_pandas
from onewafer.perf.report.errors_of_figures import error_of
from onewafer.perf.report.table import describe
from tests.perf.comparisons import COMPARISON, FIGURE, GPU, JOB, TOO_SMALL, WAFER


@pytest.fixture
def text():
    return _print(COMPARISON)


def _print(comparison):
    console = Console(width=140, file=StringIO(), color_system=None)
    console.print(render(comparison))
    return console.file.getvalue()


def _line(text, start):
    return next(line for line in text.splitlines() if start in line)


def test_a_row_a_quantity_and_a_column_a_system(text):
    assert "2,000" in _line(text, "tokens/s per user")
    assert "500" in _line(text, "tokens/s per user")
    assert "500 µs" in _line(text, "time per output token")
    assert "11.5 J" in _line(text, "energy per token")


def test_one_answer_is_a_table_of_its_own_in_a_notebook_and_as_text():
    html = WAFER._repr_html_()

    assert html.count("<table") == 2  # quantities, and where the time goes
    assert "500 µs" in _line(str(WAFER), "time per output token")
    assert str(WAFER).startswith(describe(JOB))


def test_a_published_figure_stands_beside_ours_with_the_error(text):
    assert "1,800 tokens/s (+11.1 %)" in text


def test_a_figure_of_other_work_has_no_error_and_says_what_differs():
    other = replace(FIGURE, conditions={"batch": 1, "context": 1000})
    text = _print(replace(COMPARISON, results=(replace(WAFER, published=(other,)),)))

    assert error_of(WAFER, other) is None
    assert error_of(WAFER, replace(other, conditions={"batch": 1, "context": 4096})) is not None
    assert "1,800 tokens/s (context 1,000)" in text


def test_a_figure_of_narrower_numbers_has_no_error():
    narrow = replace(FIGURE, conditions={"precision": "fp8"})

    assert error_of(WAFER, FIGURE) == pytest.approx(1 / 9)
    assert error_of(WAFER, narrow) is None


def test_a_figure_says_its_system_and_what_a_share_is_of():
    conditions = {"precision": "fp16", "batch": 2048, "is_count_published": False, "miss": "why"}
    shares = replace(FIGURE, system="cs3x8", quantity="mfu", value=0.434, conditions=conditions)
    answer = replace(WAFER, published=(shares,))
    text = _print(Comparison(model="net", job=JOB, results=(answer,)))

    assert "43.4 % of the FLOP/s (cs3x8, batch 2,048)" in _line(text, "published  ")
    assert "published: cs3x8, precision fp16, batch 2048: a press release" in text


def test_samples_have_rates_and_energy_of_their_own():
    answer = replace(GPU, job=Forward(batch=8), tokens_per_sample=50, pass_seconds=0.1)
    text = _print(Comparison(model="net", job=answer.job, results=(answer,)))

    assert "net: one pass, batch of 8 samples" in text
    assert "10" in _line(text, "samples/s of the system")  # 500 tokens/s, 50 rows each
    assert "560 J" in _line(text, "energy per sample")  # 5,600 W
    assert "100 ms" in _line(text, "time of a batch")
    assert "tokens/s of" not in text
    assert "energy per token" not in text


def test_a_quantity_that_nothing_has_is_no_row():
    answer = replace(GPU, memory=replace(GPU.memory, cache_bytes=0))
    without = _print(Comparison(model="net", job=JOB, results=(answer,)))
    with_one = _print(Comparison(model="net", job=JOB, results=(answer, WAFER)))

    assert "KV cache" not in without
    assert "0 B" in _line(with_one, "KV cache")


def test_a_published_figure_of_another_system_is_marked_with_it():
    ours = replace(WAFER, published=(FIGURE, replace(FIGURE, system="cs3x4", value=2500.0)))
    text = _print(replace(COMPARISON, results=(ours,)))

    assert "1,800 tokens/s (+11.1 %)" in text
    assert "2,500 tokens/s (cs3x4)" in text


@pytest.mark.parametrize(
    ("system", "batch", "error"), [("h100x8", 8, 0.25), ("h100x4", 8, None), ("h100x8", 9, None)]
)
def test_only_the_same_pass_has_an_error(system, batch, error):
    figure = replace(
        FIGURE, system="h100x8", quantity="samples_per_second", value=8.0, conditions={"batch": 8}
    )
    answer = replace(GPU, system=system, job=Forward(batch=batch), tokens_per_sample=50)

    assert error_of(answer, figure) == error


def test_the_limit_is_shown_with_its_share_of_the_time(text):
    assert "fabric latency (60 % of the time)" in text


def test_work_that_nothing_was_compared_with_is_marked(text):
    assert "experts *" in text
    assert "80.0 %" in _line(text, "cross-checked")


def test_work_that_takes_no_time_anywhere_has_no_row():
    idle = Item(name="sleep", seconds=0.0, limit=Limit.BUBBLE)
    breakdown = Breakdown((*WAFER.breakdown.items, idle))
    text = _print(replace(COMPARISON, results=(replace(WAFER, breakdown=breakdown), GPU)))

    assert "sleep" not in text
    assert "pipeline bubble" not in text


def test_a_system_that_cannot_keeps_its_column_and_says_what_could(text):
    heads = [cell.strip() for cell in _line(text, "cannot").split("┃")]
    figures = [cell.strip() for cell in _line(text, "tokens/s per user").split("│")]

    assert heads[1:-1] == ["", "cs3", "h100x8", "a100: cannot"]
    assert figures[1:-1] == ["tokens/s per user", "2,000", "500", "–"]
    assert "a100: cannot: 160 GB of weights do not fit into 80 GB; a100x4 would do" in text


def test_a_price_is_shown_only_if_there_is_one(text):
    price = 20 / 3600 / 500 * 1e6
    assert f"{price:.1f}" in _line(text, "price of 1 M tokens")

    assert "price" not in _print(Comparison(model="m", job=JOB, results=(WAFER,)))


def test_json_holds_every_item_and_the_error_of_every_figure():
    document = json.loads(to_json(COMPARISON))
    (comparison,) = document["comparisons"]
    wafer, gpu, too_small = comparison["results"]

    assert comparison["job"] == {"kind": "decode", "batch": 1, "context": 4096}
    assert math.isclose(sum(item["seconds"] for item in wafer["breakdown"]), 5e-4)
    assert wafer["published"][0]["error"] == pytest.approx(1 / 9)
    assert gpu["mapping"]["is_pinned"]
    assert too_small["refused"] == TOO_SMALL.reason


def test_a_frame_has_a_row_a_system():
    pytest.importorskip("pandas")
    frame = to_pandas(COMPARISON)

    assert [*frame.index] == ["cs3", "h100x8", "a100"]
    assert frame.loc["cs3", "tokens_per_second_per_user"] == pytest.approx(2000)
    assert frame.loc["h100x8", "limit"] in {"HBM bandwidth", "NVLink"}
    assert frame.loc["a100", "refused"] == TOO_SMALL.reason
    assert frame.loc["cs3", "tpot_microseconds"] == pytest.approx(500)
    assert "total_microseconds" not in frame


def test_a_figure_of_something_that_no_answer_has_is_our_bug():
    with pytest.raises(InternalError, match="flavour"):
        error_of(WAFER, replace(FIGURE, quantity="flavour"))


def test_a_figure_of_something_that_this_answer_lacks_has_no_error():
    assert error_of(GPU, replace(FIGURE, quantity="ttft_seconds")) is None


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_picture_is_in_the_format_of_its_ending(tmp_path, ending):
    path = tmp_path / f"comparison.{ending}"
    draw(COMPARISON, path)

    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start)


def test_a_picture_of_samples_has_their_rate(tmp_path):
    answer = replace(GPU, job=Forward(batch=8), tokens_per_sample=50, tpot_seconds=None)
    draw(Comparison(model="net", job=answer.job, results=(answer,)), tmp_path / "net.svg")

    assert "10 samples/s" in (tmp_path / "net.svg").read_text()


def test_the_same_comparison_makes_the_same_picture(tmp_path):
    for name in ("one.svg", "two.svg"):
        draw(COMPARISON, tmp_path / name)

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize(
    ("comparison", "name", "said"),
    [
        (COMPARISON, "picture.pictures", "the ending says the format of a picture: .png"),
        (COMPARISON, "picture", "the ending says the format of a picture"),
        (Comparison(model="m", job=JOB, results=(TOO_SMALL,)), "picture.svg", "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, comparison, name, said):
    with pytest.raises(ConfigurationError, match=said):
        draw(comparison, tmp_path / name)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Prefill(batch=2, tokens=8192), "prefill, batch 2, prompts of 8,192 tokens"),
        (Serve(concurrency=64, prompt=1024, answer=128), "serving 64 requests at a time"),
        (Train(tokens=15e12, sequence=8192, batch=2048), "training on 15 T tokens"),
    ],
)
def test_a_job_in_words(job, words):
    assert words in describe(job)


def _serving(concurrency, *results):
    job = Serve(concurrency=concurrency, prompt=64, answer=32)
    return Comparison(model="llama-3.1-8b", job=job, results=results)


def test_the_curve_of_serving_has_a_row_a_number_of_requests(tmp_path):
    curve = [_serving(1, WAFER, GPU), _serving(2, TOO_SMALL, GPU)]
    console = Console(width=140, file=StringIO(), color_system=None)
    console.print(render_curve(curve))
    text = console.file.getvalue()

    assert "serving prompts of 64 and answers of 32 tokens" in text
    assert "2,000 · 2,000 · 30 ms" in _line(text, "│        1 │")
    assert "–" in _line(text, "│        2 │")
    assert "a100x4 would do" in text

    draw_curve(curve, tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text()
    assert "cs3" in drawn
    assert "h100x8" in drawn


def test_a_curve_without_any_answer_is_no_picture(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing to draw"):
        draw_curve([_serving(1, TOO_SMALL)], tmp_path / "curve.svg")
