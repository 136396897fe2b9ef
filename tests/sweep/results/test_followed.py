"""The page of a study: what it shows while a sweep computes, and after."""

import json

import pytest

pytest.importorskip("pyarrow")

from onewafer.cli.main import execute
from onewafer.errors import ConfigurationError
from onewafer.sweep import FollowedStudy, points_of, read_study
from onewafer.sweep.results.store import open_store
from onewafer.sweep.subjects.outcome import Item, Outcome, Status

EVIL = "</script><img src=x onerror=\"document.title='owned'\">"
STUDY = """
title = "Wafers & <b>SRAM</b>"
objectives = { seconds = "min", joules_per_token = "min" }
[compare]
model = "llama-3.1-8b"
job = "decode"
[axes]
sram = ["32KiB", "48KiB", "96KiB"]
batch = [1, 4]
"""


def outcome(number):
    if number == 0:
        figures = {
            "weight_bytes": 16e9,
            "cache_bytes": 1e9,
            "memory_used_bytes": 39e9,
            "memory_available_bytes": 10e9,
        }
        return Outcome(status=Status.REFUSED, reason=f"weights {EVIL}", figures=figures)
    figures = {"seconds": 1e-3 / number, "joules_per_token": number, "limit": EVIL}
    item = Item("multiply", 1e-3 / number, "compute")
    return Outcome(status=Status.ANSWERED, figures=figures, breakdown=(item,))


def begun(folder, num_known, batches=(1, 4)):
    """Return a study, three points a batch, as many known as a killed sweep leaves lines of."""
    path = folder / "wafers.toml"
    path.write_text(STUDY.replace("[1, 4]", str([*batches])), encoding="utf-8")
    study = read_study(path)
    points = points_of(study)
    with open_store(path.with_suffix(".sweep"), is_fresh=False) as store:
        store.write(study, points)
        for number in range(num_known):
            store.keep(points[number], outcome(number))
    return path


def read(study):
    return json.loads(study.find("study.json"))


def test_points_are_shown_while_a_sweep_computes_them_with_their_inputs(tmp_path):
    path = begun(tmp_path, 3)
    study = FollowedStudy(path)
    page = read(study)

    names = [column["name"] for column in page["columns"]]
    assert (page["num_points"], len(page["rows"])) == (6, 3)
    assert names[:4] == ["sram", "batch", "seconds", "joules_per_token"]
    assert [row["texts"][:3] for row in page["rows"]] == [
        ["32 KiB", "1", "–"],
        ["32 KiB", "4", "1 ms"],
        ["48 KiB", "1", "500 µs"],
    ]
    assert [row["status"] for row in page["rows"]] == ["refused", "answered", "answered"]
    assert [row["front"] for row in page["rows"]] == [False, True, True]
    assert page["fixed"] == [["model", "llama-3.1-8b"], ["job", "decode"]]


def test_the_first_refusal_has_the_columns_that_the_study_asks(tmp_path):
    page = read(FollowedStudy(begun(tmp_path, 1)))
    names = [column["name"] for column in page["columns"]]
    assert names[:4] == ["sram", "batch", "seconds", "joules_per_token"]
    assert page["fixed"] == [["model", "llama-3.1-8b"], ["job", "decode"]]


def test_a_half_written_line_waits_for_its_rest(tmp_path):
    path = begun(tmp_path, 2)
    lines = path.with_suffix(".sweep") / "running.jsonl"
    study = FollowedStudy(path.with_suffix(".sweep"))
    before = study.look()
    whole = lines.read_text()
    lines.write_text(whole[:-30])

    assert study.look() > before
    assert len(read(study)["rows"]) == 1
    lines.write_text(whole)
    assert len(read(study)["rows"]) == 2


def test_a_study_without_results_is_awaited(tmp_path):
    path = tmp_path / "soon.toml"
    path.write_text(STUDY, encoding="utf-8")
    assert read(FollowedStudy(path)) == {"title": "soon", "is_awaited": True}


def test_a_study_of_no_known_point_has_no_rows(tmp_path):
    page = read(FollowedStudy(begun(tmp_path, 0)))
    assert (page["num_points"], page["rows"]) == (6, [])


@pytest.mark.parametrize("name", ["empty.sweep", "no.sweep", "no.toml"])
def test_a_path_that_is_no_study_is_refused_in_one_line(tmp_path, capsys, name):
    (tmp_path / "empty.sweep").mkdir()
    assert execute(["view", str(tmp_path / name), "--port", "0"]) == 2
    assert f"{name} is no study; write a study's TOML file" in capsys.readouterr().err


def test_a_damaged_file_of_results_is_refused(tmp_path):
    folder = tmp_path / "bad.sweep"
    folder.mkdir()
    (folder / "points.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigurationError, match=r"points\.parquet cannot be read"):
        FollowedStudy(folder)


def test_options_of_a_run_are_refused_for_a_study(tmp_path, capsys):
    path = begun(tmp_path, 1)
    assert execute(["view", str(path), "--png", str(tmp_path / "a.png")]) == 2
    assert "onewafer sweep show" in capsys.readouterr().err
