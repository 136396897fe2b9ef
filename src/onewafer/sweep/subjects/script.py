"""`[script]`: each point runs a PyTorch script on a simulated wafer, as `onewafer run` does."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onewafer.api import require_torch
from onewafer.errors import ConfigurationError
from onewafer.options import COMMAND_LINE, RunOptions, options_of
from onewafer.sweep.inputs.machine_axes import machine_axes, parse_machine_axis
from onewafer.sweep.inputs.plain import as_plain, as_text, parse_option
from onewafer.sweep.subjects.command import run_command
from onewafer.sweep.subjects.fabric import OnFabric, fabric_machine
from onewafer.sweep.subjects.outcome import Item, Outcome, Status
from onewafer.sweep.subjects.subject import Figure, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.sweep.inputs.plain import Plain
    from onewafer.sweep.subjects.fabric import FabricMachine
    from onewafer.sweep.subjects.files import Sources
    from onewafer.sweep.subjects.subject import Share

_OPTIONS = tuple(
    found.name
    for found in options_of(RunOptions)
    # Numbers of the machine, and what no point should change.
    if found.name not in ("arch", "profile", "clock", "strict", "csl", "threads")
)
_SUMS = ("cycles", "launches", "samples", "bytes_in", "bytes_out")
"""Fields of a program's report that add up over programs."""
_FIGURES = (
    *(Figure(name) for name in _SUMS),
    Figure("seconds"),
    Figure("seconds_per_sample"),
    Figure("num_pes"),
    Figure("flop"),
    Figure("share_on_wafer"),
    Figure("rectangles", is_text=True),
)


@dataclass(frozen=True, slots=True)
class Scripts(OnFabric):
    """Points that run a PyTorch script with flags of its own and options of `onewafer run`."""

    free_inputs: ClassVar[str] = "flags."

    sources: Sources
    figures: ClassVar = _FIGURES
    least_memory: ClassVar = 3_000_000_000

    def names(self) -> Collection[str]:
        return ("file", "arch", "profile", *_OPTIONS, *machine_axes())

    def parse(self, name: str, value: object) -> Plain:
        if name.startswith(self.free_inputs):
            return as_plain(name, value)
        if name in ("file", "arch", "profile"):
            return as_text(name, value)
        if name in _OPTIONS:
            return parse_option(RunOptions, name, value)
        return parse_machine_axis(name, value)

    def task(self, inputs: Mapping[str, Plain]) -> ScriptTask:
        require_torch("a study of a script")
        if "file" not in inputs:
            raise ConfigurationError('the study names no script; write file = "model.py"')
        machine = fabric_machine(inputs)
        name = str(inputs["file"])
        return ScriptTask(
            folder=str(self.sources.folder),
            file=name,
            machine=machine,
            options=tuple((one, inputs[one]) for one in _OPTIONS if one in inputs),
            flags=self.taken(inputs),
            source=self.sources.digest(name, "*.py", called="file"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTask(Task):
    """One run of a script in a process of its own."""

    folder: str
    file: str
    machine: FabricMachine
    options: tuple[tuple[str, Plain], ...]
    flags: tuple[tuple[str, Plain], ...]
    source: str
    """The digest of the script and of the files beside it."""

    def describe(self) -> Mapping[str, object]:
        return {
            "subject": "script",
            "file": self.file,
            "machine": asdict(self.machine),
            "options": dict(self.options),
            "flags": dict(self.flags),
            "source": self.source,
        }

    def run(self, share: Share) -> Outcome:
        script = Path(self.folder, self.file)
        hertz = self.machine.clock_hertz
        clock = [] if hertz is None else ["--clock", f"{hertz:.0f}"]
        options = [
            text for name, value in self.options for text in (COMMAND_LINE.name(name), str(value))
        ]
        flags = [text for name, value in self.flags for text in _as_flag(name, value)]
        with tempfile.TemporaryDirectory(prefix="onewafer-sweep-") as temporary:
            report = Path(temporary, "report.json")
            arguments = ["run", "--quiet", "--json", str(report), "--arch", self.machine.arch]
            arguments += ["--profile", self.machine.profile, *clock, *options, str(script), *flags]
            run_command("onewafer", arguments, folder=script.parent, share=share)
            said = json.loads(report.read_text(encoding="utf-8"))
        if not said["programs"]:
            reasons = [one["reason"] for one in said["host"] if one["reason"]]
            why = reasons[0] if reasons else "it calls no module without gradients"
            return Outcome(status=Status.REFUSED, reason=f"nothing ran on the wafer: {why}")
        return _answered(said)


def _as_flag(name: str, value: Plain) -> tuple[str, ...]:
    """Return a command-line flag: `--width 8`, or `--fast` alone for true.

    >>> _as_flag("width", 8), _as_flag("fast", True), _as_flag("fast", False)
    (('--width', '8'), ('--fast',), ())
    """
    option = f"--{name}" if len(name) > 1 else f"-{name}"
    if isinstance(value, bool):
        return (option,) if value else ()
    return (option, str(value))


def _answered(said: Mapping[str, Any]) -> Outcome:
    programs: list[Mapping[str, Any]] = said["programs"]
    sums = {name: float(sum(one[name] or 0 for one in programs)) for name in _SUMS}
    seconds = [one["cycles"] / one["clock_hertz"] for one in programs]
    flop: Mapping[str, Any] = said["flop"] or {}
    return Outcome(
        status=Status.ANSWERED,
        figures={
            **sums,
            "seconds": sum(seconds),
            "seconds_per_sample": sum(seconds) / sums["samples"] if sums["samples"] else None,
            "num_pes": float(max(one["width"] * one["height"] for one in programs)),
            "flop": flop.get("total"),
            "share_on_wafer": flop.get("share"),
            "rectangles": ", ".join(f"{one['width']}×{one['height']}" for one in programs),
        },
        breakdown=tuple(
            Item(str(one["module"]), time) for one, time in zip(programs, seconds, strict=True)
        ),
    )
