"""Which engine runs an image: the one that was asked for, or the one that can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.fast.compilation import kernel_folder
from onewafer.simulator.fast.loop import run_cycles
from onewafer.simulator.loading import fast_engine_lacks
from onewafer.simulator.reference import ReferenceEngine

if TYPE_CHECKING:
    from onewafer.image import WaferImage
    from onewafer.simulator.engine import EngineFactory

ENGINES: dict[str, EngineFactory] = {"fast": FastEngine, "reference": ReferenceEngine}
"""Engines by the name that users give."""
DEFAULT_ENGINE = "fast"
_NUM_SHOWN = 2


@dataclass(frozen=True, slots=True)
class Selection:
    """The engine that runs an image."""

    name: str
    note: str | None = None
    """Why it is not the one that was asked for, in one line."""

    @property
    def factory(self) -> EngineFactory:
        """What makes the engine."""
        return ENGINES[self.name]


def select_engine(wanted: str, image: WaferImage) -> Selection:
    """Return the engine that is wanted, or the reference if the fast one lacks a feature.

    Raises:
        ConfigurationError: there is no engine of that name.
    """
    if wanted not in ENGINES:
        raise ConfigurationError(f"there is no engine '{wanted}'; there is: {', '.join(ENGINES)}")
    lacks = fast_engine_lacks(image) if wanted == "fast" else []
    if not lacks:
        return Selection(wanted)
    shown = "; ".join(lacks[:_NUM_SHOWN])
    more = f"; and {len(lacks) - _NUM_SHOWN} more" if len(lacks) > _NUM_SHOWN else ""
    return Selection(
        "reference",
        f"the fast engine cannot run this program ({shown}{more}): the reference engine runs it, "
        "with the same results, but slowly",
    )


COMPILE_SECONDS = 60
"""What the kernels of the fast engine take on a machine of today, in one thread."""


def needs_compilation(engine: str) -> int | None:
    """Return about how many seconds an engine compiles at its first run; None: it need not."""
    if engine != "fast" or not hasattr(run_cycles, "signatures"):  # Numba is switched off
        return None
    is_loaded = bool(run_cycles.signatures)
    is_kept = any(kernel_folder().glob(f"**/*{run_cycles.__name__}*.nbc"))
    return None if is_loaded or is_kept else COMPILE_SECONDS
