"""The table and the JSON of results."""

import io
import json

import pytest
from rich.console import Console

from onewafer import __version__
from onewafer.validation import (
    Case,
    CaseResult,
    Kind,
    Point,
    PointResult,
    Target,
    render,
    render_details,
    to_json,
)


def case(name, kind, finding=""):
    return Case(
        name=name,
        machine="wse2",
        profile="silicon",
        quantity="time of something",
        unit="cycles",
        rule="by the clock [on the wall]",
        target=Target(relative=0.04, absolute=8),
        source="SOMEBODY",
        kind=kind,
        basis="because",
        measure=lambda _bench: 0.0,
        points=(),
        finding=finding,
    )


TARGET = "max(4 %, 8)"
HIT = CaseResult(
    case("good", Kind.CALIBRATION, "never shown"),
    (PointResult(Point("P=4", 20.5), 20.5, is_hit=True),),
    (),
)
MISS = CaseResult(
    case("bad", Kind.VALIDATION, "the moon was full"),
    (
        PointResult(Point("P=8", 100), 101.0, is_hit=True),
        PointResult(Point("P=16", 1000), 1500.0, is_hit=False),
    ),
    (Point("P=512", 1e6),),
)


def text_of(renderable):
    console = Console(file=io.StringIO(), width=128, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def test_table_shows_hits_misses_reasons_and_what_was_not_run():
    text = text_of(render([HIT, MISS], engine="reference"))
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    cells = [cell.strip() for cell in rows["bad"].split("│")[1:-1]]
    assert cells[2:] == [
        "validation",
        "SOMEBODY",
        "1/2",
        "P=16",
        "1,000",
        "1,500",
        "+50.0 %",
        TARGET,
    ]
    assert "20.5" in rows["good"]
    assert "1/1" in rows["good"]
    assert "bad  the moon was full" in text
    assert "never shown" not in text
    # 1 % and 50 % of validation; the calibration row does not count.
    assert "validation on silicon: median error 25.5 %, 1 of 2 points further off" in text
    assert "bad  P=512" in text
    assert (
        "validation: 0 of 1 cases within target; calibration: 1 of 1 cases within target. "
        "3 points on the reference engine, 1 not run." in text
    )


def test_details_show_the_rule_and_every_point():
    text = text_of(render_details(MISS))
    assert "bad: time of something (cycles)" in text
    assert "by the clock [on the wall]" in text
    assert "validation  because" in text
    assert [line.split() for line in text.splitlines() if line.startswith("P=")] == [
        ["P=8", "100", "101", "+1", "+1.0", "%"],
        ["P=16", "1,000", "1,500", "+500", "+50.0", "%", "miss"],
        ["P=512", "1,000,000", "–", "–", "–", "not", "run"],
    ]


def test_case_without_a_point_that_fits_is_shown():
    text = text_of(render([CaseResult(MISS.case, (), MISS.skipped)], engine="reference"))
    assert "none run" in text


def test_json_has_everything():
    document = json.loads(to_json([HIT, MISS], engine="reference"))
    assert document["format"] == "onewafer-validation-1"
    assert (document["version"], document["engine"]) == (__version__, "reference")
    good, bad = document["cases"]
    assert good["finding"] == ""
    assert (bad["kind"], bad["is_hit"], bad["skipped"]) == ("validation", False, ["P=512"])
    assert bad["target"] == {"relative": 0.04, "absolute": 8}
    assert bad["points"][1]["error"] == pytest.approx(0.5)
    assert bad["points"][0]["label"] == "P=8"
