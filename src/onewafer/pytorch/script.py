"""Run a user's script as `python script.py` would, with its module calls on the wafer."""

from __future__ import annotations

import builtins
import io
import sys
import traceback
import types
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, OnewaferError, describe_end
from onewafer.host import Interruption, Terminated, ended_by_exceptions
from onewafer.process.tracebacks import is_own_file
from onewafer.pytorch.cuda import CudaAlias, alias_cuda
from onewafer.pytorch.run_on import run_on

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from onewafer.pytorch.session import Session

INTERRUPTED = 130
_BEFORE_MODES = (str(Path("torch", "_dynamo", "eval_frame.py")), str(Path("torch", "_compile.py")))
"""Files of the functions that call a mode of PyTorch, the last one first."""
_AFTER_MODES = str(Path("torch", "_ops.py"))
"""The file of the function that a mode calls to let an operation go on."""


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """How a script ended."""

    exit_code: int
    error: OnewaferError | None = None
    """A refusal of ours that the script did not catch; its traceback was not printed."""
    ended: str | None = None
    """The reason why the script ended early; None: it came to its end or called `sys.exit`."""


def run_script(
    path: Path,
    arguments: Sequence[str],
    session: Session,
    *,
    cuda: CudaAlias = CudaAlias.OFF,
    announce: Callable[[str], None] = lambda _: None,
) -> ScriptResult:
    """Run a script to its end; print its traceback if it raises, as Python does.

    `cuda` says when that word means the wafer; `announce` gets one line when the script first uses
    it so, or when the script ended because it did not, and where a launch was if the script has
    caught the Ctrl-C that stopped it.
    Raises ConfigurationError, before anything runs, if there is no such script.
    """
    source = read_script(path)
    with (
        as_main(path, arguments) as namespace,
        run_on(session),
        alias_cuda(session, announce, cuda) as presence,
        ended_by_exceptions(),
    ):
        try:
            execute(source, path, namespace)
        except BaseException as error:  # noqa: BLE001  # shown and turned into the exit code
            result = _end(error)
            _tell_caught(session, error, announce)
            line = presence.explain_end(error, has_called_modules=session.count_calls() > 0)
            if line is not None:
                announce(line)
            return result
        _tell_caught(session, None, announce)
    return ScriptResult(0)


def _tell_caught(
    session: Session, error: BaseException | None, announce: Callable[[str], None]
) -> None:
    """Announce the launches that a Ctrl-C has stopped, if the script has caught that.

    Nothing else would tell of their checkpoints.
    """
    told: set[Interruption | None] = set()
    while error is not None:
        told.add(Interruption.of(error))
        error = error.__cause__ or error.__context__
    for place in session.interruptions:
        if place not in told:
            announce(f"the script has caught a Ctrl-C: {place}")


def _end(error: BaseException) -> ScriptResult:
    """Show what ended a script, as Python does."""
    match error:
        case Terminated():
            return ScriptResult(_exit_code(error), ended="SIGTERM")
        case SystemExit():
            return ScriptResult(_exit_code(error))
        case OnewaferError():
            _note_place(error)
            return ScriptResult(error.exit_code, error, describe_end(error))
        case KeyboardInterrupt():
            show_error(error)
            return ScriptResult(INTERRUPTED, ended=describe_end(error))
        case _:
            show_error(error)
            return ScriptResult(1, ended=describe_end(error))


def read_script(path: Path) -> bytes:
    """Return the text of a script; raise ConfigurationError if there is none."""
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory; name the script in it")
    try:
        with io.open_code(str(path.absolute())) as file:
            return file.read()
    except FileNotFoundError:
        raise ConfigurationError(f"there is no script {path}") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the script {path}: {error.strerror}") from None


def execute(source: bytes, path: Path, namespace: dict[str, object]) -> None:
    """Run the text of a script; raise whatever it raises."""
    exec(compile(source, path.absolute(), "exec", dont_inherit=True), namespace)  # noqa: S102  # running the user's script is the purpose


@contextmanager
def as_main(path: Path, arguments: Sequence[str]) -> Generator[dict[str, object]]:
    """Make the module, arguments and import path that `python path arguments…` would."""
    name = str(path.absolute())
    module = types.ModuleType("__main__")
    module.__dict__.update(
        __file__=name,
        __cached__=None,
        __builtins__=builtins,
        __loader__=SourceFileLoader("__main__", name),
    )
    saved = sys.modules["__main__"], sys.argv, sys.path[:]
    sys.modules["__main__"] = module
    sys.argv = [str(path), *arguments]
    sys.path[:1] = [str(path.resolve().parent)]
    try:
        yield module.__dict__
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = saved


def _exit_code(error: SystemExit) -> int:
    match error.code:
        case None:
            return 0
        case int(code):
            return code
        case message:
            print(message, file=sys.stderr)  # noqa: T201  # what Python does with it
            return 1


def _note_place(error: OnewaferError) -> None:
    """Add the place in the script to an error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == sys.modules["__main__"].__file__:
            error.add_note(f"  in {frame.filename}, line {frame.lineno}")
            return


def show_error(error: BaseException) -> None:
    """Print the traceback of an error of a script, as Python does, without frames of ours."""
    place = Interruption.of(error)
    if place is not None:
        print(f"\n{place}", file=sys.stderr)  # noqa: T201  # as Python shows errors
        return
    _strip(error, set())
    sys.excepthook(type(error), error, error.__traceback__)


def _strip(error: BaseException, seen: set[int]) -> None:
    """Take our frames out of the tracebacks of an error and of all it is linked to."""
    if id(error) in seen:
        return
    seen.add(id(error))
    error.__traceback__ = _without_own_frames(error.__traceback__)
    members: tuple[BaseException, ...] = getattr(error, "exceptions", ())  # of a group
    for linked in (error.__cause__, error.__context__, *members):
        if linked is not None:
            _strip(linked, seen)


def _without_own_frames(tb: types.TracebackType | None) -> types.TracebackType | None:
    """Return a traceback without our frames, and PyTorch's on the way to and from our mode."""
    kept: list[types.TracebackType] = []
    is_after_mode = False
    while tb is not None:
        code = tb.tb_frame.f_code
        if is_own_file(code.co_filename):
            is_mode = code.co_name == "__torch_dispatch__"
            for before in _BEFORE_MODES if is_mode else ():
                if kept and _is_of(kept[-1], before):
                    kept.pop()
            is_after_mode = is_mode
        elif not (is_after_mode and _is_of(tb, _AFTER_MODES)):
            kept.append(tb)
            is_after_mode = False
        tb = tb.tb_next
    chain: types.TracebackType | None = None
    for entry in reversed(kept):
        chain = types.TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return chain


def _is_of(tb: types.TracebackType, file: str) -> bool:
    """Tell whether an entry is of a function in a file, given by the end of its path."""
    return tb.tb_frame.f_code.co_filename.endswith(file)
