"""The cost of a model on GPUs: kernels of an inference engine, links, plans, serving.

In: a `Model`, a `Job`, a cluster of GPUs of `arch`. Out: an `Answer` or a `Refusal`. Measured
latencies of kernels come from the package aiconfigurator-core (extra `gpu`); without it, kernels
are as fast as a roofline lets them, which the answer says.

A job travels through the files in this order: `plan` (sizes of groups of GPUs) → `sharding` (a
layer as kernels of one GPU; of feature maps `feature_map_pieces`) → `memory` (what fits) → `steps`
(kernels of one launch) → `clock` (`factors`, `roofline`, `collectives`: seconds of a kernel) →
`serving` (requests share steps, by the constants of an `engine`) → `outcome` → `estimate`.
`validation` compares with measured runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from onewafer.perf.gpu.aiconfigurator import is_installed as has_measured_kernels
from onewafer.perf.gpu.estimate import estimate, profiled_clock
from onewafer.perf.gpu.kernels import AttentionShape, NumberFormat
from onewafer.perf.gpu.latency_table import Points
from onewafer.perf.gpu.measurements import AttentionPoints
from onewafer.perf.gpu.options import GpuOptions
from onewafer.perf.gpu.plan import Plan
from onewafer.perf.gpu.profile import Profile, profile_to_json, read_profile

if TYPE_CHECKING:
    from onewafer.perf.gpu.figures import validate_samples
    from onewafer.perf.gpu.training import TrainingOptions, estimate_training
    from onewafer.perf.gpu.training_plan import PinnedPlan, nearest_batches
    from onewafer.perf.gpu.training_validation import validate_training
    from onewafer.perf.gpu.validation import validate

__all__ = [
    "AttentionPoints",
    "AttentionShape",
    "GpuOptions",
    "NumberFormat",
    "PinnedPlan",
    "Plan",
    "Points",
    "Profile",
    "TrainingOptions",
    "estimate",
    "estimate_training",
    "has_measured_kernels",
    "nearest_batches",
    "profile_to_json",
    "profiled_clock",
    "read_profile",
    "validate",
    "validate_samples",
    "validate_training",
]

_LATER = {
    "PinnedPlan": "onewafer.perf.gpu.training_plan",
    "TrainingOptions": "onewafer.perf.gpu.training",
    "estimate_training": "onewafer.perf.gpu.training",
    "nearest_batches": "onewafer.perf.gpu.training_plan",
    "validate": "onewafer.perf.gpu.validation",
    "validate_samples": "onewafer.perf.gpu.figures",
    "validate_training": "onewafer.perf.gpu.training_validation",
}
"""Modules that are loaded when their names are used: most jobs are inference."""


def __getattr__(name: str) -> object:
    """Load a name of training or validation on first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
