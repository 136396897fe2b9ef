"""Inference and training on wafers, by the closed form of the mesh program."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from onewafer.perf.wafer.estimate import estimate
from onewafer.perf.wafer.options import Mode, WaferOptions
from onewafer.perf.wafer.programs import Programs
from onewafer.perf.wafer.system import machine, parse_system

if TYPE_CHECKING:
    from onewafer.perf.wafer.training import estimate_training
    from onewafer.perf.wafer.training_validation import validate_training
    from onewafer.perf.wafer.validation import validate

__all__ = [
    "Mode",
    "Programs",
    "WaferOptions",
    "estimate",
    "estimate_training",
    "machine",
    "parse_system",
    "validate",
    "validate_training",
]

_LATER = {
    "estimate_training": "onewafer.perf.wafer.training",
    "validate": "onewafer.perf.wafer.validation",
    "validate_training": "onewafer.perf.wafer.training_validation",
}
"""Modules that are loaded when their names are used: most jobs are inference."""


def __getattr__(name: str) -> object:
    """Load a name of training or validation on first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
