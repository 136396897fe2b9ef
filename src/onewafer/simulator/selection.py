"""Choose the engine: the requested one, or one that supports the requested observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.fast.kernels.loop import run_cycles
from onewafer.simulator.fast.machine_code.execution import Execution, execution, why_compiled
from onewafer.simulator.protocol.findings import NO_CHECKING
from onewafer.simulator.reference import ReferenceEngine
from onewafer.trace import Detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.simulator.protocol.engine import EngineFactory
    from onewafer.simulator.protocol.findings import Checking

ENGINES: dict[str, EngineFactory] = {"fast": FastEngine, "reference": ReferenceEngine}
"""Engines by the name that users give."""
DEFAULT_ENGINE = "fast"


@dataclass(frozen=True, slots=True)
class Selection:
    """The engine that runs an image."""

    name: str
    note: str | None = None
    """Why the requested engine is not used, in one line."""

    @property
    def factory(self) -> EngineFactory:
        """The constructor of the engine."""
        return ENGINES[self.name]


def select_engine(
    wanted: str,
    detail: Detail = Detail.EVENTS,
    checking: Checking = NO_CHECKING,
) -> Selection:
    """Return the requested engine, or the reference if the fast one lacks the observations.

    Raises:
        ConfigurationError: there is no engine of that name.
    """
    if wanted not in ENGINES:
        raise ConfigurationError(f"there is no engine '{wanted}'; there is: {', '.join(ENGINES)}")
    if wanted == "fast" and checking.follows_accesses:
        return Selection(
            "reference",
            "the reference engine alone looks at each access to memory: it runs the program, with "
            "the same results and cycles, but slowly",
        )
    if wanted == "fast" and detail is not Detail.EVENTS:
        return Selection(
            "reference",
            "a trace says why things wait, which the reference engine alone tells: it runs the "
            "program, with the same results and cycles, but slowly",
        )
    return Selection(wanted)


COMPILE_SECONDS = 120
"""Seconds to compile the fast engine's kernels on a present machine, in one thread."""


def announce_compilation(engine: str) -> str | None:
    """Return the notice to users if an engine will be compiled at its first run."""
    if engine != "fast" or execution() is not Execution.COMPILED:
        return None
    compiled: Sequence[object] = getattr(run_cycles, "signatures", ())
    if compiled:
        return None
    from onewafer.simulator.fast.machine_code.kept import (  # noqa: PLC0415  # Numba
        Keeping,
        keeping,
        why_not_kept,
    )

    what = f"compiling the fast engine's kernels, about {COMPILE_SECONDS} s: {why_compiled()}"
    match keeping(run_cycles):
        case Keeping.KEPT:
            return None
        case Keeping.NOT_YET:
            return f"{what}. Later runs find them on disk"
        case Keeping.IMPOSSIBLE:
            return (
                f"{what}. They are not kept for later runs: {why_not_kept()}; set "
                "ONEWAFER_CACHE_DIR to a folder that only you can write"
            )
