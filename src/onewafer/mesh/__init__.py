"""Contract 4, the mesh program: a graph cut over a rectangle of PEs, and its three readers."""

from onewafer.mesh.blocks import (
    PLAIN_ORDER,
    Arena,
    Axis,
    Distribution,
    InTurns,
    Launch,
    Layout,
    Placement,
    Role,
)
from onewafer.mesh.bounds import ErrorBounds, error_bound
from onewafer.mesh.budget import (
    Footprint,
    check_words,
    footprint,
    kept_bytes,
    longest_context,
    smallest_rectangle,
    training_bytes,
    verify,
)
from onewafer.mesh.collectives import Redistribute
from onewafer.mesh.cost import Estimate, Estimator, estimate
from onewafer.mesh.dense import Matmul
from onewafer.mesh.emit_csl import SLOTS, EmittedPlacement, EmittedProgram, emit
from onewafer.mesh.finiteness import NonFinite, find_non_finite
from onewafer.mesh.layout import held_indices, numpy_dtype
from onewafer.mesh.limits import Waits, split_waits
from onewafer.mesh.lowering.optimizer import (
    CLEAR,
    CLEAR_CARRIED,
    CLIP_BOUND,
    CLIP_FACTOR,
    SQUARES_OF_GRADIENTS,
    STEP_NUMBERS,
    UPDATE,
    moment_of,
    names_of_update,
)
from onewafer.mesh.lowering.training import (
    BACKWARD,
    CLAMP,
    CLIPPING,
    FORWARD,
    LOSS,
    NORM,
    SCALE,
    Update,
)
from onewafer.mesh.orientation import choose_layouts
from onewafer.mesh.program import MeshProgram
from onewafer.mesh.purposes import (
    Purpose,
    Step,
    purposes_of_words,
    split_estimate,
    steps,
    steps_of_words,
)
from onewafer.mesh.reference import MeshEvaluator, evaluate
from onewafer.mesh.shard import (
    MAX_POSITIONS,
    Cutter,
    check_rectangle,
    largest_rectangle,
    shard,
    shard_training,
)

__all__ = [
    "BACKWARD",
    "CLAMP",
    "CLEAR",
    "CLEAR_CARRIED",
    "CLIPPING",
    "CLIP_BOUND",
    "CLIP_FACTOR",
    "FORWARD",
    "LOSS",
    "MAX_POSITIONS",
    "NORM",
    "PLAIN_ORDER",
    "SCALE",
    "SLOTS",
    "SQUARES_OF_GRADIENTS",
    "STEP_NUMBERS",
    "UPDATE",
    "Arena",
    "Axis",
    "Cutter",
    "Distribution",
    "EmittedPlacement",
    "EmittedProgram",
    "ErrorBounds",
    "Estimate",
    "Estimator",
    "Footprint",
    "InTurns",
    "Launch",
    "Layout",
    "Matmul",
    "MeshEvaluator",
    "MeshProgram",
    "NonFinite",
    "Placement",
    "Purpose",
    "Redistribute",
    "Role",
    "Step",
    "Update",
    "Waits",
    "check_rectangle",
    "check_words",
    "choose_layouts",
    "emit",
    "error_bound",
    "estimate",
    "evaluate",
    "find_non_finite",
    "footprint",
    "held_indices",
    "kept_bytes",
    "largest_rectangle",
    "longest_context",
    "moment_of",
    "names_of_update",
    "numpy_dtype",
    "purposes_of_words",
    "shard",
    "shard_training",
    "smallest_rectangle",
    "split_estimate",
    "split_waits",
    "steps",
    "steps_of_words",
    "training_bytes",
    "verify",
]
