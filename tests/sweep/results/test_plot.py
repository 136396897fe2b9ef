"""Pictures of results: what is drawn, and what cannot be."""

import re
import warnings
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

from onewafer.errors import ConfigurationError
from onewafer.perf.report import LINE_COLORS
from onewafer.sweep import Drawing, Form, Results, draw_results
from onewafer.sweep.results.rows import Header

HEADER = Header(
    title="costs $5",
    axes=("pes", "sram"),
    inputs=("pes", "sram", "model"),
    figures=("seconds", "joules", "limit"),
    objectives=(("seconds", "min"), ("joules", "min")),
    num_points=4,
)


def row(pes, sram, seconds, joules):
    return {
        "pes": pes,
        "sram": sram,
        "model": "m",
        "seconds": seconds,
        "joules": joules,
        "limit": "compute",
        "reason": None,
        "status": "answered" if seconds else "refused",
    }


ROWS = (
    row(100, 16, None, None),
    row(100, 48, 4.5, 1.0),
    row(200, 16, 2.5, 2.0),
    row(200, 48, 3, 3),
)


def draw(path, *rows, **said):
    drawing = Drawing(**said)
    draw_results(Results(HEADER, rows, ("pes", "sram"), len(rows)), path, drawing)
    return path.read_text(encoding="utf-8")


def test_two_axes_make_a_heat_map_with_its_numbers(tmp_path):
    picture = draw(tmp_path / "map.svg", *ROWS)
    for text in ("costs $5", "pes", "sram", "100", "200", "48 B", "4.5 s", "refused"):
        assert f">{text}<" in picture
    assert draw(tmp_path / "again.svg", *ROWS) == picture


def test_one_axis_makes_lines_of_the_figure_that_is_asked_for(tmp_path):
    picture = draw(tmp_path / "lines.svg", *ROWS, form=Form.LINES, x="pes", y="joules")
    assert ">joules<" in picture
    assert ">sram 16 B<" in picture
    assert ">sram 48 B<" in picture


def test_texts_stand_in_the_order_of_the_study(tmp_path):
    rows = [
        row(pes, sram, seconds, 1.0)
        for sram in (16, 48)
        for pes, seconds in (("9x9", 3), ("10x10", 2))
    ]
    missing = [
        one | {"seconds": None} if one["pes"] == "9x9" and one["sram"] == 16 else one
        for one in rows
    ]
    picture = draw(tmp_path / "texts.svg", *missing, form=Form.LINES, x="pes")
    assert picture.index(">9x9<") < picture.index(">10x10<")


def test_lines_go_from_left_to_right_whatever_the_order_of_the_points(tmp_path):
    rows = [row(pes, sram, pes / sram, 1.0) for sram in (48, 16) for pes in (200, 100, 300)]
    said = {"form": Form.LINES, "x": "pes"}
    picture = draw(tmp_path / "mixed.svg", *rows, **said)
    in_order = sorted(rows, key=lambda one: (one["sram"], one["pes"]))
    assert picture == draw(tmp_path / "sorted.svg", *in_order, **said)


@pytest.mark.parametrize("lines", [(16, 48), tuple(range(16, 28))])
def test_each_entry_of_the_legend_has_a_line_though_all_are_the_same(tmp_path, lines):
    from matplotlib.image import imread  # noqa: PLC0415 - an extra

    rows = [row(pes, sram, 4.0 + 1e-4 * sram, 1.0) for sram in lines for pes in (100, 200, 300)]
    path = tmp_path / "same.png"
    draw_results(
        Results(HEADER, tuple(rows), (), len(rows)), path, Drawing(form=Form.LINES, x="pes")
    )
    picture = imread(path)[:, :, :3]
    drawn = picture[: picture.shape[0] // 2]  # above the legend
    for color in LINE_COLORS[: len(lines)]:
        wanted = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        near = (abs(drawn - wanted) < 0.02).all(axis=2)
        assert near.sum() > 100, color
        assert near.any(axis=0).sum() > 30  # all along the line, not at one place


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((16384, 49152, 65536), ("16 KiB", "48 KiB", "64 KiB")),
        ((1024, 2048, 1048576), ("1 KiB", "2 KiB", "1,024 KiB")),  # logarithmic
        (("9x9", "10x10", "11x11"), ("9x9", "10x10", "11x11")),
    ],
)
def test_the_axis_has_the_values_that_were_asked_those_without_an_answer_too(
    tmp_path, values, texts
):
    rows = [row(1, sram, None if sram == values[0] else 1.0, 1.0) for sram in values]
    picture = draw(tmp_path / "asked.svg", *rows, form=Form.LINES, x="sram")
    shown = re.findall(">([^<>]+)</text>", picture)
    assert shown[: shown.index("sram")] == [*texts]


def test_labels_of_values_that_stand_close_give_way(tmp_path):
    rows = [row(pes, 16, 1.0, 1.0) for pes in (1_000_000, 1_000_100, 2_000_000)]
    picture = draw(tmp_path / "close.svg", *rows, form=Form.LINES, x="pes")
    assert ">1,000,000<" in picture
    assert ">1,000,100<" not in picture
    assert ">2,000,000<" in picture


def test_names_of_many_inputs_are_broken_into_lines(tmp_path):
    axes = tuple(f"number_of_something_{i}" for i in range(9))
    rows = [row(0, 0, s, 1 / s) | dict.fromkeys(axes, 1000 * s) for s in (1, 2, 3)]
    results = Results(replace(HEADER, axes=axes, inputs=axes), tuple(rows), axes, len(rows))
    path = tmp_path / "front.svg"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there is no room
        draw_results(results, path, Drawing(form=Form.PARETO))
    picture = path.read_text(encoding="utf-8")
    assert ">3: number_of_something_0 3,000, number_of_something_1 3,000, " in picture
    assert "number_of_something_8 3,000<" in picture
    assert max(len(text) for text in re.findall(">([^<]*)</text>", picture)) <= 150


def test_the_front_names_its_points(tmp_path):
    picture = draw(tmp_path / "front.svg", *ROWS, form=Form.PARETO)
    assert ">2: pes 100, sram 48 B<" in picture
    assert ">1: pes 200, sram 16 B<" in picture
    assert "pes 200, sram 48 B<" not in picture


@pytest.mark.parametrize(
    ("rows", "said", "message"),
    [
        ((), {}, "nothing to draw"),
        (ROWS, {"x": "pe"}, "nearest: pes"),
        ((*ROWS, ROWS[0]), {}, "several points have pes = 100 and sram = 16 B"),
        (ROWS, {"form": Form.PARETO, "x": "seconds", "y": "seconds"}, "two objectives"),
        ([row(n, n, 1.0, 1.0) for n in range(20)], {"form": Form.LINES}, "20 lines"),
        (ROWS, {"form": Form.LINES, "x": "model", "by": "sram"}, "several points of the line"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, rows, said, message):
    with pytest.raises(ConfigurationError, match=message):
        draw(tmp_path / "none.svg", *rows, **said)
