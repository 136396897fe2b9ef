"""A program with its input and its answer: what benchmarks and the whole-wafer examples run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.arch import Architecture
    from onewafer.host import Device
    from onewafer.image import WaferImage

_PROGRAMS = "onewafer.benchmarks.programs"


class WrongResultError(SimulationError):
    """A workload ran to its end and its values are not those that NumPy computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One program for one rectangle.

    To run it: `compile`, load a `Device`, `prepare`, launch `function`, `check`.
    """

    machine: str
    """`wse2` or `wse3`."""
    entry: str
    """Its file among the programs of this package."""
    params: dict[str, int | bool]
    """Values of the params of the entry file."""
    prepare: Callable[[Device], None]
    """Write the input to a device that was just loaded."""
    check: Callable[[Device], None]
    """Raise `WrongResultError` unless a device that ran to the end holds the right values."""
    profile: str = "silicon"
    function: str = "main"
    """The exported function that does the work."""

    def architecture(self) -> Architecture:
        """Return the machine that it is for."""
        return load_architecture(self.machine, profile=self.profile)

    def compile(self) -> WaferImage:
        """Compile the program."""
        options = CompileOptions(
            entry=self.entry,
            architecture=self.architecture(),
            params={name: str(value).lower() for name, value in self.params.items()},
        )
        return compile_program(options, _program_files())


def _program_files() -> MemoryFiles:
    folder = resources.files(_PROGRAMS)
    texts = (entry for entry in folder.iterdir() if entry.name.endswith(".csl"))
    return MemoryFiles({entry.name: entry.read_text(encoding="utf-8") for entry in texts})
