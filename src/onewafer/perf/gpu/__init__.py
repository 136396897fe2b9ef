"""What a model costs on GPUs: kernels of an inference engine, links, plans, serving.

In: a `Model`, a `Job`, a cluster of GPUs of `arch`. Out: an `Answer` or a `Refusal`. Measured
latencies of kernels come from the package aiconfigurator-core (extra `gpu`); without it, kernels
are as fast as a roofline lets them, which the answer says.
"""

from onewafer.perf.gpu.kernels import AttentionShape, NumberFormat
from onewafer.perf.gpu.latency_table import Points
from onewafer.perf.gpu.measurements import AttentionPoints
from onewafer.perf.gpu.profile import Profile, profile_to_json, read_profile
from onewafer.perf.gpu.training import TrainingOptions, estimate_training
from onewafer.perf.gpu.training_plan import PinnedPlan, Recompute
from onewafer.perf.gpu.training_validation import validate_training

__all__ = [
    "AttentionPoints",
    "AttentionShape",
    "NumberFormat",
    "PinnedPlan",
    "Points",
    "Profile",
    "Recompute",
    "TrainingOptions",
    "estimate_training",
    "profile_to_json",
    "read_profile",
    "validate_training",
]
