"""`onewafer csl routes`: a picture of where a color goes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.csl.program_folder import FolderArgument, load_image
from onewafer.cli.options.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.geometry import Rectangle
from onewafer.terminal import printable

if TYPE_CHECKING:
    from onewafer.image import WaferImage
    from onewafer.viewer import ColorMap

FOLD_BEYOND = 16
"""Columns or rows: a larger part is folded."""
MAX_DRAWN = 48
"""Columns and rows that a picture has at most."""


def routes(
    folder: FolderArgument,
    *,
    color: Annotated[
        str | None,
        typer.Option(metavar="N|NAME", help="The color: its number, or its name in the layout."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="SVG [default: routes-N.svg]."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--rectangle", metavar="X,Y,WxH", help="Draw only these PEs."),
    ] = None,
    fold: Annotated[
        bool | None,
        typer.Option(
            "--fold/--no-fold",
            help="Draw equal neighbouring columns and rows as one "
            f"[default: beyond {FOLD_BEYOND}×{FOLD_BEYOND} PEs].",
        ),
    ] = None,
) -> None:
    """Draw the route of a color: where it enters from ramps, which way it goes, where it leaves.

    Without --color, name the colors that the program configures. Large rectangles are folded:
    columns, and rows, that are alike and neighbours become one. Coordinates are the program's.
    """
    image = load_image(folder)
    if color is None:
        print(printable(_overview(image)))
        return
    from onewafer.viewer import (  # noqa: PLC0415  # a subcommand loads what it uses
        describe_map,
        draw_routes,
        map_color,
    )

    number = _find_color(color, image)
    if output is not None and output.suffix not in {".svg", ""} and not output.is_char_device():
        raise ConfigurationError(
            f"-o {output}: the picture is SVG; write {output.with_suffix('.svg')}"
        )
    path = check_output("-o", output or Path(f"routes-{number}.svg"))
    shown = _parse_rectangle(part, image)
    folds = max(shown.width, shown.height) > FOLD_BEYOND if fold is None else fold
    color_map = map_color(image, number, shown=shown, folds=folds)
    size = len(color_map.columns), len(color_map.rows)
    if max(size) > MAX_DRAWN:
        color_map = map_color(image, number, shown=_smaller(shown, color_map), folds=folds)
    assert path is not None
    write_output(path, draw_routes(color_map, program=_describe(folder, image)))
    described = f"{color_map.title}; {describe_map(color_map)}"
    print(printable(f"wrote {output or path.name}: {described}"))
    if color_map.shown != shown:
        print(
            f"only PEs {color_map.shown} of {shown} are drawn: the picture would have "
            f"{size[0]}×{size[1]} PEs; choose others with --rectangle X,Y,WxH"
        )


def _smaller(shown: Rectangle, color_map: ColorMap) -> Rectangle:
    """Return the north-west part of a rectangle that a picture has room for."""
    columns, rows = color_map.columns[:MAX_DRAWN], color_map.rows[:MAX_DRAWN]
    width, height = columns[-1].last - shown.x + 1, rows[-1].last - shown.y + 1
    return Rectangle(shown.x, shown.y, width, height)


def _describe(folder: Path, image: WaferImage) -> str:
    return f"{folder.name or folder}: {image.width}×{image.height} PEs of {image.arch}"


def _find_color(text: str, image: WaferImage) -> int:
    """Return the number of a color that is configured somewhere."""
    from onewafer.viewer import configured_colors  # noqa: PLC0415  # a subcommand loads what it uses

    known = configured_colors(image)
    found = [c for c in known if text == str(c) or text in image.names_of_color(c)]
    if not found:
        listed = ", ".join(_title(c, image) for c in known) or "none at all"
        raise ConfigurationError(f"--color {text}: no PE configures it; configured: {listed}")
    return found[0]


def _title(color: int, image: WaferImage) -> str:
    names = image.names_of_color(color)
    return f"{color} ({'/'.join(names)})" if names else str(color)


def _parse_rectangle(text: str | None, image: WaferImage) -> Rectangle:
    whole = Rectangle(0, 0, image.width, image.height)
    if text is None:
        return whole
    match = re.fullmatch(r"\s*(\d{1,9}),(\d{1,9}),([1-9]\d{0,8})[x×]([1-9]\d{0,8})\s*", text)
    if match is None:
        raise ConfigurationError(f"--rectangle {text}: write X,Y,WxH, as in --rectangle 0,0,8x4")
    x, y, width, height = map(int, match.groups())
    if not (whole.contains(x, y) and whole.contains(x + width - 1, y + height - 1)):
        raise ConfigurationError(f"--rectangle {text}: that leaves the program, which is {whole}")
    return Rectangle(x, y, width, height)


def _overview(image: WaferImage) -> str:
    from onewafer.viewer import (  # noqa: PLC0415  # a subcommand loads what it uses
        configured_colors,
        describe_map,
        map_color,
    )

    known = configured_colors(image)
    if not known:
        return "no PE configures a color"
    shown = Rectangle(0, 0, 1, 1)
    lines = [f"{len(known)} colors; --color N draws one", ""]
    lines += [
        f"{_title(c, image)}: {describe_map(map_color(image, c, shown=shown))}" for c in known
    ]
    return "\n".join(lines)
