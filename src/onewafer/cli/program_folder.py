"""What commands read from the folder of a compiled program, and how users name a PE."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.image import WaferImage

FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A compiled program: what cslc wrote with -o.")
]
ProfileOption = Annotated[str, typer.Option(metavar="NAME", help="Timing: sdk or silicon.")]
_LIBRARY = "onewafer.csl.library"


def load_image(folder: Path) -> WaferImage:
    """Return the program in a folder.

    Raises:
        ConfigurationError: there is no such folder.
        ImageError: it holds no program, or a damaged one.
    """
    from onewafer.image import load  # noqa: PLC0415  # a subcommand loads what it uses

    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {folder}: name the one that cslc wrote, the argument of its -o"
        )
    return load(folder)


def parse_pe(text: str, image: WaferImage) -> tuple[int, int]:
    """Return the program-relative coordinates of a PE, written `X,Y`.

    Raises:
        ConfigurationError: the program's rectangle has no such PE.
    """
    match = re.fullmatch(r"\s*(\d{1,30})\s*,\s*(\d{1,30})\s*", text)
    if match is None:
        raise ConfigurationError(f"--pe {text}: write X,Y, as in --pe 0,0")
    x, y = int(match[1]), int(match[2])
    if x >= image.width or y >= image.height:
        raise ConfigurationError(
            f"--pe {text}: the program has {image.width}×{image.height} PEs, from 0,0 to "
            f"{image.width - 1},{image.height - 1} (its own coordinates, not the fabric's)"
        )
    return x, y


class SourceFiles:
    """Finds source files by the paths that locations name."""

    def __init__(self, folder: Path) -> None:
        """Look beside the compiled program too, if not in the current folder."""
        self._folder = folder
        self.changed: list[str] = []
        """Files found that are newer than the compiled program."""

    def __call__(self, path: str) -> Sequence[str]:
        """Return the lines of a file; none if it is not there."""
        if path.startswith("<"):
            entry = resources.files(_LIBRARY) / f"{path.strip('<>')}.csl"
            return entry.read_text(encoding="utf-8").splitlines() if entry.is_file() else ()
        for base in (Path(), self._folder.absolute().parent):
            file = base / path
            try:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                if file.stat().st_mtime > (self._folder / "image.json").stat().st_mtime:
                    self.changed.append(path)
            except OSError:
                continue
            return lines
        return ()
