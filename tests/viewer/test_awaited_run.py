"""The page of a run that has not begun, goes on, has several programs, and is over."""

import json

import numpy as np
import pytest

from onewafer.viewer.awaited_run import AwaitedRun, states_of_programs
from tests.recording.recordings import record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.parquet"


def shown(run):
    about = json.loads(run.find("run.json"))
    return about.get("title"), about.get("cycles"), about.get("is_over")


def test_a_run_is_awaited_then_followed(path):
    run = AwaitedRun(path, {})
    assert run.look() == 0
    assert json.loads(run.find("run.json")) == {"is_awaited": True}
    assert run.find("maps/busy.json") is None

    record(path, cycles=10, is_over=False)
    assert (run.look(), shown(run)) == (1, ("run", 10, False))
    assert run.look() == 1
    record(path, cycles=20, is_over=True)
    assert (run.look(), shown(run)) == (2, ("run", 20, True))
    assert run.find("maps/busy.json") is not None


def test_what_lay_there_before_is_not_shown(path):
    record(path, title="old")
    run = AwaitedRun(path, states_of_programs(path))
    assert run.look() == 0

    record(path, title="new")
    run.look()
    assert shown(run)[0] == "new"


def test_of_several_programs_the_one_that_runs_is_shown_and_at_the_end_the_longest(path):
    run = AwaitedRun(path, {})
    second = path.with_name("run-2.parquet")
    record(path, title="first", cycles=500, is_over=False)
    record(second, title="second", cycles=5, is_over=False)
    run.look()
    assert shown(run)[0] == "second"

    record(path, title="first", cycles=500)
    record(second, title="second", cycles=6)
    run.look()
    assert shown(run) == ("first", 500, True)


def test_a_file_that_is_no_recording_changes_nothing(path):
    run = AwaitedRun(path, {})
    record(path, {"program": np.zeros(6, np.int16)})
    run.look()
    path.write_text("no")
    run.look()
    assert shown(run)[0] == "run"
