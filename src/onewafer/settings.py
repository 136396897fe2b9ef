"""Every environment variable that onewafer reads, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _default_cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "onewafer"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once at the entry points and passed down."""

    csl_import_path: tuple[Path, ...] = ()
    """`CSL_IMPORT_PATH`: folders searched by `@import_module`, after the importing file's."""
    cache_folder: Path = field(default_factory=_default_cache_folder)
    """`ONEWAFER_CACHE_DIR`: where machine code of the simulator is kept between runs."""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the environment of this process."""
        value = os.environ.get("CSL_IMPORT_PATH", "")
        cache = os.environ.get("ONEWAFER_CACHE_DIR", "")
        return cls(
            csl_import_path=tuple(Path(p) for p in value.split(os.pathsep) if p),
            cache_folder=Path(cache) if cache else _default_cache_folder(),
        )
