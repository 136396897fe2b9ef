"""`onewafer csl listing`: the code of a tile program, with the cost of each source line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.csl.program_folder import (
    FolderArgument,
    ProfileOption,
    load_image,
    parse_pe,
)
from onewafer.errors import ConfigurationError
from onewafer.terminal import printable
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from onewafer.image import WaferImage


def listing(
    folder: FolderArgument,
    *,
    pe: Annotated[
        str | None, typer.Option(metavar="X,Y", help="The program that this PE runs.")
    ] = None,
    program: Annotated[
        int | None, typer.Option(metavar="N", help="The program of this number.")
    ] = None,
    profile: ProfileOption = "sdk",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show a tile program: memory map, tables, and its code with bytes and cycles a source line.

    A folder with one program shows it. One with several shows which there are; --pe or --program
    chooses. Cycles are those of docs/explanation/machine.md; what only a run knows is a range.
    """
    from onewafer.arch import load_architecture  # noqa: PLC0415  # a subcommand loads what it uses

    image = load_image(folder)
    architecture = load_architecture(image.arch, profile=profile)
    chosen = _choose(image, pe, program)
    if chosen is None:
        print(json.dumps(_programs(image), indent=2) if as_json else printable(_overview(image)))
        return
    from onewafer.recording import SourceFiles  # noqa: PLC0415  # likewise
    from onewafer.viewer import (  # noqa: PLC0415  # likewise
        format_listing,
        list_program,
        listing_record,
    )

    sources = SourceFiles(folder)
    x, y = chosen
    listed = list_program(image, architecture, x=x, y=y, find_source=sources)
    for path in sources.changed:
        print(
            f"onewafer: {path} is newer than {folder}: its lines may differ from those that were "
            "compiled",
            file=sys.stderr,
        )
    if as_json:
        print(json.dumps(listing_record(listed), indent=2))
    else:
        print(printable(format_listing(listed)), end="")


def _choose(image: WaferImage, pe: str | None, program: int | None) -> tuple[int, int] | None:
    """Return a PE that runs the program to show; None: there are several, and none was named."""
    if pe is not None and program is not None:
        raise ConfigurationError("--pe and --program both choose a program: give one of them")
    if pe is not None:
        x, y = parse_pe(pe, image)
        if image.program_of_pe[y, x] < 0:
            raise ConfigurationError(f"--pe {pe}: this PE has no program; {_where(image)}")
        return x, y
    placed = _placed(image)
    if program is None:
        return _first_pe(image, placed[0]) if len(placed) == 1 else None
    if program not in placed:
        known = ", ".join(map(str, placed)) or "none"
        raise ConfigurationError(
            f"--program {program}: there is no such program; there is: {known}"
        )
    return _first_pe(image, program)


def _placed(image: WaferImage) -> list[int]:
    """Return the numbers of the programs that some PE runs."""
    return sorted(set(image.program_of_pe.reshape(-1).tolist()) - {-1})


def _first_pe(image: WaferImage, number: int) -> tuple[int, int]:
    place = int((image.program_of_pe.reshape(-1) == number).argmax())
    return place % image.width, place // image.width


def _where(image: WaferImage) -> str:
    firsts = [_first_pe(image, number) for number in _placed(image)[:3]]
    return f"these have: {'; '.join(f'{x},{y}' for x, y in firsts) or 'none'}"


def _programs(image: WaferImage) -> list[dict[str, object]]:
    return [
        {
            "program": number,
            "name": image.programs[number].name,
            "num_pes": int((image.program_of_pe == number).sum()),
            "first_pe": list(_first_pe(image, number)),
            "num_bytes": sum(section.num_bytes for section in image.programs[number].sections),
        }
        for number in _placed(image)
    ]


def _overview(image: WaferImage) -> str:
    placed = _placed(image)
    if not placed:
        return "no PE has a program"
    lines = [f"{len(placed)} programs; --program N or --pe X,Y shows one", ""]
    lines.append(f"{'N':>3}  {'PEs':>7}  {'first':>9}  {'bytes':>9}  program")
    for number in placed:
        program = image.programs[number]
        num_pes = int((image.program_of_pe == number).sum())
        x, y = _first_pe(image, number)
        size = format_bytes(sum(section.num_bytes for section in program.sections))
        lines.append(f"{number:3}  {num_pes:7,}  {f'{x},{y}':>9}  {size:>9}  {program.name}")
    return "\n".join(lines)
