"""A program of the package for one machine: its file, and the values of its params."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProgram:
    """One program for one rectangle."""

    folder: str
    """The package with the program's files."""
    machine: str
    """`wse2` or `wse3`."""
    entry: str
    """The entry file in the folder."""
    params: Mapping[str, int | bool]
    """Values of the params of the entry file."""
    profile: str = "silicon"

    def architecture(self) -> Architecture:
        """Return the program's machine."""
        return load_architecture(self.machine, profile=self.profile)

    def compile(self, *, optimizes: bool = True) -> WaferImage:
        """Compile the program."""
        options = CompileOptions(
            entry=self.entry,
            architecture=self.architecture(),
            params={name: str(value).lower() for name, value in self.params.items()},
            optimizes=optimizes,
        )
        files = resources.files(self.folder).iterdir()
        texts = {f.name: f.read_text(encoding="utf-8") for f in files if f.name.endswith(".csl")}
        return compile_program(options, MemoryFiles(texts))
