"""The simulated wafer: a machine, its engines, and what a run cost.

`keep_on_disk`, which loads Numba, is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from onewafer.simulator.arithmetic import float_to_half, half_to_float, largest_half
from onewafer.simulator.machine import Machine
from onewafer.simulator.protocol.engine import Engine, LoadedProgram, StopReason
from onewafer.simulator.protocol.finding_texts import (
    CONTROL_AS_DATA,
    MERGED_ACTIVATIONS,
    describe_busy,
    describe_controls,
    describe_merged,
)
from onewafer.simulator.protocol.findings import NO_CHECKING, Checking
from onewafer.simulator.protocol.leftovers import Leftover
from onewafer.simulator.protocol.messages import BUSY_ADVICE, place
from onewafer.simulator.selection import DEFAULT_ENGINE, ENGINES, announce_compilation
from onewafer.simulator.state.loading import host_streams
from onewafer.simulator.state.memory_budget import NotEnoughMemoryError
from onewafer.simulator.state.statistics import Activity, StallReason, Statistics, Total

if TYPE_CHECKING:
    from onewafer.simulator.fast.machine_code.kept import keep_on_disk

__all__ = [
    "BUSY_ADVICE",
    "CONTROL_AS_DATA",
    "DEFAULT_ENGINE",
    "ENGINES",
    "MERGED_ACTIVATIONS",
    "NO_CHECKING",
    "Activity",
    "Checking",
    "Engine",
    "Leftover",
    "LoadedProgram",
    "Machine",
    "NotEnoughMemoryError",
    "StallReason",
    "Statistics",
    "StopReason",
    "Total",
    "announce_compilation",
    "describe_busy",
    "describe_controls",
    "describe_merged",
    "float_to_half",
    "half_to_float",
    "host_streams",
    "keep_on_disk",
    "largest_half",
    "place",
]


def __getattr__(name: str) -> object:
    if name != "keep_on_disk":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from onewafer.simulator.fast.machine_code.kept import keep_on_disk  # noqa: PLC0415  # Numba

    return keep_on_disk
