"""The cost of a model on a machine: equations from a graph to seconds, joules and bytes.

In: a `Model`, a `Job`, a machine of `arch`. Out: an `Answer` whose `Breakdown` adds up to its time.
Unknown here: torch, values, the simulator; whoever wants cycles of a mesh program asks `mesh`.
"""

from onewafer.perf.answer import Answer, Comparison, Refusal
from onewafer.perf.compare import CompareOptions, compare, device_of, serve_on
from onewafer.perf.gpu import has_measured_kernels
from onewafer.perf.groups import parse_groups
from onewafer.perf.jobs import (
    MOST_AT_A_TIME,
    Decode,
    Forward,
    Goal,
    Job,
    Precision,
    Prefill,
    Serve,
    Train,
)
from onewafer.perf.known_errors import (
    KnownError,
    known_error,
    known_error_of_closed_form,
    known_error_of_simulator,
)
from onewafer.perf.known_models import KnownModel, find_model, known_models
from onewafer.perf.launches import LaunchTime, Rows, ServedSystem
from onewafer.perf.model import Model
from onewafer.perf.model_files import keep_model, kept_model
from onewafer.perf.same_work import SameWork, repeat_on
from onewafer.perf.validation_rows import PerfValidation

__all__ = [
    "MOST_AT_A_TIME",
    "Answer",
    "CompareOptions",
    "Comparison",
    "Decode",
    "Forward",
    "Goal",
    "Job",
    "KnownError",
    "KnownModel",
    "LaunchTime",
    "Model",
    "PerfValidation",
    "Precision",
    "Prefill",
    "Refusal",
    "Rows",
    "SameWork",
    "Serve",
    "ServedSystem",
    "Train",
    "compare",
    "device_of",
    "find_model",
    "has_measured_kernels",
    "keep_model",
    "kept_model",
    "known_error",
    "known_error_of_closed_form",
    "known_error_of_simulator",
    "known_models",
    "parse_groups",
    "repeat_on",
    "serve_on",
]
