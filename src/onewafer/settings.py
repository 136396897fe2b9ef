"""Every environment variable that onewafer reads, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from onewafer.errors import ConfigurationError


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
    max_cycles: int | None = None
    """`ONEWAFER_MAX_CYCLES`: how many cycles one launch may take; None is no limit."""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the environment of this process.

        Raises:
            ConfigurationError: a variable has no usable value.
        """
        value = os.environ.get("CSL_IMPORT_PATH", "")
        cache = os.environ.get("ONEWAFER_CACHE_DIR", "")
        return cls(
            csl_import_path=tuple(Path(p) for p in value.split(os.pathsep) if p),
            cache_folder=Path(cache) if cache else _default_cache_folder(),
            max_cycles=_positive("ONEWAFER_MAX_CYCLES"),
        )


def wants_short_tracebacks() -> bool:
    """Tell whether to hide our frames under a script's error; `cs_python` sets the variable.

    Not a field of `Settings`: it is read at an import, which must not fail for other variables.
    """
    return bool(os.environ.get("ONEWAFER_SHORT_TRACEBACKS"))


def _positive(name: str) -> int | None:
    text = os.environ.get(name, "")
    if not text:
        return None
    number = int(text) if text.isascii() and text.replace("_", "").isdigit() else 0
    if number < 1:
        raise ConfigurationError(f"{name}={text!r}: give a whole number of at least 1")
    return number
