"""The cost of a model on a machine: equations from a graph to seconds, joules and bytes.

In: a `Model`, a `Job`, a machine of `arch`. Out: an `Answer` whose `Breakdown` adds up to its time.
Unknown here: torch, values, the simulator; whoever wants cycles of a mesh program asks `mesh`.
"""

from onewafer.graph import Segment
from onewafer.perf.answer import Answer, Choice, Comparison, Memory, Refusal
from onewafer.perf.breakdown import Breakdown, Item, Limit, total
from onewafer.perf.compare import CompareOptions, compare, device_of
from onewafer.perf.groups import parse_groups
from onewafer.perf.jobs import (
    MOST_AT_A_TIME,
    Decode,
    Forward,
    Goal,
    Job,
    Pass,
    Precision,
    Prefill,
    Serve,
    Train,
)
from onewafer.perf.known_models import KnownModel, find_model, known_models
from onewafer.perf.model import Model
from onewafer.perf.model_files import keep_model, kept_model, model_from_json, model_to_json
from onewafer.perf.published import PublishedFigure, Role, published_figures
from onewafer.perf.validation_rows import ErrorStatistics, FigureResult, PerfValidation

__all__ = [
    "MOST_AT_A_TIME",
    "Answer",
    "Breakdown",
    "Choice",
    "CompareOptions",
    "Comparison",
    "Decode",
    "ErrorStatistics",
    "FigureResult",
    "Forward",
    "Goal",
    "Item",
    "Job",
    "KnownModel",
    "Limit",
    "Memory",
    "Model",
    "Pass",
    "PerfValidation",
    "Precision",
    "Prefill",
    "PublishedFigure",
    "Refusal",
    "Role",
    "Segment",
    "Serve",
    "Train",
    "compare",
    "device_of",
    "find_model",
    "keep_model",
    "kept_model",
    "known_models",
    "model_from_json",
    "model_to_json",
    "parse_groups",
    "published_figures",
    "total",
]
