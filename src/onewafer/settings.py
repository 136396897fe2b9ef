"""Every environment variable that onewafer reads, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once at the entry points and passed down."""

    csl_import_path: tuple[Path, ...] = ()
    """`CSL_IMPORT_PATH`: folders searched by `@import_module`, after the importing file's."""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the environment of this process."""
        value = os.environ.get("CSL_IMPORT_PATH", "")
        return cls(csl_import_path=tuple(Path(p) for p in value.split(os.pathsep) if p))
