"""What a session did: one record a compiled program, and the calls that ran on the host.

In: what `session` counts. Out: everything that a report is made from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.pytorch.executable import Activity

if TYPE_CHECKING:
    from onewafer.arch import Architecture
    from onewafer.mesh import MeshProgram
    from onewafer.pytorch.executable import PeMemory
    from onewafer.pytorch.options import WaferOptions


@dataclass(slots=True)
class ProgramRecord:
    """What one compiled program did so far; it outlives the program."""

    module: str
    options: WaferOptions
    architecture: Architecture
    reason: str
    """Why it was compiled."""
    is_first: bool
    """Whether it is the first one of its module."""
    program: MeshProgram
    engine: str | None
    """Which engine simulates; None where nothing is simulated."""
    num_tile_programs: int | None
    """None where nothing was compiled."""
    memory: PeMemory | None
    """Of the fullest PE; None where nothing was compiled."""
    calls: int = 0
    launches: int = 0
    samples: int = 0
    """Rows without padding."""
    activity: Activity = field(default_factory=Activity)
    bytes_in: int = 0
    """Written to the wafer, weights included."""
    bytes_out: int = 0
    parameters_sent: int = 0
    parameters_resent: int = 0
    """Tensors sent again because they had changed."""

    @property
    def bucket(self) -> int:
        """Rows of one launch."""
        return self.program.graph.inputs[0].shape[0]


@dataclass(slots=True)
class Ledger:
    """Everything a report is made from."""

    programs: list[ProgramRecord] = field(default_factory=list[ProgramRecord])
    gradient_calls: Counter[str] = field(default_factory=Counter[str])
    """Module class → calls that needed gradients."""
    fallbacks: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """(module class, reason) → calls that the wafer could not do."""

    @property
    def num_calls(self) -> int:
        """Calls that the session has seen, wherever they ran."""
        wafer = sum(record.calls for record in self.programs)
        return wafer + self.gradient_calls.total() + self.fallbacks.total()
