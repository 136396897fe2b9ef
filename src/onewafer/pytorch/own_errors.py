"""Errors of our own in a call that the host can make as well.

Where the host has the values (fidelities `auto` and `model`), an unforeseen error of ours sends the
call to the host. It is counted and named in the report, and kept as a file to send. In `fabric`,
with `--strict`, and with `ONEWAFER_RAISE_OWN_ERRORS=1`, as in all tests of onewafer, it is raised.
"""

from __future__ import annotations

import platform
import traceback
from collections import Counter
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import onewafer
from onewafer.errors import InternalError, OnewaferError, UnsupportedOperationError
from onewafer.execution import Fidelity
from onewafer.pytorch.host_calls import is_own_error
from onewafer.settings import Settings, cache_folder

if TYPE_CHECKING:
    from onewafer.execution import WaferOptions

A_BUG: Final = "a bug of onewafer"
"""The beginning of the reason for which the host has a call because of an error of ours."""
_PACKAGE: Final = Path(onewafer.__file__).parent
_MOST_FILES: Final = 20
_MOST_CHARACTERS: Final = 20_000
_LIBRARIES: Final = ("torch", "numpy", "numba", "transformers")


class OwnErrors:
    """The errors of ours that a session has met."""

    def __init__(self, options: WaferOptions) -> None:
        self._raises = options.strict or Settings.from_environment().raises_own_errors
        self._has_values_of_host = options.fidelity is not Fidelity.FABRIC
        self.counts: Counter[str] = Counter()
        """Name of an error and its line in our sources → calls that the host made because of it."""

    def refuse(self, error: Exception) -> UnsupportedOperationError:
        """Return the refusal of a call in which there was an error of ours.

        Raises:
            InternalError: the user wants to see it.
        """
        return UnsupportedOperationError(
            self._reason_of(error, raises=not self._has_values_of_host)
        )

    def explain_failed_report(self, error: Exception) -> str:
        """Return what to tell of an error of ours while a report was made; raise any other.

        Raises:
            InternalError: the user wants to see it.
        """
        if isinstance(error, OSError) or not is_own_error(error):
            raise error
        return f"the report could not be made: {self._reason_of(error)}"

    def _reason_of(self, error: Exception, *, raises: bool = False) -> str:
        """Count an error and keep its report; return the reason that names it."""
        if self._raises or raises:
            if isinstance(error, OnewaferError):
                raise error
            raise InternalError(f"{type(error).__name__}: {error}") from error
        place = _place_of(error)
        self.counts[place] += 1
        file = _keep(error, place)
        kept = "" if file is None else f", kept in {file}"
        return f"{A_BUG}, please report it ({place}{kept})"


def _place_of(error: Exception) -> str:
    """Return the kind of an error, and the innermost line of ours that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not ours:
        return type(error).__name__
    name = Path(ours[-1].filename).relative_to(_PACKAGE).as_posix()
    return f"{type(error).__name__} in {name}:{ours[-1].lineno}"


def _keep(error: Exception, place: str) -> Path | None:
    """Write the report of an error, one file an error; None: it cannot be written."""
    try:
        folder = cache_folder() / "errors"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{sha256(place.encode()).hexdigest()[:12]}.txt"
        path.write_text(_describe(error, place)[:_MOST_CHARACTERS], encoding="utf-8")
        others = sorted(folder.glob("*.txt"), key=lambda file: file.stat().st_mtime)
        for old in others[:-_MOST_FILES]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path


def _describe(error: Exception, place: str) -> str:
    """Return the versions and the traceback: lines of ours with code, all others without."""
    versions = [f"onewafer {onewafer.__version__}", f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    frames = [_show(frame) for frame in traceback.extract_tb(error.__traceback__)]
    return "\n".join((place, ", ".join(versions), platform.platform(), *frames, ""))


def _show(frame: traceback.FrameSummary) -> str:
    """Return a line of a traceback: neither values nor the user's code."""
    path = Path(frame.filename)
    is_ours = path.is_relative_to(_PACKAGE)
    name = path.relative_to(_PACKAGE).as_posix() if is_ours else path.name
    code = f"  {frame.line}" if is_ours else ""
    return f"  {name}:{frame.lineno} in {frame.name}{code}"
