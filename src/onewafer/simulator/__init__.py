"""The simulated wafer: a machine, its engines, and what a run cost."""

from onewafer.simulator.arithmetic import float_to_half, half_to_float, largest_half
from onewafer.simulator.engine import Engine, LoadedProgram, StopReason
from onewafer.simulator.findings import NO_CHECKING, BusyIssue, Checking
from onewafer.simulator.leftovers import Leftover
from onewafer.simulator.loading import host_streams
from onewafer.simulator.machine import Machine
from onewafer.simulator.memory_budget import NotEnoughMemoryError
from onewafer.simulator.messages import BUSY_ADVICE, place
from onewafer.simulator.selection import DEFAULT_ENGINE, ENGINES, announce_compilation
from onewafer.simulator.statistics import Activity, StallReason, Statistics

__all__ = [
    "BUSY_ADVICE",
    "DEFAULT_ENGINE",
    "ENGINES",
    "NO_CHECKING",
    "Activity",
    "BusyIssue",
    "Checking",
    "Engine",
    "Leftover",
    "LoadedProgram",
    "Machine",
    "NotEnoughMemoryError",
    "StallReason",
    "Statistics",
    "StopReason",
    "announce_compilation",
    "float_to_half",
    "half_to_float",
    "host_streams",
    "largest_half",
    "place",
]
