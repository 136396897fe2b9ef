"""The cost of a run of a CSL program, launch by launch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onewafer.terminal import Shown, make_frame
from onewafer.units import format_bytes, format_hertz, format_seconds, to_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onewafer.host import LaunchReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(Shown):
    """Cycles and bytes of a run: a table, JSON, or a pandas frame."""

    arch: str
    profile: str
    """Timing profile: `sdk` or `silicon`."""
    engine: str
    """Which engine simulated: `fast` or `reference`."""
    clock_hertz: float
    """The machine's, with which cycles become time."""
    width: int
    height: int
    cycles: int
    """Since the program was put on the wafer."""
    bytes_in: int
    """Copied to PE memory, or streamed in."""
    bytes_out: int
    """Copied from PE memory, or streamed out."""
    launches: tuple[LaunchReport, ...]

    def to_json(self) -> str:
        """Return it as JSON, every field under its name."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def to_pandas(self) -> Any:  # noqa: ANN401  # pandas is not a requirement
        """Return a `pandas.DataFrame` with a row a launch.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return make_frame(
            [
                {
                    "function": launch.name,
                    "start_cycle": launch.start_cycle,
                    "end_cycle": launch.end_cycle,
                    "cycles": launch.cycles,
                    "seconds": to_seconds(launch.cycles, clock_hertz=self.clock_hertz),
                }
                for launch in self.launches
            ]
        )

    def __rich__(self) -> RenderableType:
        """Return the table of launches, and what the run moved."""
        from rich.console import Group  # noqa: PLC0415  # when it is shown
        from rich.table import Table  # noqa: PLC0415  # likewise

        clock = format_hertz(self.clock_hertz)
        table = Table(
            title=f"{self.width}×{self.height} PEs of {self.arch}, {self.profile} timing, "
            f"{self.engine} engine",
            title_justify="left",
        )
        table.add_column("launch", style="cyan")
        table.add_column("from cycle", justify="right")
        table.add_column("cycles", justify="right")
        table.add_column(f"time at {clock}", justify="right")
        for launch in self.launches:
            seconds = to_seconds(launch.cycles, clock_hertz=self.clock_hertz)
            figures = (f"{launch.start_cycle:,}", f"{launch.cycles:,}", format_seconds(seconds))
            table.add_row(launch.name, *figures)
        moved = f"{format_bytes(self.bytes_in)} in, {format_bytes(self.bytes_out)} out"
        return Group(table, f"{self.cycles:,} cycles since it was loaded; {moved}")
