"""The files that commands read from the folder of a compiled program, and how users name a PE."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from onewafer.image import WaferImage

FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A compiled program: what cslc wrote with -o.")
]
ProfileOption = Annotated[str, typer.Option(metavar="NAME", help="Timing: sdk or silicon.")]


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
