"""The page that `--view` opens before a run, and that follows it.

A process of its own serves it: the run keeps its cores, its output and its signals. It hears what
to show in a line of JSON, and ends when the pipe that this came through is closed, so that it never
outlives the command. A Ctrl-C is the run's as long as that goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from onewafer.cli.running.complaints import complain
from onewafer.cli.running.process import INTERRUPTED
from onewafer.errors import OnewaferError
from onewafer.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

    from onewafer.viewer.followed_runs import State


@contextmanager
def live_page(file: Path | None, *, is_wanted: bool) -> Generator[None]:
    """Serve a page that follows the run of the block, and after it until Ctrl-C.

    Errors of the block are said when it ends, and become its exit code.

    Raises:
        ConfigurationError: a package is missing.
        typer.Exit: the block and the page have ended.
    """
    if not is_wanted or file is None:
        yield
        return
    page, process_id = _Page(file), os.getpid()
    code = 0
    try:
        try:
            yield
        except (typer.Exit, OnewaferError, KeyboardInterrupt) as end:
            if os.getpid() != process_id:  # a child that the script forked
                raise
            code = _say(end)
        if page.has_run:
            page.stay()
    finally:
        if os.getpid() == process_id:
            page.end()
    raise typer.Exit(code)


def _say(end: BaseException) -> int:
    """Say why a run ended, if that was not said; return its exit code."""
    match end:
        case typer.Exit(exit_code=code):
            return int(code)
        case OnewaferError():
            complain(end)
            return end.exit_code
        case _:
            print("\nonewafer: interrupted", file=sys.stderr)
            return INTERRUPTED


class _Page:
    """The process that serves the page."""

    def __init__(self, file: Path) -> None:
        from onewafer.viewer.awaited_run import states_of_programs  # noqa: PLC0415  # when it is used
        from onewafer.viewer.page_server import address_of, listen, require_server  # noqa: PLC0415

        require_server()
        self._file = file
        self._before = states_of_programs(file)
        with listen(0) as listener:  # any port that is free: none is taken
            self._address = address_of(listener)
            number = listener.fileno()
            command = [sys.executable, "-P", "-m", "onewafer.cli.running.live_page", str(number)]
            self._process = subprocess.Popen(  # noqa: S603  # our interpreter
                command, stdin=subprocess.PIPE, pass_fds=[number], start_new_session=True
            )
        before = [[str(path), *state] for path, state in self._before.items()]
        self._tell(json.dumps({"file": str(file), "before": before}))
        self._print("follows the run")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None, "it was asked for"  # invariant
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _print(self, what: str) -> None:
        print(printable(f"onewafer: {self._address} {what}"), file=sys.stderr, flush=True)

    @property
    def has_run(self) -> bool:
        """True if something is recorded that was not there before."""
        from onewafer.viewer.awaited_run import states_of_programs  # noqa: PLC0415  # likewise

        return states_of_programs(self._file) != self._before

    def stay(self) -> None:
        """Go on after the run, until Ctrl-C or SIGTERM."""
        try:
            signal.signal(signal.SIGTERM, _interrupt)
            self._print("goes on showing it; Ctrl-C ends")
            self._process.wait()
        except KeyboardInterrupt:
            print(file=sys.stderr)

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


# --- the other process ---------------------------------------------------------------------------


def main() -> None:
    """Serve on the socket whose number is the argument what a line of stdin says."""
    import socket  # noqa: PLC0415  # the command itself needs none

    from onewafer.viewer.awaited_run import AwaitedRun  # noqa: PLC0415  # likewise
    from onewafer.viewer.page_server import serve_on  # noqa: PLC0415  # likewise

    wanted = json.loads(sys.stdin.readline())
    before: dict[Path, State] = {
        Path(path): (inode, written_at) for path, inode, written_at in wanted["before"]
    }
    run = AwaitedRun(Path(wanted["file"]), before)
    threading.Thread(target=_end_with_command, daemon=True).start()
    serve_on(socket.socket(fileno=int(sys.argv[1])), run, run.look)


def _end_with_command() -> None:
    sys.stdin.read()  # until the command closes it, or ends
    os._exit(0)


if __name__ == "__main__":
    main()
