"""`onewafer runs` lists what a folder holds, and nothing of a file is read as markup."""

import json

import pytest
from typer.testing import CliRunner

from onewafer.cli.main import app
from onewafer.recording.provenance import Provenance
from tests.recording.recordings import record


@pytest.fixture
def folder(tmp_path):
    for day, share in ((1, 0.9996), (2, None)):
        made = Provenance(
            script="train.py",
            arguments=("--lr", f"0.{day}"),
            started=f"2026-12-0{day}T10:00:00Z",
            commit="abc1234+",
        )
        record(tmp_path / f"run{day}.parquet", provenance=made, flop_share=share)
    (tmp_path / "other.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "notes.txt").write_text("no recording")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


def test_runs_are_listed_the_latest_first(folder):
    result = run(folder, "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert [one["script"] for one in found] == ["train.py --lr 0.2", "train.py --lr 0.1"]
    assert [one["commit"] for one in found] == ["abc1234+"] * 2
    assert [one["flop_share"] for one in found] == [None, 0.9996]
    assert all(one["seconds"] > 0 < one["cycles"] for one in found)


def test_the_table_has_a_line_a_run_and_no_rounded_whole(folder):
    shown = run(folder).stdout

    assert shown.index("run2.parquet") < shown.index("run1.parquet")
    assert "99.9%" in shown
    assert "100.0%" not in shown
    assert "other.parquet" not in shown


def test_files_that_are_no_recordings_are_named(folder):
    assert run(folder).stderr == "onewafer: no whole recordings, left out: other.parquet\n"


def test_a_file_with_impossible_figures_is_no_recording(folder):
    record(folder / "share.parquet", flop_share=float("inf"))
    record(folder / "date.parquet", provenance=Provenance("a.py", started="yesterday"))
    result = run(folder)
    assert result.exit_code == 0
    assert result.stderr.endswith("left out: date.parquet, other.parquet, share.parquet\n")


def test_what_a_file_says_is_text(tmp_path):
    record(tmp_path / "a.parquet", title="[red]\x1b[31mx[/red]")
    shown = run(tmp_path).stdout

    assert "[red]" in shown
    assert "\x1b[31m" not in shown


def test_a_folder_without_runs_says_how_to_make_one(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "has no recorded run; onewafer run --record FILE.parquet makes one" in result.stdout


def test_a_folder_that_is_none_is_an_error(tmp_path):
    result = run(tmp_path / "gone")
    assert result.exit_code != 0
    assert "no such folder" in str(result.exception)
    (tmp_path / "file").touch()
    assert "that is a file; name its folder" in str(run(tmp_path / "file").exception)
