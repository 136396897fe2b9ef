"""One job of one model on one system: a point of a study, which has many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.api.comparison_options import equations
from onewafer.api.comparisons import compare_described, list_systems
from onewafer.errors import ConfigurationError
from onewafer.terminal import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer import perf
    from onewafer.api.comparison_options import JobOptions, MappingOptions
    from onewafer.perf.wafer import Programs


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a model: a job, a system, and the options of both."""

    job: JobOptions
    system: str
    options: perf.CompareOptions

    def ask(self, model: perf.Model, *, programs: Programs) -> perf.Answer | perf.Refusal:
        """Return the answer; questions about one model are faster with the same `programs`.

        Raises:
            ConfigurationError: a job that the model cannot do, or a curve instead of a point.
        """
        comparison = compare_described(
            model, self.job, (self.system,), self.options, bar=ProgressBar(), programs=programs
        )
        if len(comparison.points) != 1:
            raise ConfigurationError(
                "a job serve has one answer for each concurrency; give one, as in 32"
            )
        return comparison.points[0].results[0]


def question(job: JobOptions, mapping: MappingOptions, *, system: str, variant: str) -> Question:
    """Return a question about one system.

    `variant` has the numbers in which the wafer differs from the catalog's.

    Raises:
        ConfigurationError: several systems, or none.
    """
    systems = list_systems(system, "")
    if len(systems) != 1:
        raise ConfigurationError(
            f"system {system!r}: a point has one system; give the others points of their own"
        )
    return Question(job, systems[0], equations(mapping, variant=variant))


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
