"""`onewafer runs --export` gives each run that is over to a tracker once, and only at home.

The clients are stand-ins with the calls of MLflow 3.17 and wandb 0.31 that are made.
"""

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from typer.testing import CliRunner

from onewafer.cli import run_trackers
from onewafer.cli.main import app
from onewafer.recording.provenance import Provenance
from tests.recording.recordings import record

BEGAN = 1_796_119_200_000
"""2026-12-01T10:00:00Z, in milliseconds since 1970."""


class RefusedError(Exception):
    """An error of a client, or of a library that it uses."""


@dataclass
class Mlflow:
    """A store of one experiment."""

    runs: dict = field(default_factory=dict)
    refuses: bool = False

    def get_experiment_by_name(self, name):
        if self.refuses:
            raise RefusedError("no such server")
        return None if not self.runs else SimpleNamespace(experiment_id=name)

    def create_experiment(self, name):
        return name

    def search_runs(self, experiments, filter_string, *, max_results):
        assert (experiments, max_results) == (["onewafer"], 1)
        return [tag for tag in self.runs if filter_string == f"tags.`onewafer.run` = '{tag}'"]

    def create_run(self, experiment, start_time, tags, run_name):
        assert experiment == "onewafer"
        tag = tags["onewafer.run"]
        self.runs[tag] = {
            "name": run_name,
            "start": start_time,
            "script": tags["mlflow.source.name"],
        }
        return SimpleNamespace(info=SimpleNamespace(run_id=tag))

    def log_batch(self, tag, metrics, params):
        assert {one[2:] for one in metrics} == {(BEGAN, 0)}
        self.runs[tag] |= {name: value for name, value, *_ in metrics} | dict(params)

    def set_terminated(self, tag, status, end_time):
        self.runs[tag] |= {"status": status, "end": end_time}


@pytest.fixture
def install(monkeypatch):
    """Return a function that installs a stand-in, in an environment of the test alone."""
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def install(name, **names):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)

    return install


@pytest.fixture
def mlflow(install):
    store = Mlflow()
    install(
        "mlflow",
        MlflowClient=lambda: store,
        get_tracking_uri=lambda: "file:///runs",
        entities=SimpleNamespace(Metric=lambda *one: one, Param=lambda *one: one),
    )
    return store


@pytest.fixture
def folder(tmp_path):
    made = Provenance("train.py", ("--lr", "0.1"), "2026-12-01T10:00:00Z", "abc1234+")
    record(tmp_path / "good.parquet", provenance=made, flop_share=0.5)
    record(tmp_path / "bad.parquet", provenance=made, ending="deadlock")
    record(tmp_path / "live.parquet", provenance=made, is_over=False)
    return tmp_path


def export(folder, tracker, *more):
    return CliRunner().invoke(app, ["runs", str(folder), "--export", tracker, *more])


def test_mlflow_gets_each_run_that_is_over_once(folder, mlflow):
    first, again = export(folder, "mlflow"), export(folder, "mlflow")
    good, bad = sorted(mlflow.runs.values(), key=lambda run: run["status"], reverse=True)

    assert first.exit_code == again.exit_code == 0
    assert "MLflow has 2 runs in experiment onewafer, file:///runs" in first.stderr
    assert (good["name"], good["status"], good["script"]) == (
        "good",
        "FINISHED",
        "train.py --lr 0.1",
    )
    assert (good["start"], good["end"], good["commit"]) == (BEGAN, BEGAN, "abc1234+")
    assert (good["flop_share"], good["width"]) == (0.5, "3")
    assert good["cycles"] > 0 < good["seconds"]
    assert (bad["name"], bad["status"], bad["ending"]) == ("bad", "FAILED", "deadlock")
    assert "flop_share" not in bad
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_refusal_of_the_client_is_one_sentence(folder, mlflow):
    mlflow.refuses = True
    result = export(folder, "mlflow")

    assert result.exit_code != 0
    assert str(result.exception) == "mlflow refuses the runs: no such server"


def test_a_name_that_has_no_encoding_is_exported_as_far_as_it_has(tmp_path, mlflow):
    record(tmp_path / "a.parquet", provenance=Provenance("a\udcff.py", (), "2026-12-01T10:00:00Z"))
    result = export(tmp_path, "mlflow", "--json")

    assert result.exit_code == 0
    (run,) = mlflow.runs.values()
    assert run["script"] == "a?.py"


@pytest.mark.parametrize("mode", [None, "online"])
def test_wandb_is_offline_unless_the_environment_says_otherwise(folder, install, mode):
    runs = {}

    def init(*, id, name, config, settings):  # noqa: A002  # as W&B calls it
        assert settings["x_save_requirements"] is False
        run = runs.setdefault(id, {"name": name, "mode": os.environ["WANDB_MODE"], **config})
        return nullcontext(
            SimpleNamespace(
                log=run.update,
                finish=lambda *, exit_code: run.update(code=exit_code),
                dir="/home/me/wandb/offline-run-1/files",
            )
        )

    install("wandb", Settings=dict, init=init)
    if mode is not None:
        os.environ["WANDB_MODE"] = mode
    result = export(folder, "wandb")
    good, bad = sorted(runs.values(), key=lambda run: run["code"])

    assert result.exit_code == 0
    assert (good["name"], good["mode"], good["flop_share"]) == ("good", mode or "offline", 0.5)
    assert (bad["code"], bad["ending"]) == (1, "deadlock")
    said = "folder /home/me/wandb; wandb sync sends them" if mode is None else "sent"
    assert result.stderr.endswith(f"in project onewafer, {said}\n")


def test_a_client_that_is_missing_is_named_with_its_command(folder, monkeypatch):
    monkeypatch.setattr(run_trackers, "find_spec", lambda _: None)
    result = export(folder, "wandb")

    assert result.exit_code != 0
    assert str(result.exception).endswith("which is not installed: pip install wandb")
