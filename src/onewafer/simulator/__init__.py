"""The simulated wafer: a machine, its engines, and what a run cost."""

from onewafer.simulator.engine import Engine, LoadedProgram, StopReason
from onewafer.simulator.machine import ENGINES, Machine
from onewafer.simulator.statistics import StallReason, Statistics

__all__ = [
    "ENGINES",
    "Engine",
    "LoadedProgram",
    "Machine",
    "StallReason",
    "Statistics",
    "StopReason",
]
