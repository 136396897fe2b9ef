"""CSL programs: compile one from files or texts, keep it, find out what the host may use."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.api.csl_options import check_pair, csl_options, write_colors, write_params
from onewafer.api.paths import list_paths
from onewafer.api.program_folder import check_folder, write_folder
from onewafer.errors import CompileError, ConfigurationError
from onewafer.terminal import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from onewafer.api.csl_options import Param
    from onewafer.api.paths import StrPath
    from onewafer.csl import SourceFiles
    from onewafer.image import WaferImage


class CompileWarning(UserWarning):
    """Warnings of `cslc` about a program that compiles."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Program(Shown):
    """A compiled CSL program; `onewafer.load` puts it on a wafer."""

    image: WaferImage
    """All that the compiler made: tile programs, routes, symbols."""

    @property
    def arch(self) -> str:
        """The machine that it is compiled for."""
        return self.image.arch

    @property
    def width(self) -> int:
        """PEs from west to east."""
        return self.image.width

    @property
    def height(self) -> int:
        """PEs from north to south."""
        return self.image.height

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names that it exports: variables and functions, which the host may use."""
        return tuple(export.name for export in self.image.exports)

    def save(self, folder: StrPath) -> Path:
        """Write the folder that `cslc -o` writes, for `SdkRuntime` and `onewafer csl`.

        Raises:
            ConfigurationError: it cannot be written, or holds files that are no older output.
        """
        path = Path(folder)
        check_folder(path)
        write_folder(self.image, path)
        return path

    def __rich__(self) -> RenderableType:
        """Return the table of the names that it exports, which a notebook shows."""
        from rich.table import Table  # noqa: PLC0415  # when it is shown

        title = f"{self.width}×{self.height} PEs of {self.arch}"
        table = Table("exported", "kind", "type", "the host may", title=title)
        for export in self.image.exports:
            element = "" if export.element is None else export.element.name.lower()
            use = "write and read" if export.is_mutable else "read"
            if export.element is None:
                use, types = "launch", (kind.name.lower() for kind in export.argument_types)
                element = f"({', '.join(types)})"
            table.add_row(export.name, export.kind.name.lower(), element, use)
        return table

    def __str__(self) -> str:
        """Return the size, the machine and the exported names."""
        return repr(self)

    def __repr__(self) -> str:
        """Return the size, the machine and the exported names."""
        exported = f", exports {', '.join(self.symbols)}" if self.symbols else ""
        return f"<Program: {self.width}×{self.height} PEs of {self.arch}{exported}>"


def compile_csl(
    file: StrPath,
    *,
    arch: str = "wse3",
    params: Mapping[str, Param] | None = None,
    colors: Mapping[str, int] | None = None,
    fabric_dims: tuple[int, int] | None = None,
    fabric_offsets: tuple[int, int] | None = None,
    memcpy: bool = True,
    import_path: StrPath | Sequence[StrPath] = (),
    sources: Mapping[str, str] | None = None,
    fp16_format: str = "f16",
    warnings_as_errors: bool = False,
) -> Program:
    """Compile a CSL program, as `cslc` does.

    Args:
        file: the CSL file with the layout block.
        arch: the machine: `wse2`, `wse3` or `toy`.
        params: values for the params of the file.
        colors: numbers for its params of type `color`.
        fabric_dims: width and height of the fabric; None: the smallest that fits.
        fabric_offsets: where PE (0, 0) of the program lies on it; None: (4, 1).
        memcpy: whether the host copies and launches through memcpy, which takes PEs at the rim.
        import_path: folders to search for modules.
        sources: texts that stand for files, by path; files that are not in it are read from disk.
        fp16_format: the 16-bit float that the program computes with: `f16`, `bf16` or `cb16`.
        warnings_as_errors: whether a warning makes the compilation fail.

    Raises:
        CompileError: the program has errors; `str` shows what `cslc` prints.
        ConfigurationError: an argument has no usable value.
    """
    options = csl_options(
        os.fspath(file),
        arch=arch,
        params=write_params(params or {}),
        colors=write_colors(colors or {}),
        fabric_dims=check_pair("fabric_dims", fabric_dims),
        fabric_offsets=check_pair("fabric_offsets", fabric_offsets),
        memcpy=memcpy,
        import_path=list_paths(import_path),
        fp16_format=fp16_format,
        warnings_as_errors=warnings_as_errors,
    )
    from onewafer.csl import run_stages  # noqa: PLC0415  # the compiler, when it is used
    from onewafer.diagnostics import DiagnosticSink, render  # noqa: PLC0415  # likewise

    sink = DiagnosticSink()
    compilation = run_stages(options, _source_files(sources or {}), sink)
    if compilation.image is None:
        raise CompileError(render(sink.diagnostics), sink.diagnostics)
    if not compilation.has_layout:
        raise ConfigurationError(
            f"{options.entry} has no layout block, so there is no program to run; compile the file "
            "with the layout"
        )
    if sink.diagnostics:
        warnings.warn(render(sink.diagnostics), CompileWarning, stacklevel=2)
    return Program(compilation.image)


def _source_files(texts: Mapping[str, str]) -> SourceFiles:
    from onewafer.csl import DiskFiles  # noqa: PLC0415  # the compiler, when it is used

    return _Sources({**texts}, DiskFiles())


@dataclass(frozen=True, slots=True)
class _Sources:
    """Texts, and files on disk for all others."""

    texts: dict[str, str]
    others: SourceFiles

    def read(self, path: str) -> str | None:
        """Return the text of a path; None if there is none."""
        text = self.texts.get(path)
        return self.others.read(path) if text is None else text
