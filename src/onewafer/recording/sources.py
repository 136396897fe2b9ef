"""The source texts of a program's instructions."""

from __future__ import annotations

from contextlib import suppress
from importlib import resources
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.image import WaferImage

_LIBRARY = "onewafer.csl.library"


class FindSource(Protocol):
    """Finds the lines of a source file."""

    def __call__(self, path: str, /) -> Sequence[str]:
        """Return its lines; none if the file is not there."""
        ...


class SourceTexts:
    """Source texts in memory, and those of the CSL library."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Keep texts by the paths that locations name."""
        self._texts = texts

    def __call__(self, path: str) -> Sequence[str]:
        """Return the lines of a text; none if it is not there."""
        if path in self._texts:
            return self._texts[path].splitlines()
        return _library_lines(path)


class SourceFiles:
    """Source files, found by the paths that locations name."""

    def __init__(self, folder: Path) -> None:
        """Look beside the folder of the compiled program too, if not in the current folder."""
        self._folder = folder.absolute()
        self._compiled_at = inf  # nothing is newer than a program in memory
        with suppress(OSError):
            self._compiled_at = (folder / "image.json").stat().st_mtime
        self.changed: list[str] = []
        """Files found that are newer than the compiled program."""

    def __call__(self, path: str) -> Sequence[str]:
        """Return the lines of a file; none if it is not there."""
        if path.startswith("<"):
            return _library_lines(path)
        for base in (Path(), self._folder.parent):
            file = base / path
            try:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                changed_at = file.stat().st_mtime
            except OSError:
                continue
            if changed_at > self._compiled_at:
                self.changed.append(path)
            return lines
        return ()


def _library_lines(path: str) -> Sequence[str]:
    """Return the lines of a module of the CSL library, written `<name>`."""
    entry = resources.files(_LIBRARY) / f"{path.strip('<>')}.csl"
    return entry.read_text(encoding="utf-8").splitlines() if entry.is_file() else ()


def read_sources(image: WaferImage, find: FindSource) -> dict[str, str]:
    """Return the texts of all files that instructions of an image come from, by path."""
    paths = {
        place.path for program in image.programs for place in program.locations if place is not None
    }
    found = {path: "\n".join(find(path)) for path in sorted(paths)}
    return {path: text for path, text in found.items() if text}
