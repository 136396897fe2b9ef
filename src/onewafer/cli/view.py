"""`onewafer view`: a recorded run as a page, a file for a browser, or a picture."""

from __future__ import annotations

import webbrowser
from pathlib import Path  # noqa: TC003  # Typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.output_files import check_output
from onewafer.errors import ConfigurationError
from onewafer.terminal import printable
from onewafer.units import format_size

if TYPE_CHECKING:
    from onewafer.recording import RecordingFile

DEFAULT_PORT = 8008
_DEFAULT_MAP = "busy"


def view(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A recording: what --record FILE wrote.")
    ],
    *,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a picture of a map, and no page.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page as one file that needs no server."),
    ] = None,
    what: Annotated[
        str | None,
        typer.Option(
            metavar="MAP", help=f"The map of --png: busy, waiting, … [default: {_DEFAULT_MAP}]"
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(metavar="N", help="Port of this computer; 0: any that is free.")
    ] = DEFAULT_PORT,
    browser: Annotated[
        bool, typer.Option("--browser", help="Open the page in the browser of this computer.")
    ] = False,
) -> None:
    """Show a recorded run: what every PE did, waited for and holds, from the wafer to one PE.

    Without --png and --html it serves a page on this computer alone until Ctrl-C.
    """
    if what is not None and png is None:
        raise ConfigurationError(f"--what {what} is the map of --png FILE; a page has all maps")
    pictures = check_output("--png", png), check_output("--html", html)
    from onewafer.recording import RecordingFile  # noqa: PLC0415  # a subcommand loads what it uses

    recording = RecordingFile(file)
    if pictures == (None, None):
        show(recording, port=port, opens_browser=browser)
        return
    _write(recording, what or _DEFAULT_MAP, *pictures)


def show(recording: RecordingFile, *, port: int, opens_browser: bool) -> None:
    """Serve the page of a recording until a signal.

    Raises:
        ConfigurationError: the port is taken, or a package is missing.
    """
    from onewafer.viewer.page_server import serve_page  # noqa: PLC0415  # likewise

    def say(address: str) -> None:
        typer.echo(printable(address))
        if opens_browser:
            webbrowser.open(address.partition(" ")[0])

    serve_page(recording, port=port, say=say)


def _write(recording: RecordingFile, what: str, png: Path | None, html: Path | None) -> None:
    if png is not None:
        from onewafer.viewer.wafer_picture import draw_picture  # noqa: PLC0415  # likewise

        said = draw_picture(recording, what, png)
        typer.echo(printable(f"wrote {png.name}: {said}"))
    if html is not None:
        from onewafer.viewer.page_file import write_page  # noqa: PLC0415  # likewise

        left_out = write_page(recording, html)
        size = format_size(html.stat().st_size)
        typer.echo(printable(f"wrote {html.name}, {size}: open it in a browser"))
        if left_out:
            maps = sorted({path.split("/")[1].removesuffix(".json") for path in left_out})
            typer.echo(printable(f"left out, for the size: {', '.join(maps)}"))
