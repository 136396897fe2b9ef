"""The known error of each kind of answer against published or measured figures.

In: `known_errors.toml`, which `tools/figure_errors.py` writes from the validation. Out: the error
that stands beside a figure. Unknown here: the figures themselves (`onewafer validate perf`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from onewafer.perf.jobs import Train
from onewafer.perf.wafer import parse_system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.perf.jobs import Job
    from onewafer.perf.model import Model

_FILE = "known_errors.toml"


@dataclass(frozen=True, slots=True)
class KnownError:
    """The error of one kind of job on one kind of machine, as fractions of published figures."""

    median: float
    """Median of `abs(ours − theirs) / theirs`."""
    count: int
    """Number of published figures or measured runs."""
    largest: float | None = None
    """The largest error; None: not known."""
    least_weights: int | None = None
    """Weights of the smallest model that was compared; None: models were not compared."""

    def covers(self, model: Model) -> bool:
        """Tell whether the model is at least as large as the smallest one compared."""
        return self.least_weights is None or model.num_weights >= self.least_weights

    def __str__(self) -> str:
        """Return the error in words.

        >>> str(KnownError(0.069, 18, 0.208)), str(KnownError(0.053, 1012))
        ('6.9 %, the median of 18, and at most 21 %', '5.3 %, the median of 1,012')
        """
        largest = "" if self.largest is None else f", and at most {100 * self.largest:.0f} %"
        return f"{100 * self.median:.3g} %, the median of {self.count:,}{largest}"


def known_error(model: Model, job: Job, system: str) -> KnownError | None:
    """Return the error of answers about such a job; None: nothing of the kind was published."""
    machine = "gpu" if parse_system(system) is None else "wafer"
    kind = type(job).__name__.lower()
    if isinstance(job, Train) and machine == "gpu":
        kind = f"train{_work_of(model)}"
    return _known_errors().get((machine, kind))


def known_error_of_simulator(profile: str) -> KnownError | None:
    """Return the error of simulated cycles under a timing profile."""
    return _known_errors().get(("simulator", profile))


def known_error_of_closed_form() -> KnownError:
    """Return the error of the closed form of a launch against its simulation."""
    return _known_errors()["closed form", "launch"]


def _work_of(model: Model) -> str:
    """Return the suffix of the kind of training that the model belongs to."""
    if model.has_feature_maps:
        return " on feature maps"
    return " with experts" if model.has_experts else ""


@cache
def _known_errors() -> Mapping[tuple[str, str], KnownError]:
    text = resources.files("onewafer.perf").joinpath(_FILE).read_text(encoding="utf-8")
    return {
        (entry.pop("machine"), entry.pop("job")): KnownError(**entry)
        for entry in tomllib.loads(text)["error"]
    }
