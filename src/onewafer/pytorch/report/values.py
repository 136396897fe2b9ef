"""The cost of a run, as values and as JSON. An unmeasured figure is None."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.files.whole_files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.errors import SourceLine
    from onewafer.execution.report import EnergyReport, FastestReport, LimitReport, ProgramReport
    from onewafer.perf import KnownError
    from onewafer.process.worker_calls import WorkerCalls
    from onewafer.pytorch.host_work import Cause

FORMAT = "onewafer-report-4"


@dataclass(frozen=True, slots=True)
class NotCounted:
    """Calls of an operation on the host whose FLOP nothing counts."""

    name: str
    """As PyTorch has it: `mine::scan`."""
    place: SourceLine | None
    calls: int


@dataclass(frozen=True, slots=True)
class ElementWork:
    """Element-wise results of calls on the host of one module class, made in one place."""

    module: str
    place: SourceLine | None
    results: int


@dataclass(frozen=True, slots=True)
class FlopReport:
    """Floating point operations of the script's process: those of products."""

    total: int
    """Forward and backward, in modules and outside of them."""
    on_wafer: int
    share: float | None
    """Share of the wafer, 0 to 1; None: there were none."""
    is_whole: bool = True
    """True if they were counted from the beginning; else since the first graph was compiled."""
    not_counted: tuple[NotCounted, ...] = ()
    """Other work of the host, most calls first: with any, the share is an upper bound."""
    elements_on_wafer: int = 0
    """Element-wise results of forward passes of modules, which are no FLOP."""
    elements_on_host: tuple[ElementWork, ...] = ()
    """The same on the host, most results first."""


@dataclass(frozen=True, slots=True)
class HostCalls:
    """Calls on the host of one module class, made in one place, for one cause."""

    module: str | None
    """None: work outside of modules."""
    whole: str | None
    """Class of the outermost module, which the wafer refused, if these are calls of its parts."""
    place: SourceLine | None
    """Where the script makes the outermost call."""
    calls: int
    flop: int


@dataclass(frozen=True, slots=True)
class HostCause:
    """Everything that ran on the host for one cause."""

    cause: Cause
    reason: str
    line: SourceLine | None
    """The line of the model's code that the wafer refuses, if it is one."""
    module: str | None
    """Class of the module, and place, with most FLOP."""
    place: SourceLine | None
    num_places: int
    calls: int
    """Outermost calls, those that the script makes."""
    nested_calls: int
    """Calls of parts of refused modules, for the same cause."""
    flop: int
    share: float | None
    """Share of all FLOP, 0 to 1; None: they were not counted."""
    parts: tuple[HostCalls, ...]
    has_parameters: bool = True
    """True if any of the modules has parameters."""


class AdviceKind(StrEnum):
    """The change to make."""

    NO_GRAD = "no_grad"
    """Calls need a gradient that no backward pass asks for."""
    OPERATIONS = "operations"
    """The wafer refuses operations."""
    MODULES = "modules"
    """Something is computed outside of modules."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A change that would bring more of the script to the wafer."""

    kind: AdviceKind
    text: str
    lines: tuple[SourceLine, ...]
    flop: int
    """FLOP that the change would offer to the wafer."""
    share: float
    """Share of all FLOP, 0 to 1."""


@dataclass(frozen=True, slots=True)
class InnerCalls:
    """Calls on the wafer of one class of modules inside a module that it refused."""

    module: str
    whole: str
    """Class of the module that the script called, whose code ran on the host."""
    calls: int


@dataclass(frozen=True, slots=True)
class OnSystem:
    """One piece of work on another system. A figure that there is not is None."""

    system: str
    """The name that the user wrote."""
    title: str
    refusal: str | None = None
    """Why the system cannot do it."""
    precision: str | None = None
    seconds: float | None = None
    rows_per_second: float | None = None
    """Samples or tokens, without those that fill up a batch."""
    joules: float | None = None
    """Energy of the whole system."""
    mapping: str | None = None
    mfu: float | None = None
    """Model FLOP utilisation, 0 to 1."""
    limit: str | None = None
    """The cause of most of the time."""
    error: KnownError | None = None
    """The error of such figures; None: nothing of the kind was published."""
    is_compared: bool = False
    """True if models as small as this one are among those figures."""
    energy_basis: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """The work that most cycles were spent on, a mean of all of it: a step, a pass or a token."""

    program: int
    """The index of the program, the one with most cycles."""
    what: str
    """In words: `a training step of 64 samples`."""
    rows: float
    """Samples or tokens."""
    seconds: float
    rows_per_second: float
    energy: EnergyReport | None
    """None: the power of the system is not known."""
    limit: LimitReport
    num_pes: int
    """PEs that the wafer has for programs."""
    fastest: FastestReport | None = None
    """None: it was not looked for."""
    elsewhere: tuple[OnSystem, ...] = ()
    """On one H100, or on the systems that the user named, in that order."""


@dataclass(frozen=True, slots=True)
class RunValues:
    """The figures of a whole run."""

    version: str
    ended: str | None
    """The cause that ended the script early; None: nothing did."""
    flop: FlopReport | None
    """None: they were not counted."""
    advice: tuple[Advice, ...]
    wafer_calls: int
    compilations: int
    recompilations: int
    """Compilations of a module beyond its first."""
    host: tuple[HostCause, ...]
    """Work of the host, an entry a cause, most FLOP first."""
    inner_calls: tuple[InnerCalls, ...]
    """Calls on the wafer that the code of such a module made."""
    workers: tuple[WorkerCalls, ...]
    """Calls in worker processes, on the host; neither they nor their FLOP count elsewhere."""
    programs: tuple[ProgramReport, ...]
    work: Work | None = None
    """None: nothing ran on the wafer."""
    notes: tuple[str, ...] = ()
    """Sentences about the values of the run."""


def to_json(report: RunValues) -> str:
    """Return the report as JSON, every field under its name."""
    return json.dumps({"format": FORMAT, **asdict(report)}, indent=2) + "\n"


def write_json(report: RunValues, path: Path) -> None:
    """Write the report to a file: completely or not at all.

    A link or device (`/dev/stdout`) is written in place instead of being replaced.
    """
    write_text(path, to_json(report))
