"""The record of a finished run for other programs: `simulation.json` in the program's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from onewafer.files.whole_files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.recording import LaunchReport


FILE_NAME = "simulation.json"


@dataclass(frozen=True, slots=True)
class SimulationRecord:
    """Cycles and bytes of one run."""

    arch: str
    profile: str
    """Timing profile: `sdk` or `silicon`."""
    engine: str
    """The engine that simulated: `fast` or `reference`."""
    cycles: int
    """From the start of the fabric to the stop."""
    bytes_in: int
    """Copied to PE memory."""
    bytes_out: int
    """Copied from PE memory."""
    launches: tuple[LaunchReport, ...]

    def save(self, folder: Path) -> None:
        """Write `simulation.json` into a folder; an earlier one is deleted in any case.

        Raises:
            OSError: the folder cannot be written.
        """
        path = folder / FILE_NAME
        path.unlink(missing_ok=True)
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")
