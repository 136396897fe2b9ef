"""The origin of a run: the script with its arguments, the time, the commit of its folder."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")
_LONGEST_SECONDS = 5
_COMMIT = re.compile(r"[0-9a-f]{7,40}\+?")


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a run."""

    script: str = ""
    """The script that ran, as the command named it; empty: there was none."""
    arguments: tuple[str, ...] = ()
    started: str = ""
    """Date and time in UTC, ISO 8601."""
    commit: str = ""
    """The commit of the script's folder, with `+` if files differ from it; empty: none."""


UNKNOWN = Provenance()


def read_provenance() -> Provenance:
    """Return the origin of what this process runs."""
    script, *arguments = sys.argv or [""]
    path = Path(script)
    if path.suffix != ".py" or not path.is_file() or set(_INSTALLED) & {*path.absolute().parts}:
        script, arguments, path = "", [], Path("here")
    started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Provenance(script, tuple(arguments), started, _commit(path.absolute().parent))


def _commit(folder: Path) -> str:
    """Return the commit of a folder; empty: Git is missing, or does not know the folder."""
    options = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder))
    describe = ("describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*")
    try:
        found = subprocess.run(  # noqa: S603  # no shell; Git is the user's
            ("git", *options, *describe),  # noqa: S607  # likewise
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    commit = found.stdout.strip()
    return commit if _COMMIT.fullmatch(commit) else ""
