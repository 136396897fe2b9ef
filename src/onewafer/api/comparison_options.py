"""Options of comparisons: those of `onewafer.compare`, `onewafer compare`, and studies."""

from __future__ import annotations

import math
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from onewafer.options import (
    OptionError,
    Options,
    choose,
    one_of,
    option,
    optional,
    options_of,
    to_hertz,
    to_path,
    to_rectangle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onewafer import perf
    from onewafer.options import Spelling
    from onewafer.perf import Goal, Precision
    from onewafer.perf.wafer import Mode


class JobKind(StrEnum):
    """The kinds of jobs."""

    DECODE = "decode"
    PREFILL = "prefill"
    SERVE = "serve"
    TRAIN = "train"


_NUMBERS_OF = {
    JobKind.DECODE: ("batch", "context"),
    JobKind.PREFILL: ("batch", "context"),
    JobKind.SERVE: ("concurrency", "prompt", "answer"),
    JobKind.TRAIN: ("batch", "tokens", "sequence"),
}


def _to_precision(value: str) -> Precision:
    from onewafer.perf import Precision  # noqa: PLC0415  # commands load this file

    return one_of(Precision)(value)


def _to_goal(value: str) -> Goal:
    from onewafer.perf import Goal  # noqa: PLC0415  # likewise

    return one_of(Goal)(value)


def _to_mode(value: str) -> Mode:
    from onewafer.perf.wafer import Mode  # noqa: PLC0415  # likewise

    return choose(value, {mode.name.lower(): mode for mode in Mode})


class SystemOptions(Options):
    """Machines that are compared."""

    on: str | Sequence[str] = option(
        default="cs3", help="Wafers, e.g. cs3 or cs3,cs3x4", metavar="SYSTEMS"
    )
    against: str | Sequence[str] = option(
        default="h100x8", help="GPUs, e.g. h100x8,b200x8", metavar="SYSTEMS"
    )


class Numbers(Options):
    """The sizes of a job; each kind of job has some of them. None: usual."""

    batch: int | None = option(
        default=None,
        help="Sequences or samples together (decode, prefill); those of a step (train)",
    )
    context: int | None = option(default=None, help="Tokens of a sequence (decode, prefill)")
    concurrency: int | None = option(
        default=None, help="Requests at a time (serve)", unset="a curve"
    )
    prompt: int | None = option(default=None, help="Tokens of a prompt (serve)")
    answer: int | None = option(default=None, help="Tokens of an answer (serve)")
    tokens: float | None = option(default=None, help="Tokens of the run, e.g. 15e12 (train)")
    sequence: int | None = option(default=None, help="Tokens of a sequence (train)")


class JobOptions(Numbers):
    """A job; None: what the model is for."""

    job: JobKind | None = option(
        default=None,
        converter=optional(one_of(JobKind)),
        help="Job: decode, prefill, serve or train",
        unset="what the model is for",
    )

    def check_together(self) -> None:
        """Refuse numbers that belong to another job."""
        kind = self.job or JobKind.DECODE
        for found in options_of(Numbers):
            owners = [owner for owner, names in _NUMBERS_OF.items() if found.name in names]
            if getattr(self, found.name) is not None and kind not in owners:
                raise OptionError(partial(_belongs_to, found.name, owners, kind))


def _belongs_to(number: str, owners: Sequence[JobKind], kind: JobKind, spelling: Spelling) -> str:
    owner = " and ".join(map(spelling.name, owners))
    own = ", ".join(map(spelling.name, _NUMBERS_OF[kind]))
    return f"{spelling.name(number)} belongs to {owner}; {spelling.name(kind)} takes {own}"


class EquationOptions(Options):
    """Machines, as equations see them."""

    precision: Precision = option(
        default="bf16",
        converter=_to_precision,
        help="Precision on GPUs: bf16, fp16, fp8, fp4, mxfp4 (of experts only) or fp32",
    )
    wafer_precision: Precision = option(
        default="fp16", converter=_to_precision, help="Precision on wafers: fp16, bf16 or fp32"
    )
    clock: float | None = option(
        default=None,
        converter=optional(to_hertz),
        help="Clock of the wafer, e.g. 1.1GHz",
        unset="usual",
        metavar="HZ",
    )
    profile: str = option(default="silicon", help="Timing of the wafer: silicon or sdk")
    engine: str = option(default="trtllm", help="Serving engine on GPUs: trtllm, vllm or sglang")


class MappingOptions(EquationOptions):
    """Machines, and how models are laid over them."""

    goal: Goal = option(
        default="latency",
        converter=_to_goal,
        help="Goal of the search over mappings: latency or throughput",
    )
    density: float = option(
        default=1.0, help="Share of the wafer's weights that are not zero", metavar="SHARE"
    )
    mode: Mode | None = option(
        default=None,
        converter=optional(_to_mode),
        help="How the wafer holds the model: whole, pipeline or streaming",
        unset="searched for",
    )
    region: tuple[int, int] | None = option(
        default=None,
        converter=optional(to_rectangle),
        help="PEs of a layer on the wafer, e.g. 64x64",
        unset="searched for",
        metavar="WxH",
    )
    plan: str | None = option(
        default=None, help="Parallelism on GPUs, e.g. tp4pp2", unset="searched for", metavar="PLAN"
    )
    gpu_profile: Path | None = option(
        default=None,
        converter=optional(to_path),
        help="Kernels measured by `onewafer calibrate gpu`",
        metavar="FILE",
    )


def equations(
    asked: EquationOptions, prices: Mapping[str, float] | None = None, *, variant: str = ""
) -> perf.CompareOptions:
    """Return the options of the equations.

    `prices` are those of devices for an hour; `variant` has the numbers in which the wafer differs
    from the catalog's.

    Raises:
        ConfigurationError: a price is negative, or a file is no profile of a GPU.
    """
    from onewafer import perf  # noqa: PLC0415  # when it is used
    from onewafer.perf import gpu, wafer  # noqa: PLC0415  # likewise

    laid = asked if isinstance(asked, MappingOptions) else MappingOptions()
    return perf.CompareOptions(
        wafer=wafer.WaferOptions(
            precision=asked.wafer_precision,
            profile=asked.profile,
            clock_hertz=asked.clock,
            density=laid.density,
            mode=laid.mode,
            region=laid.region,
            goal=laid.goal,
            variant=variant,
        ),
        gpu=gpu.GpuOptions(
            precision=asked.precision,
            engine=asked.engine,
            goal=laid.goal,
            profile=None if laid.gpu_profile is None else gpu.read_profile(laid.gpu_profile),
        ),
        groups=None if laid.plan is None else perf.parse_groups(laid.plan),
        prices={d.strip().lower(): _price(d, amount) for d, amount in (prices or {}).items()},
    )


def _price(device: str, amount: float) -> float:
    if not 0 <= amount < math.inf:
        raise OptionError(
            lambda spelling: (
                f"{spelling.name('price')} {device}={amount:g}: a price is a finite "
                "number of at least 0"
            )
        )
    return amount
