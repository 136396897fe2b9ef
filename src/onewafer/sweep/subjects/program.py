"""`[csl]`: each point compiles a CSL program with its params, and runs it on the fabric."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from onewafer.api import compile_csl
from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError
from onewafer.host import Device, RunLimits
from onewafer.sweep.inputs.machine_axes import machine_axes, parse_machine_axis
from onewafer.sweep.inputs.plain import as_plain, as_text, as_whole
from onewafer.sweep.subjects.command import run_command
from onewafer.sweep.subjects.fabric import (
    USUAL_PROFILE,
    OnFabric,
    fabric_machine,
)
from onewafer.sweep.subjects.outcome import Item, Outcome, Status
from onewafer.sweep.subjects.subject import Figure, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.api import Program
    from onewafer.sweep.inputs.plain import Plain
    from onewafer.sweep.subjects.fabric import FabricMachine
    from onewafer.sweep.subjects.files import Sources
    from onewafer.sweep.subjects.subject import Share

_TEXTS = ("file", "host", "launch", "arch", "profile", "engine", "fp16_format", "import_path")
_MAX_CYCLES = "max_cycles"
_ENGINE = "fast"
_RECORD = "simulation.json"
_FIGURES = tuple(
    Figure(name)
    for name in (
        "cycles",
        "seconds",
        "total_cycles",
        "width",
        "height",
        "num_pes",
        "bytes_in",
        "bytes_out",
    )
)


@dataclass(frozen=True, slots=True)
class CslPrograms(OnFabric):
    """Points that run a CSL program: its functions one after the other, or a host script."""

    free_inputs: ClassVar[str] = "params."

    sources: Sources
    figures: ClassVar = _FIGURES
    least_memory: ClassVar = 1_500_000_000

    def names(self) -> Collection[str]:
        return (*_TEXTS, _MAX_CYCLES, *machine_axes())

    def parse(self, name: str, value: object) -> Plain:
        if name.startswith(self.free_inputs):
            return as_plain(name, value)
        if name in _TEXTS:
            return as_text(name, value)
        if name == _MAX_CYCLES:
            return as_whole(name, value)
        return parse_machine_axis(name, value)

    def task(self, inputs: Mapping[str, Plain]) -> CslTask:
        if "file" not in inputs:
            raise ConfigurationError('the study names no program; write file = "layout.csl"')
        if ("launch" in inputs) == ("host" in inputs):
            raise ConfigurationError(
                "a program is run by its functions or by a host script: write either "
                'launch = "main" or host = "run.py" under [csl]'
            )
        machine = fabric_machine(inputs)
        if "host" in inputs and machine.profile != USUAL_PROFILE:
            raise ConfigurationError(
                f"profile = {machine.profile!r}: a host script runs with the timing "
                f"{USUAL_PROFILE}; name the functions to launch instead"
            )
        read = {"file": "*.csl", "import_path": "*.csl", "host": "*.py"}
        return CslTask(
            folder=str(self.sources.folder),
            options=tuple(
                (name, inputs[name]) for name in (*_TEXTS, _MAX_CYCLES) if name in inputs
            ),
            params=self.taken(inputs),
            machine=machine,
            sources=tuple(
                self.sources.digest(text, pattern, called=name)
                for name, pattern in read.items()
                for text in _names_in(inputs.get(name))
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CslTask(Task):
    """One compilation and one run."""

    folder: str
    options: tuple[tuple[str, Plain], ...]
    params: tuple[tuple[str, Plain], ...]
    machine: FabricMachine
    sources: tuple[str, ...]
    """The digests of the files that it reads."""

    def describe(self) -> Mapping[str, object]:
        return {
            "subject": "csl",
            "options": dict(self.options),
            "params": dict(self.params),
            "machine": asdict(self.machine),
            "sources": self.sources,
        }

    def run(self, share: Share) -> Outcome:
        options = dict(self.options)
        program = self._compile(options)
        run = _run_by_host if "host" in options else _run_functions
        ran = run(program, Path(self.folder), options, share)
        machine = load_architecture(program.arch, profile=self.machine.profile)
        clock = self.machine.clock_hertz or machine.clock_hertz
        launched = sum(cycles for _, cycles in ran.launches)
        return Outcome(
            status=Status.ANSWERED,
            figures={
                "cycles": float(launched),
                "seconds": launched / clock,
                "total_cycles": float(ran.cycles),
                "width": float(program.width),
                "height": float(program.height),
                "num_pes": float(program.width * program.height),
                "bytes_in": float(ran.bytes_in),
                "bytes_out": float(ran.bytes_out),
            },
            breakdown=tuple(Item(function, cycles / clock) for function, cycles in ran.launches),
        )

    def _compile(self, options: Mapping[str, Plain]) -> Program:
        folders = _names_in(options.get("import_path"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `cslc` reports them, a study does not
            return compile_csl(
                Path(self.folder, str(options["file"])),
                arch=self.machine.arch,
                params=dict(self.params),
                import_path=[str(Path(self.folder, one)) for one in folders],
                fp16_format=str(options.get("fp16_format", "f16")),
            )


@dataclass(frozen=True, slots=True)
class _Ran:
    """The cost of a run."""

    cycles: int
    """From the start of the fabric to the stop."""
    launches: list[tuple[str, int]]
    """Functions, with the cycles of each launch."""
    bytes_in: int
    bytes_out: int


def _run_functions(
    program: Program, folder: Path, options: Mapping[str, Plain], share: Share
) -> _Ran:
    del folder
    most = options.get(_MAX_CYCLES)
    limits = RunLimits(
        max_cycles=None if most is None else int(most),
        max_memory=share.memory_bytes,
        threads=share.threads,
    )
    profile = str(options.get("profile", USUAL_PROFILE))
    device = Device(
        program.image,
        load_architecture(program.arch, profile=profile),
        engine=str(options.get("engine", _ENGINE)),
        limits=limits,
    )
    device.load()
    device.settle()
    names = _names_in(options["launch"])
    launches = [(name, device.launch(name).cycles) for name in names]
    device.stop()
    return _Ran(device.machine.cycle, launches, device.bytes_in, device.bytes_out)


def _run_by_host(
    program: Program, folder: Path, options: Mapping[str, Plain], share: Share
) -> _Ran:
    """Run the host script that a study names on the compiled program, as `cs_python` does."""
    script = Path(folder, str(options["host"]))
    limits = [f"--max-cycles={options[_MAX_CYCLES]}"] if _MAX_CYCLES in options else []
    engine = [f"--engine={options['engine']}"] if "engine" in options else []
    with tempfile.TemporaryDirectory(prefix="onewafer-sweep-") as temporary:
        out = program.save(Path(temporary, "out"))
        arguments = [*engine, *limits, str(script), "--name", str(out)]
        run_command("cs_python", arguments, folder=script.parent, share=share)
        record = out / _RECORD
        if not record.is_file():
            raise ConfigurationError(f"{script.name} did not stop its runner: there are no cycles")
        said = json.loads(record.read_text(encoding="utf-8"))
    launches = [
        (str(one["name"]), int(one["end_cycle"]) - int(one["start_cycle"]))
        for one in said["launches"]
    ]
    return _Ran(int(said["cycles"]), launches, int(said["bytes_in"]), int(said["bytes_out"]))


def _names_in(text: Plain | None) -> tuple[str, ...]:
    """Return the names in a text with commas; none if there is no text."""
    names = () if text is None else tuple(name.strip() for name in str(text).split(","))
    return tuple(name for name in names if name)
