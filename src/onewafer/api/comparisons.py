"""Compare what a model takes on wafers and on clusters of GPUs: `onewafer.compare`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from onewafer.api.arguments import as_argument
from onewafer.errors import ConfigurationError
from onewafer.geometry import parse_size
from onewafer.process.garbage import rare_collection
from onewafer.terminal import Shown, progress_bar
from onewafer.units import check_clock, parse_hertz

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from rich.console import RenderableType

    from onewafer import perf
    from onewafer.api.arguments import Naming
    from onewafer.api.compare_job import JobKind, Numbers
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


def compare(
    model: StrPath | perf.Model | torch.nn.Module,
    inputs: object = None,
    *,
    on: str | Sequence[str] = "cs3",
    against: str | Sequence[str] = "h100x8",
    job: str | None = None,
    batch: int | None = None,
    context: int | None = None,
    concurrency: int | None = None,
    prompt: int | None = None,
    answer: int | None = None,
    tokens: float | None = None,
    sequence: int | None = None,
    precision: str = "bf16",
    wafer_precision: str = "fp16",
    goal: str = "latency",
    clock: str | float | None = None,
    profile: str = "silicon",
    density: float = 1.0,
    mode: str | None = None,
    region: str | tuple[int, int] | None = None,
    engine: str = "trtllm",
    plan: str | None = None,
    gpu_profile: StrPath | None = None,
    prices: Mapping[str, float] | None = None,
    arguments: Sequence[str] = (),
    progress: bool = True,
) -> Comparison:
    """Compare what a job of a model takes on wafers and on clusters of GPUs.

    Args:
        model: a name of the catalogue, a PyTorch script, or a PyTorch module.
        inputs: how a module is called: its arguments by name, a tuple of them, or the only one;
            None: classes of transformers know.
        on: wafers, `"cs3"` or `"cs3,cs3x4"` or a list.
        against: GPUs, as in `"h100x8,b200x8"`.
        job: `decode`, `prefill`, `serve` or `train`; None: what the model is for.
        batch: sequences or samples together; of training, of a step.
        context: tokens of a sequence (decode, prefill).
        concurrency: requests at a time (serve); None: a curve.
        prompt: tokens of a prompt (serve).
        answer: tokens of an answer (serve).
        tokens: tokens of the run (train).
        sequence: tokens of a sequence (train).
        precision: on GPUs: `bf16`, `fp16`, `fp8`, `fp4`, `mxfp4` or `fp32`.
        wafer_precision: on wafers: `fp16`, `bf16` or `fp32`.
        goal: what the search over mappings looks for: `latency` or `throughput`.
        clock: the wafer's, `"1.1GHz"` or hertz; None: usual.
        profile: timing of the wafer: `silicon` or `sdk`.
        density: share of the wafer's weights that are not zero.
        mode: of the wafer: `whole`, `pipeline` or `streaming`; None: searched for.
        region: PEs of a layer on the wafer, `"64x64"` or (64, 64).
        engine: serving engine on GPUs: `trtllm`, `vllm` or `sglang`.
        plan: parallelism on GPUs, as in `"tp4pp2"`.
        gpu_profile: kernels measured by `onewafer calibrate gpu`.
        prices: device → its price for an hour.
        arguments: of a script.
        progress: whether long work says how far it is.

    Raises:
        ConfigurationError: an argument has no usable value, or something is not installed.
        UnsupportedOperationError: the module's code cannot be captured.
    """
    from onewafer.api.compare_job import (  # noqa: PLC0415  # when it is used
        Numbers,
        check_numbers,
        parse_job,
    )

    kind = parse_job(job)
    numbers = Numbers(
        batch=batch,
        context=context,
        concurrency=concurrency,
        prompt=prompt,
        answer=answer,
        tokens=tokens,
        sequence=sequence,
    )
    check_numbers(kind, numbers)
    options = compare_options(
        precision=precision,
        wafer_precision=wafer_precision,
        goal=goal,
        clock=clock,
        profile=profile,
        density=density,
        mode=mode,
        region=region,
        engine=engine,
        plan=plan,
        gpu_profile=gpu_profile,
        prices=prices or {},
    )
    systems = list_systems(on, against)
    with progress_bar(is_shown=progress) as bar:
        described = _describe(model, inputs, arguments, bar.say)
        wanted = None if job is None else kind
        return compare_described(described, wanted, numbers, systems, options, bar=bar)


def compare_described(
    model: perf.Model,
    kind: JobKind | None,
    numbers: Numbers,
    systems: Sequence[str],
    options: perf.CompareOptions,
    *,
    bar: ProgressBar,
    naming: Naming = as_argument,
    programs: Programs | None = None,
) -> Comparison:
    """Compare systems by a job of a model; None is the job that the model is for.

    Whoever compares a model again and again gives the same `programs` each time.

    Raises:
        ConfigurationError: numbers that mean nothing, or a job that the model cannot do.
    """
    from onewafer import perf  # noqa: PLC0415  # when it is used
    from onewafer.api.compare_job import build_jobs, usual_kind  # noqa: PLC0415  # likewise
    from onewafer.perf import wafer  # noqa: PLC0415  # likewise
    from onewafer.perf.report import describe  # noqa: PLC0415  # likewise

    jobs = build_jobs(kind or usual_kind(model), numbers, model, naming=naming)
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


def list_systems(
    on: str | Sequence[str], against: str | Sequence[str], *, naming: Naming = as_argument
) -> tuple[str, ...]:
    """Return the names of systems; unknown ones are refused before a model is captured.

    Raises:
        ConfigurationError: there is no such system, or none is named.
    """
    from onewafer.api.compare_job import split_systems  # noqa: PLC0415  # when it is used
    from onewafer.perf import device_of  # noqa: PLC0415  # likewise

    texts = [names if isinstance(names, str) else ",".join(names) for names in (on, against)]
    systems = split_systems(*texts)
    if not systems:
        raise ConfigurationError(
            f"no system is named; write {naming('on')} cs3 {naming('against')} h100x8"
        )
    for system in systems:
        device_of(system)
    return systems


def compare_options(
    *,
    precision: str,
    wafer_precision: str,
    goal: str,
    clock: str | float | None,
    profile: str,
    density: float,
    mode: str | None,
    region: str | tuple[int, int] | None,
    engine: str,
    plan: str | None,
    gpu_profile: StrPath | None,
    prices: Mapping[str, float],
    naming: Naming = as_argument,
) -> perf.CompareOptions:
    """Return the options of a comparison from plain values.

    Raises:
        ConfigurationError: an argument has no usable value.
    """
    from onewafer.api.compare_job import choose  # noqa: PLC0415  # when it is used
    from onewafer.perf import (  # noqa: PLC0415  # likewise
        CompareOptions,
        Goal,
        Precision,
        parse_groups,
    )
    from onewafer.perf.gpu import GpuOptions, read_profile  # noqa: PLC0415  # likewise
    from onewafer.perf.wafer import Mode, WaferOptions  # noqa: PLC0415  # likewise

    modes = {chosen.name.lower(): chosen for chosen in Mode}
    named = {chosen.value: chosen for chosen in Precision}
    goals = {chosen.value: chosen for chosen in Goal}
    return CompareOptions(
        wafer=WaferOptions(
            precision=choose(naming("wafer_precision"), wafer_precision, named),
            profile=profile,
            clock_hertz=_hertz(clock),
            density=density,
            mode=None if mode is None else choose(naming("mode"), mode, modes),
            region=parse_size(region) if isinstance(region, str) else region,
            goal=choose(naming("goal"), goal, goals),
        ),
        gpu=GpuOptions(
            precision=choose(naming("precision"), precision, named),
            engine=engine,
            goal=choose(naming("goal"), goal, goals),
            profile=None if gpu_profile is None else read_profile(Path(gpu_profile)),
        ),
        groups=None if plan is None else parse_groups(plan),
        prices={d.strip().lower(): _price(d, amount, naming) for d, amount in prices.items()},
    )


def _hertz(clock: str | float | None) -> float | None:
    if clock is None or isinstance(clock, str):
        return None if clock is None else parse_hertz(clock)
    check_clock(clock)
    return float(clock)


def _price(device: str, amount: float, naming: Naming) -> float:
    if not 0 <= amount < math.inf:
        raise ConfigurationError(
            f"{naming('price')} {device}={amount:g}: a price is a number that is not negative"
        )
    return amount


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
