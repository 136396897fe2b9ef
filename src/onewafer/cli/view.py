"""`onewafer view`: a recorded run as a page, a file for a browser, or a picture."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # Typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.options.output_files import check_output
from onewafer.errors import ConfigurationError
from onewafer.terminal import printable
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.recording import RecordingFile
    from onewafer.sweep import FollowedStudy

DEFAULT_PORT = 8008
_DEFAULT_MAP = "busy"


def view(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A recording, what --record FILE wrote; or a study."),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Another one, to compare: both maps and what differs."),
    ] = None,
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
    window: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", help="With --png: a window of a sampled run; repeatable, side by side."
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

    Without --png and --html it serves a page on this computer alone until Ctrl-C. The page of a
    study, `study.sweep` or `study.toml`, follows a sweep while it computes.
    """
    if what is not None and png is None:
        raise ConfigurationError(f"--what {what} is the map of --png FILE; a page has all maps")
    if window and (png is None or other is not None):
        raise ConfigurationError("--window is for the --png FILE of one run; a page has them all")
    pictures = check_output("--png", png), check_output("--html", html)
    from onewafer.sweep import FollowedStudy, is_study  # noqa: PLC0415  # a subcommand loads what it uses

    if is_study(file):
        if other is not None or pictures != (None, None):
            raise ConfigurationError(
                f"{file} is a study, which is one page: onewafer view {file}; pictures of it: "
                f"onewafer sweep show {file} --plot FILE"
            )
        _show_study(FollowedStudy(file), port=port, opens_browser=browser)
        return
    from onewafer.recording import RecordingFile  # noqa: PLC0415  # a subcommand loads what it uses

    runs = [RecordingFile(one) for one in (file, other) if one is not None]
    if pictures == (None, None):
        show(*runs, port=port, opens_browser=browser)
        return
    wanted = _Picture(what or _DEFAULT_MAP, tuple(window or ()))
    _write(runs, wanted, *pictures)


@dataclass(frozen=True, slots=True)
class _Picture:
    """The quantity that --png draws."""

    what: str
    windows: tuple[int, ...]


def show(*runs: RecordingFile, port: int, opens_browser: bool) -> None:
    """Serve the page of a recording, or of two side by side, until a signal.

    Raises:
        ConfigurationError: the port is taken, a package is missing, or the runs cannot be compared.
    """
    from onewafer.viewer.compared_runs import Difference  # noqa: PLC0415  # likewise
    from onewafer.viewer.followed_runs import FollowedRuns  # noqa: PLC0415  # likewise
    from onewafer.viewer.page_server import serve_page  # noqa: PLC0415  # likewise

    followed = FollowedRuns(runs)
    title = " and ".join(run.path.name for run in runs)
    if runs[1:]:
        title += f", which took {Difference(*runs).cycles(runs[0].path.name)}"
    serve_page(followed, port=port, title=title, say=_teller(opens_browser), look=followed.look)


def _show_study(study: FollowedStudy, *, port: int, opens_browser: bool) -> None:
    """Serve the page of a study until a signal."""
    from onewafer.viewer.page_server import serve_page  # noqa: PLC0415  # likewise

    serve_page(
        study,
        port=port,
        title=study.folder.name,
        say=_teller(opens_browser),
        look=study.look,
        page="onewafer.viewer.study_page",
    )


def _teller(opens_browser: bool) -> Callable[[str], None]:  # noqa: FBT001  # one meaning
    """Return what tells the user the address of a page, and opens it in a browser if asked."""

    def say(address: str) -> None:
        typer.echo(printable(address))
        if opens_browser:
            webbrowser.open(address.partition(" ")[0])

    return say


def _write(
    runs: Sequence[RecordingFile], wanted: _Picture, png: Path | None, html: Path | None
) -> None:
    if png is not None:
        from onewafer.viewer.wafer_picture import Subject, draw_picture  # noqa: PLC0415  # likewise

        said = draw_picture(wanted.what, png, Subject(*runs, windows=wanted.windows))
        typer.echo(printable(f"wrote {png.name}: {said}"))
    if html is not None:
        from onewafer.viewer.followed_runs import FollowedRuns  # noqa: PLC0415  # likewise
        from onewafer.viewer.page_file import write_page  # noqa: PLC0415  # likewise

        left_out = write_page(FollowedRuns(runs), html)
        size = format_size(html.stat().st_size)
        typer.echo(printable(f"wrote {html.name}, {size}: open it in a browser"))
        if left_out:
            names = sorted({_name_of(path) for path in left_out})
            typer.echo(printable(f"left out, for the size: {', '.join(names)}"))


def _name_of(path: str) -> str:
    """Return the name of a part of a page: that of its map, or of its folder."""
    folder, maps, name = path.rpartition("maps/")
    if not maps:
        return path.partition("/")[0].removesuffix(".json")
    whole, at, _ = name.removesuffix(".json").partition("/")[0].partition("@")
    beside = f" ({folder.rstrip('/')})" if folder else ""
    return f"{whole} over time" if at else f"{whole}{beside}"
