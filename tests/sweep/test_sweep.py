"""`onewafer sweep` as a user meets it, with a small model in the place of a captured one."""

import json

import pytest

pytest.importorskip("pyarrow")

import onewafer.perf
from onewafer.cli.main import execute
from onewafer.sweep.subjects import comparison
from onewafer.units import format_size
from tests.perf.dense_model import Sizes, dense_model
from tests.sweep.studies import DECODE, rows, sweep, write_study

SMALL = Sizes(layers=4, hidden=512, heads=8, kv_heads=2, features=64, inner=1024, vocabulary=4096)
ALONE = ("--workers", "1")


@pytest.fixture(autouse=True)
def _small_model(monkeypatch):
    """Give every name of the catalogue to the same small model."""
    comparison.forget()
    monkeypatch.setattr(onewafer.perf, "kept_model", lambda name: dense_model(name, SMALL))


def test_every_point_that_meets_the_filters_has_a_row_in_the_order_of_the_study(tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    code, out, err = sweep(capsys, study, *ALONE)

    assert (code, err) == (0, "")
    assert "4 points: 4 answered" in out
    found = rows(study)
    assert [(row["region"], row["sram"], row["clock"]) for row in found] == [
        (region, 49152, clock) for region in ("48x48", "64x64") for clock in (850e6, 1.1e9)
    ]
    for row in found:
        assert row["model"] == "llama-3.1-8b"
        assert sum(item["seconds"] for item in row["breakdown"]) == pytest.approx(row["seconds"])
        assert "48×48" in row["mapping"] or "64×64" in row["mapping"]
    slow, fast = found[:2]
    assert fast["tpot_seconds"] < slow["tpot_seconds"]


def test_an_answer_is_that_of_compare(tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    sweep(capsys, study, *ALONE)
    target = tmp_path / "compare.json"
    pins = ("--mode", "pipeline", "--region", "48x48", "--context", "128", "--clock", "1.1GHz")
    execute(["compare", "llama-3.1-8b", *pins, "--against", "", "--json", str(target)])

    (result,) = json.loads(target.read_text())["comparisons"][0]["results"]
    row = rows(study)[1]
    assert row["tpot_seconds"] == result["tpot_seconds"]
    assert row["joules_per_token"] == result["joules_per_token"]
    assert [item["seconds"] for item in row["breakdown"]] == [
        item["seconds"] for item in result["breakdown"]
    ]


def test_a_study_that_changed_computes_what_is_new(tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    sweep(capsys, study, *ALONE)
    first = rows(study)
    wider = write_study(tmp_path, DECODE.replace('"64x64"]', '"64x64", "96x96"]'))
    _, out, _ = sweep(capsys, wider, *ALONE)
    assert "6 points, 4 of them known before" in out

    back = write_study(tmp_path, DECODE)
    _, out, _ = sweep(capsys, back, *ALONE)
    assert "4 points, 4 of them known before" in out
    assert rows(back) == first
    sweep(capsys, wider, *ALONE)
    _, out, _ = sweep(capsys, write_study(tmp_path, DECODE), *ALONE, "--fresh")
    assert "4 points: 4 answered" in out


def test_the_file_is_the_same_byte_for_byte_however_it_came_about(tmp_path, capsys):
    whole = write_study(tmp_path, DECODE, "whole.toml")
    sweep(capsys, whole, *ALONE)
    part = DECODE.replace('"48x48", ', "")
    pieces = write_study(tmp_path, part, "pieces.toml")
    sweep(capsys, pieces, *ALONE)
    write_study(tmp_path, DECODE, "pieces.toml")
    sweep(capsys, pieces, *ALONE)

    one, other = (path.with_suffix(".sweep") / "points.parquet" for path in (whole, pieces))
    assert one.read_bytes() == other.read_bytes()


def test_a_sweep_that_was_killed_goes_on_with_what_it_had(tmp_path, capsys, monkeypatch):
    study = write_study(tmp_path, DECODE)
    ask = comparison.ComparedTask.run
    asked = []

    def die_at_the_third(task, share):
        asked.append(task)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(task, share)

    monkeypatch.setattr(comparison.ComparedTask, "run", die_at_the_third)
    code, _, _ = sweep(capsys, study, *ALONE)
    assert code != 0
    assert len(rows(study)) == 2
    lines = study.with_suffix(".sweep") / "running.jsonl"
    lines.write_text('{"key": "abc", "stat')  # a line that a kill has cut

    code, out, _ = sweep(capsys, study, *ALONE)
    assert code == 0
    assert "4 points, 2 of them known before: 4 answered" in out
    assert len(asked) == 3 + 2


@pytest.mark.parametrize("name", ["running.jsonl", "points.parquet"])
def test_a_full_disk_is_said_with_the_file(name, tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    folder = study.with_suffix(".sweep")
    folder.mkdir()
    (folder / name).symlink_to("/dev/full")
    code, _, err = sweep(capsys, study, "--fresh")

    assert code == 1
    assert err.endswith(f"onewafer: {folder / name}: No space left on device\n")


def test_a_point_that_fails_is_recorded_and_the_sweep_goes_on(tmp_path, capsys):
    text = DECODE.replace("[axes]", "[axes]\ndensity = [0.0, 1.0]")
    study = write_study(tmp_path, text)
    code, out, err = sweep(capsys, study, *ALONE)

    assert code == 1
    assert "4 failed" in out
    assert "4 answered" in out
    assert "4 of 8 points failed; the first: a density of 0 is not possible" in err
    failed = [row for row in rows(study) if row["status"] == "failed"]
    assert {row["density"] for row in failed} == {0.0}
    assert all(row["tpot_seconds"] is None for row in failed)


@pytest.mark.parametrize("pes", [8, 400])
def test_a_machine_that_is_too_small_is_an_answer(tmp_path, capsys, pes):
    regions = 'region = ["48x48", "64x64"]'
    text = DECODE.replace('mode = "pipeline"', "").replace(regions, f"pes = {pes}")
    study = write_study(tmp_path, text)
    code, out, err = sweep(capsys, study, *ALONE)

    assert (code, err) == (0, "")
    assert "2 refused" in out
    for row in rows(study) if pes > 8 else ():  # with the terms that break it
        used, available = row["memory_used_bytes"], row["memory_available_bytes"]
        assert used > available
        assert 0 < row["weight_bytes"] + row["cache_bytes"] < used
        assert f"takes {format_size(used)}; 1 wafer has {format_size(available)}" in row["reason"]
        assert row["tokens_per_second"] is None


def test_show_prints_the_points_and_the_front(tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    sweep(capsys, study, *ALONE)
    code, out, err = sweep(capsys, "show", str(study))
    assert (code, err) == (0, "")
    assert "A small decode" in out
    assert "4 of 4 points" in out
    assert "sram" not in out  # it has one value after the filter

    _, out, _ = sweep(capsys, "show", str(study), "--pareto", "--columns", "region,tpot_seconds")
    best = min(rows(study), key=lambda row: row["tpot_seconds"])
    assert best["region"] in out
    _, out, _ = sweep(capsys, "show", str(study), "--where", "clock > 1e9", "--sort", "-region")
    assert out.index("64x64") < out.index("48x48")
    assert "2 of 4 points" in out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clock =", "clok =", "nearest: clock"),
        ("tpot_seconds", "tpot_second", "nearest: tpot_seconds"),
        ("sram >= 24576", "srm >= 24576", "nearest: sram"),
        ("sram >= 24576", "sram < 1", "no point meets the filter 'sram < 1'"),
        ('["sram >= 24576"]', '["sram > 20000", "sram < 20000"]', "contradict each other"),
        ("[compare]", "[comparison]", "nearest: compare"),
        ("title =", "titel =", "nearest: title"),
        ("[axes]", "[points]\nsampling = 'sobol'\n[axes]", "no sampling 'sobol'"),
        ("[axes]", "[points]\ncount = 3\n[axes]", "has no count"),
        ("context = 128", "clock = 1e9", "under [compare] and under [axes]"),
        ("context = 128", "concurrency = 4", "concurrency belongs to serve"),
        ('"llama-3.1-8b"', '"llama-9"', "there is no model 'llama-9' in the catalogue"),
        ('"llama-3.1-8b"', '"none.py"', "there is no script none.py"),
        ('"decode"', '"sleep"', "job = 'sleep': choose from decode"),
        ("= 128", f"= {'9' * 5000}", "is no TOML"),
        ("= 128", "= 9223372036854775808", "write a whole number of 18 digits at most"),
        ('model = "llama-3.1-8b"', "", "names no model"),
        ('["48x48", "64x64"]', "[]", "an axis without values"),
        ("title = ", "title == ", "is no TOML"),
    ],
)
def test_a_study_that_means_nothing_is_refused(tmp_path, capsys, old, new, message):
    text = DECODE.replace(old, new, 1)
    assert text != DECODE
    study = write_study(tmp_path, text)
    code, out, err = sweep(capsys, study, *ALONE)

    assert (code, out) == (2, "")
    assert message in err
    assert not study.with_suffix(".sweep").exists()


def test_results_that_are_not_there_are_asked_for(tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    code, _, err = sweep(capsys, "show", str(study))
    assert code == 2
    assert "compute them first: onewafer sweep" in err


def test_a_dry_run_computes_nothing(tmp_path, capsys):
    study = write_study(tmp_path, DECODE)
    code, out, _ = sweep(capsys, study, "--dry-run")
    assert (code, out) == (0, "A small decode: 4 points\n")
    assert not study.with_suffix(".sweep").exists()
