"""Compare what a model takes on wafers and on clusters of GPUs: `onewafer.compare`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from onewafer.api.comparison_options import (
    JobOptions,
    MappingOptions,
    SystemOptions,
    equations,
)
from onewafer.errors import ConfigurationError
from onewafer.options import OptionError, called_with, option, optional, to_arguments
from onewafer.process.garbage import rare_collection
from onewafer.terminal import Shown, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from rich.console import RenderableType

    from onewafer import perf
    from onewafer.api.paths import StrPath
    from onewafer.perf.wafer import Programs
    from onewafer.terminal import ProgressBar


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Shown):
    """One job of one model on several systems; of serving, a curve of several points.

    It is a table, JSON, a pandas frame, or a picture; `comparison["cs3"]` is the answer of a
    system.
    """

    points: tuple[perf.Comparison, ...]
    """One, or several that differ in the number of requests at a time."""

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.points[0].model

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems, in the order in which they were named."""
        return tuple(result.system for result in self.points[0].results)

    @property
    def answers(self) -> tuple[perf.Answer, ...]:
        """The answers of the systems that can do the job, point by point."""
        return tuple(answer for point in self.points for answer in point.answers)

    @property
    def refusals(self) -> tuple[perf.Refusal, ...]:
        """The reasons of the systems that cannot, point by point."""
        return tuple(refusal for point in self.points for refusal in point.refusals)

    def __getitem__(self, system: str) -> perf.Answer:
        """Return the answer of a system.

        Raises:
            ConfigurationError: the system is not among those compared, or cannot do the job; or
                there are several points.
        """
        if len(self.points) > 1:
            raise ConfigurationError(
                f"the comparison has {len(self.points)} points; write comparison.points[0].answers"
            )
        for answer in self.answers:
            if answer.system == system:
                return answer
        for refusal in self.refusals:
            if refusal.system == system:
                raise ConfigurationError(f"{system} cannot: {refusal.reason}")
        raise ConfigurationError(f"{system!r} was not compared; choose from {self._names}")

    @property
    def _names(self) -> str:
        return ", ".join(self.systems)

    def to_json(self) -> str:
        """Return it as JSON, every number in SI units, fractions as 0 to 1."""
        from onewafer.perf.report import to_json  # noqa: PLC0415  # when it is asked for

        return to_json(*self.points)

    def to_pandas(self) -> Any:  # noqa: ANN401  # pandas is not a requirement
        """Return a `pandas.DataFrame`: a row a system (and point), a column a quantity.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        from onewafer.perf.report import to_pandas  # noqa: PLC0415  # when it is asked for

        return to_pandas(*self.points)

    def draw(self, path: StrPath) -> None:
        """Draw it into a file, as the ending says: `.png`, `.svg` or `.pdf`.

        Raises:
            ConfigurationError: another ending, Matplotlib is not installed, or no such folder.
        """
        from onewafer.perf.report import (  # noqa: PLC0415  # when it is asked for
            check_picture,
            draw,
            draw_curve,
        )

        picture = Path(path)
        check_picture(picture)
        if len(self.points) == 1:
            draw(self.points[0], picture)
        else:
            draw_curve(self.points, picture)

    def __rich__(self) -> RenderableType:
        """Return the tables that `onewafer compare` prints."""
        from onewafer.perf.report import render, render_curve  # noqa: PLC0415  # when it is shown

        return render(self.points[0]) if len(self.points) == 1 else render_curve(self.points)

    def __repr__(self) -> str:
        """Return the model and the systems."""
        return f"<Comparison: {self.model} on {self._names}>"


def _to_prices(value: Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(value, Mapping) or not all(  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        isinstance(device, str) and isinstance(price, Real)  # pyright: ignore[reportUnnecessaryIsInstance]  # likewise
        for device, price in value.items()
    ):
        raise ValueError("write a price for each device, as in {'h100': 2.5}")
    return value


class CompareArguments(SystemOptions, JobOptions, MappingOptions):
    """The arguments of `onewafer.compare`."""

    model: StrPath | perf.Model | torch.nn.Module = option(
        help="A name of the catalogue, a PyTorch script, or a PyTorch module", kw_only=False
    )
    inputs: object = option(
        default=None,
        help="How a module is called: its arguments by name, a tuple of them, or the only one",
        unset="classes of transformers know",
        kw_only=False,
    )
    prices: Mapping[str, float] | None = option(
        default=None,
        converter=optional(_to_prices),
        help="Device → its price for an hour",
        unset="no costs",
    )
    arguments: Sequence[str] = option(default=(), converter=to_arguments, help="Those of a script")
    progress: bool = option(default=True, help="Say how far long work is")


@called_with(CompareArguments)
def compare(asked: CompareArguments) -> Comparison:
    """Compare what a job of a model takes on wafers and on clusters of GPUs.

    Raises:
        ConfigurationError: an argument has no usable value, or something is not installed.
        UnsupportedOperationError: the module's code cannot be captured.
    """
    options, systems = equations(asked, asked.prices), list_systems(asked.on, asked.against)
    with progress_bar(is_shown=asked.progress) as bar:
        described = _describe(asked.model, asked.inputs, asked.arguments, bar.say)
        return compare_described(described, asked, systems, options, bar=bar)


def compare_described(
    model: perf.Model,
    asked: JobOptions,
    systems: Sequence[str],
    options: perf.CompareOptions,
    *,
    bar: ProgressBar,
    programs: Programs | None = None,
) -> Comparison:
    """Compare systems by a job of a model.

    Whoever compares a model again and again gives the same `programs` each time.

    Raises:
        ConfigurationError: numbers that mean nothing, or a job that the model cannot do.
    """
    from onewafer import perf  # noqa: PLC0415  # when it is used
    from onewafer.api.compare_job import build_jobs  # noqa: PLC0415  # likewise
    from onewafer.perf import wafer  # noqa: PLC0415  # likewise
    from onewafer.perf.report import describe  # noqa: PLC0415  # likewise

    jobs = build_jobs(asked, model)
    steps, kept = count(), wafer.Programs() if programs is None else programs
    num_steps = len(jobs) * len(systems)

    def begin(job: perf.Job, system: str) -> None:
        bar.show(next(steps), num_steps)
        bar.say(f"{model.name} on {system}: {describe(job)}")

    def compare_job(job: perf.Job) -> perf.Comparison:
        progress = partial(begin, job)
        return perf.compare(model, job, systems, options, progress=progress, programs=kept)

    with rare_collection():
        return Comparison(tuple(map(compare_job, jobs)))


def list_systems(on: str | Sequence[str], against: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of systems; unknown ones are refused before a model is captured.

    Raises:
        ConfigurationError: there is no such system, or none is named.
    """
    from onewafer.api.compare_job import split_systems  # noqa: PLC0415  # when it is used
    from onewafer.perf import device_of  # noqa: PLC0415  # likewise

    try:
        texts = [one if isinstance(one, str) else ",".join(one) for one in (on, against)]
    except TypeError:
        raise ConfigurationError(
            f"systems {on!r} and {against!r}: write texts, as in 'h100x8,b200x8', or lists of them"
        ) from None
    systems = split_systems(*texts)
    if not systems:
        raise OptionError(
            lambda spelling: (
                f"no system is named; write {spelling.name('on')} cs3 "
                f"{spelling.name('against')} h100x8"
            )
        )
    for system in systems:
        device_of(system)
    return systems


def _describe(
    model: object, inputs: object, arguments: Sequence[str], say: Callable[[str], None]
) -> perf.Model:
    """Return the description of a model, from any form that a caller may pass."""
    from onewafer.perf import Model  # noqa: PLC0415  # when it is used

    match model:
        case str() | os.PathLike():
            from onewafer.api.models import load_model  # noqa: PLC0415  # when it is used

            return load_model(os.fspath(cast("str", model)), say, arguments)
        case Model():
            return model
        case _ if _is_module(model):
            say(f"capturing {type(model).__name__}")
            return _describe_module(cast("torch.nn.Module", model), inputs)
        case _:
            raise ConfigurationError(
                f"model: {model!r} is of type {type(model).__name__}; give a name of the "
                "catalogue, a script, or a PyTorch module"
            )


def _is_module(model: object) -> bool:
    """Tell whether it is a PyTorch module; where torch was never imported, there is none."""
    return "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module)


def _describe_module(module: torch.nn.Module, inputs: object) -> perf.Model:
    from onewafer.pytorch import describe_call, describe_module  # noqa: PLC0415  # loads torch

    match inputs:
        case None:
            return describe_module(module)
        case Mapping():
            return describe_call(module, (), cast("Mapping[str, object]", inputs))
        case tuple() | list():
            return describe_call(module, tuple(cast("Sequence[object]", inputs)), {})
        case _:
            return describe_call(module, (inputs,), {})
