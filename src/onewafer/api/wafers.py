"""A block, or a script, whose PyTorch modules run on a simulated wafer, and what that cost."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.api.torch_presence import require_torch
from onewafer.errors import describe_end
from onewafer.options import RunOptions, called_with, option, settings_with
from onewafer.terminal import Shown
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType

    from onewafer.api.paths import StrPath
    from onewafer.options import WaferOptions
    from onewafer.pytorch import Report, ScriptResult, Session
    from onewafer.settings import Settings


class _Blocks(threading.local):
    """The blocks of a wafer that this thread has opened."""

    def __init__(self) -> None:
        self.open: list[ExitStack] = []


class Wafer(Shown):
    """A simulated wafer that PyTorch modules run on.

    Inside a `with` block, module calls whose result needs no gradient run on the wafer, as under
    `onewafer run`; all others run on the host, and are counted. A wafer can be used again: programs
    stay on it, and its report goes on. In nested blocks the innermost wafer has the calls.
    """

    def __init__(self, session: Session) -> None:
        """Take the session that runs the calls; `onewafer.wafer` makes one."""
        self._session = session
        self._blocks = _Blocks()
        self._ended: str | None = None
        self._is_over = False

    @property
    def report(self) -> Report:
        """The cost of the calls so far: lines, tables in a notebook, JSON, or pandas frames."""
        return self._report(())

    def report_against(self, systems: str | Sequence[str]) -> Report:
        """Return the report with the same work on other systems, by the equations of `compare`.

        That is a step, a pass or a token of the program with most cycles.

        Args:
            systems: as in `"h100x8,b200x8"`, or a list.

        Raises:
            ConfigurationError: there is no such system, or nothing ran on the wafer so far.
        """
        from onewafer.api.comparisons import list_systems  # noqa: PLC0415  # when it is used

        return self._report(list_systems((), systems))

    def _report(self, against: Sequence[str]) -> Report:
        return self._session.report(
            ended=self._ended, is_over=self._is_over, looks_further=True, against=against
        )

    def explain_failed_report(self, error: Exception) -> str:
        """Return what to tell of an error of ours while a report was made; raise any other."""
        return self._session.own_errors.explain_failed_report(error)

    def finish_recordings(self) -> tuple[Path, ...]:
        """Write what `ONEWAFER_RECORD` asks for, once; return the files: one for each program."""
        recordings = self._session.recordings
        if recordings is None:
            return ()
        flop = self.report.flop
        is_known = flop is not None and flop.is_whole and not flop.not_counted
        recordings.finish(flop.share if flop is not None and is_known else None)
        return recordings.files

    def __enter__(self) -> Self:
        """Send module calls to this wafer."""
        from onewafer.pytorch import run_on  # noqa: PLC0415  # loads torch

        block = ExitStack()
        block.enter_context(run_on(self._session))
        self._blocks.open.append(block)
        self._note_end(None)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let module calls run where they ran before."""
        self._blocks.open.pop().close()
        self._note_end(error)

    def _note_end(self, error: BaseException | None) -> None:
        """Note what the last block came to; what it made may yet get a backward pass."""
        self._ended = None if error is None else describe_end(error)
        self._is_over = False

    def run_script(
        self,
        path: StrPath,
        arguments: Sequence[str] = (),
        *,
        cuda_alias: bool | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> ScriptResult:
        """Run a PyTorch script to its end, as `onewafer run` does.

        Args:
            path: the script.
            arguments: its arguments, `sys.argv[1:]`.
            cuda_alias: whether `cuda` means the wafer; None: for scripts that cannot do without.
            announce: gets a line when `cuda` first means the wafer; None: it goes to stderr.

        Raises:
            ConfigurationError: there is no such script.
        """
        from onewafer.execution import ProgressLine  # noqa: PLC0415  # loads the simulator
        from onewafer.pytorch import run_script  # noqa: PLC0415  # loads torch
        from onewafer.pytorch.cuda import CudaAlias  # noqa: PLC0415  # likewise

        observer = self._session.observer
        beside = observer.beside_script() if isinstance(observer, ProgressLine) else nullcontext()
        with beside:
            result = run_script(
                Path(path),
                arguments,
                self._session,
                cuda=CudaAlias.choose(flag=cuda_alias),
                announce=print_notice if announce is None else announce,
            )
        self._ended, self._is_over = result.ended, result.ended is None
        return result

    def __rich__(self) -> RenderableType:
        """Return its report, which notebooks and `print` show."""
        return self.report.__rich__()

    def __repr__(self) -> str:
        """Return the machine and how many calls it has run."""
        arch, fidelity = self._session.architecture.name, self._session.options.fidelity
        calls = count_of(self._session.report().wafer_calls, "call")
        return f"<Wafer: {arch}, fidelity {fidelity}, {calls} so far>"


class WaferArguments(RunOptions):
    """The arguments of `onewafer.wafer`."""

    progress: bool = option(default=True, help="Say how far long work is")


@called_with(WaferArguments)
def wafer(arguments: WaferArguments) -> Wafer:
    """Return a wafer for `with` blocks: `with onewafer.wafer() as wafer: model(x)`.

    Raises:
        ConfigurationError: an argument has no usable value, or PyTorch is not installed.
    """
    return open_wafer(arguments)


def open_wafer(arguments: WaferArguments) -> Wafer:
    """Return the wafer that arguments describe; raise as `wafer`."""
    settings = settings_with(arguments, progress=arguments.progress)
    require_torch("onewafer.wafer")
    return Wafer(open_session(arguments, settings))


def open_session(options: WaferOptions, settings: Settings) -> Session:
    """Return a session that says how far it is, on a terminal or in a notebook.

    Raises:
        ConfigurationError: the folder for CSL is not a new or empty one that can be written, or a
            run is to be recorded and PyArrow is not installed.
    """
    from onewafer.execution import (  # noqa: PLC0415  # likewise
        NotebookProgress,
        ProgressLine,
        Recordings,
        check_csl_folder,
    )
    from onewafer.host import RunLimits  # noqa: PLC0415  # likewise
    from onewafer.pytorch import Session  # noqa: PLC0415  # likewise
    from onewafer.terminal import (  # noqa: PLC0415  # likewise
        NotebookLine,
        PlainConsole,
        find_notebook,
    )

    if options.csl is not None:
        check_csl_folder(options.csl, is_new=True)
    limits = RunLimits.from_settings(settings)
    recordings = Recordings.from_settings(settings, print_notice)
    shell, console = find_notebook(), PlainConsole(stderr=True)
    observer = None
    if shell is not None and settings.shows_progress:
        observer = NotebookProgress(NotebookLine(shell))
    elif console.is_watched and settings.shows_progress:
        observer = ProgressLine(console)
        limits = replace(limits, observer=observer.sentences)
    options = replace(options, engine=settings.engine)
    return Session(options, observer=observer, limits=limits, recordings=recordings)


def print_notice(text: str) -> None:
    """Print a line of ours beside the output of a script."""
    sys.stderr.write(f"onewafer: {text}\n")
