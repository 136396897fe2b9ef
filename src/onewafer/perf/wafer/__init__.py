"""Inference and training on wafers: the closed form of the mesh program, laid over them."""

from onewafer.perf.wafer.estimate import estimate
from onewafer.perf.wafer.options import Mode, WaferOptions
from onewafer.perf.wafer.system import Machine, Wafers, machine, parse_system, system_names
from onewafer.perf.wafer.training import estimate_training
from onewafer.perf.wafer.training_validation import validate_training
from onewafer.perf.wafer.validation import validate

__all__ = [
    "Machine",
    "Mode",
    "WaferOptions",
    "Wafers",
    "estimate",
    "estimate_training",
    "machine",
    "parse_system",
    "system_names",
    "validate",
    "validate_training",
]
