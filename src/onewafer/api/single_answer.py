"""One job of one model on one system: a point of a study, which has many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.api.comparisons import compare_described, compare_options, list_systems
from onewafer.errors import ConfigurationError
from onewafer.terminal import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer import perf
    from onewafer.api.arguments import Naming
    from onewafer.api.compare_job import JobKind, Numbers
    from onewafer.perf.wafer import Programs

NUMBERS_OF_JOBS = ("batch", "context", "concurrency", "prompt", "answer", "tokens", "sequence")
"""The costs of the jobs; each job has some of them."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a model: a job, a system, and the options of both."""

    kind: JobKind | None
    """None: the job that the model is for."""
    numbers: Numbers
    system: str
    options: perf.CompareOptions

    def ask(
        self, model: perf.Model, *, programs: Programs, naming: Naming
    ) -> perf.Answer | perf.Refusal:
        """Return the answer; questions about one model are faster with the same `programs`.

        Raises:
            ConfigurationError: a job that the model cannot do, or a curve instead of a point.
        """
        comparison = compare_described(
            model,
            self.kind,
            self.numbers,
            (self.system,),
            self.options,
            bar=ProgressBar(),
            naming=naming,
            programs=programs,
        )
        if len(comparison.points) != 1:
            raise ConfigurationError(
                f"a job serve has one answer for each {naming('concurrency')}; give one, as in 32"
            )
        return comparison.points[0].results[0]


def question(
    *,
    job: str | None,
    numbers: Mapping[str, float],
    system: str,
    variant: str,
    naming: Naming,
    **options: object,
) -> Question:
    """Return a question from plain values; `options` are those of `compare_options`.

    `variant` has the numbers in which the wafer differs from the catalog's.

    Raises:
        ConfigurationError: a value that means nothing, or numbers of another job.
    """
    from onewafer.api.compare_job import (  # noqa: PLC0415  # when it is used
        Numbers,
        check_numbers,
        parse_job,
    )

    kind = None if job is None else parse_job(job)
    asked = Numbers(**numbers)  # pyright: ignore[reportArgumentType]  # checked below
    check_numbers(parse_job(job), asked, naming)
    systems = list_systems(system, "", naming=naming)
    if len(systems) != 1:
        raise ConfigurationError(
            f"{naming('system')} {system!r}: a point has one system; give the others points "
            "of their own"
        )
    chosen = compare_options(**_USUAL | options, naming=naming)  # pyright: ignore[reportArgumentType]  # checked there
    wafer = replace(chosen.wafer, variant=variant)
    return Question(kind, asked, systems[0], replace(chosen, wafer=wafer))


_USUAL: dict[str, object] = {
    "precision": "bf16",
    "wafer_precision": "fp16",
    "goal": "latency",
    "clock": None,
    "profile": "silicon",
    "density": 1.0,
    "mode": None,
    "region": None,
    "engine": "trtllm",
    "plan": None,
    "gpu_profile": None,
    "prices": {},
}
"""The options of a comparison where none is named."""


def wafer_of(system: str) -> str | None:
    """Return the machine whose numbers a system has; None: it has no wafer.

    Raises:
        ConfigurationError: there is no such system.
    """
    from onewafer.perf import device_of  # noqa: PLC0415  # when it is used
    from onewafer.perf.wafer import parse_system  # noqa: PLC0415  # likewise

    device_of(system)
    found = parse_system(system)
    return None if found is None else found.system.wafer


def describe_catalogued(name: str, arguments: Sequence[str] = ()) -> perf.Model:
    """Return a model of the catalogue, or of a script, as `onewafer compare` does.

    Raises:
        ConfigurationError: there is none of that name, or PyTorch is needed and missing.
    """
    from onewafer.api.models import load_model  # noqa: PLC0415  # when it is used

    return load_model(name, _drop, arguments)


def _drop(text: str) -> None:
    del text
