"""Recorded runs for MLflow and for Weights & Biases, by the client that the user has installed.

In: the figures of runs. Out: a run of the tracker for each; its id follows from the recording.
Nothing leaves this computer unless the user's environment names a server.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime  # noqa: TID251  # reads a text, and no clock
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onewafer.cli.recorded_runs import GOES_ON, RecordedRun
from onewafer.errors import ConfigurationError
from onewafer.files.digests import digest
from onewafer.settings import set_unless_set
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class Tracker(StrEnum):
    """A tracker of experiments."""

    MLFLOW = "mlflow"
    WANDB = "wandb"


_METRICS: Final = ("cycles", "seconds", "flop_share")
_AT_HOME: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_EXPERIMENT_NAME": "onewafer",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "WANDB_PROJECT": "onewafer",
}
"""Variables of the clients, which those of the user override."""
_NOTHING_OF_THIS_PROCESS: Final = {"x_disable_stats": True, "x_save_requirements": False}


def export_runs(runs: Iterable[RecordedRun], tracker: Tracker) -> str:
    """Give runs that are over to a tracker, and return a sentence that says where they are.

    Raises:
        ConfigurationError: its client is not installed, or refuses.
    """
    if find_spec(tracker) is None:
        raise ConfigurationError(
            f"--export {tracker} needs its client, which is not installed: pip install {tracker}"
        )
    said = set_unless_set(**_AT_HOME)
    client: Any = import_module(tracker)  # optional, and without types here
    over = [_encodable(run) for run in runs if run.ending != GOES_ON]
    write = _to_mlflow if tracker is Tracker.MLFLOW else _to_wandb
    try:
        return write(client, over, said)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001  # clients pass on those of databases, too
        raise ConfigurationError(f"{tracker} refuses the runs: {error}") from None


def _encodable(run: RecordedRun) -> RecordedRun:
    """Return a run whose texts can be encoded, unlike some names of files."""
    texts = {name: text for name, text in asdict(run).items() if isinstance(text, str)}
    return replace(run, **{k: text.encode(errors="replace").decode() for k, text in texts.items()})


def _to_mlflow(mlflow: Any, runs: list[RecordedRun], said: dict[str, str]) -> str:  # noqa: ANN401
    where, name = mlflow.get_tracking_uri(), said["MLFLOW_EXPERIMENT_NAME"]
    if where.startswith("sqlite:") and find_spec("sqlalchemy") is None:
        raise ConfigurationError(
            "mlflow-skinny writes to servers only: set MLFLOW_TRACKING_URI, or pip install mlflow"
        )
    client = mlflow.MlflowClient()
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    for run in runs:
        tag = _id(run)
        began = round(1000 * datetime.fromisoformat(run.started).timestamp()) if run.started else 0
        if client.search_runs([experiment], f"tags.`onewafer.run` = '{tag}'", max_results=1):
            continue
        tags = {"onewafer.run": tag, "mlflow.source.name": run.script}
        made = client.create_run(experiment, began, tags, Path(run.file).stem)
        params, metrics = _figures(run)
        client.log_batch(
            made.info.run_id,
            [mlflow.entities.Metric(*one, began, 0) for one in metrics.items()],
            [mlflow.entities.Param(key, str(value)) for key, value in params.items()],
        )
        status = "FAILED" if run.ending else "FINISHED"  # a recording has no time of its end
        client.set_terminated(made.info.run_id, status, began)
    return f"MLflow has {count_of(len(runs), 'run')} in experiment {name}, {where}"


def _to_wandb(wandb: Any, runs: list[RecordedRun], said: dict[str, str]) -> str:  # noqa: ANN401
    quiet = {"console": "off", "disable_git": True, "silent": True}
    settings = wandb.Settings(**quiet, **_NOTHING_OF_THIS_PROCESS)
    folder = "wandb"
    for run in runs:
        params, metrics = _figures(run)
        name = Path(run.file).stem
        with wandb.init(id=_id(run), name=name, config=params, settings=settings) as written:
            written.log(metrics)
            written.finish(exit_code=bool(run.ending))
            folder = str(Path(written.dir).parents[1])  # of `wandb/offline-run-…/files`
    is_offline = said["WANDB_MODE"] == "offline"
    then = f"folder {folder}; wandb sync sends them" if is_offline else "sent"
    return f"W&B has {count_of(len(runs), 'run')} in project {said['WANDB_PROJECT']}, {then}"


def _id(run: RecordedRun) -> str:
    """Return an id of a run that is the same in every export."""
    return digest(f"{Path(run.file).name} {run.script} {run.started} {run.cycles}")[:16]


def _figures(run: RecordedRun) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the parameters and the metrics of a run, those that are known."""
    known = {name: value for name, value in asdict(run).items() if value not in {None, ""}}
    metrics = {name: float(known.pop(name)) for name in _METRICS if name in known}
    return known, metrics
