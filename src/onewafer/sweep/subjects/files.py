"""Files that a study names: their digests are a part of a point's key."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from onewafer.errors import ConfigurationError
from onewafer.files.digests import digest

_MOST_FILES = 2_000
"""Limit of the files beside a program: a folder with more is not that of one program."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of one study; each is read once."""

    folder: Path
    """The folder of the study, from which files are named."""
    _digests: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def digest(self, name: str, pattern: str, *, called: str) -> str:
        """Return the digest of a file or folder and of the files beside or in it that match.

        A program may import files beside it, so a change of them makes another program. The digest
        depends on names and contents, not on the place of the folder.

        Raises ConfigurationError if there is no such file.
        """
        known = self._digests.get((name, pattern))
        if known is not None:
            return known
        path = self.folder / name
        if not path.exists():
            raise ConfigurationError(f"{called} = {name!r}: there is no such file ({path})")
        if path.is_dir() and called != "import_path":
            raise ConfigurationError(f"{called} = {name!r}: that is a folder; name the file in it")
        return self._digests.setdefault((name, pattern), _digest(path, pattern))


def _digest(path: Path, pattern: str) -> str:
    folder = path if path.is_dir() else path.parent
    own = {path} if path.is_file() else set[Path]()
    paths = sorted(own.union(folder.rglob(pattern)))
    if len(paths) > _MOST_FILES:
        raise ConfigurationError(
            f"{folder} holds {len(paths):,} files {pattern}; put the program into a folder of its "
            "own: all of them are part of what a point is"
        )
    try:
        lines = (
            f"{one.relative_to(folder)} {sha256(one.read_bytes()).hexdigest()}" for one in paths
        )
        return digest("\n".join(lines))
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror or error}") from None
