"""Contract 4, the mesh program: a graph cut over a rectangle of PEs, and its three readers."""

from onewafer.mesh.bounds import error_bound
from onewafer.mesh.budget import Footprint, footprint, num_tile_programs, smallest_rectangle, verify
from onewafer.mesh.cost import Estimate, OperationCost, estimate
from onewafer.mesh.emit_csl import EmittedPlacement, EmittedProgram, emit
from onewafer.mesh.layout import numpy_dtype
from onewafer.mesh.operations import (
    Activation,
    Add,
    AddBias,
    Broadcast,
    ChainReduce,
    Convert,
    Matmul,
    MeshOperation,
    Multiply,
    Normalize,
    Relu,
    Scale,
    SumGroups,
    SumSquares,
    Turn,
)
from onewafer.mesh.program import (
    Arena,
    Axis,
    Block,
    Distribution,
    FeatureOrder,
    Launch,
    Layout,
    MeshProgram,
    Placement,
    Role,
)
from onewafer.mesh.reference import MeshEvaluator, evaluate
from onewafer.mesh.shard import largest_rectangle, shard

__all__ = [
    "Activation",
    "Add",
    "AddBias",
    "Arena",
    "Axis",
    "Block",
    "Broadcast",
    "ChainReduce",
    "Convert",
    "Distribution",
    "EmittedPlacement",
    "EmittedProgram",
    "Estimate",
    "FeatureOrder",
    "Footprint",
    "Launch",
    "Layout",
    "Matmul",
    "MeshEvaluator",
    "MeshOperation",
    "MeshProgram",
    "Multiply",
    "Normalize",
    "OperationCost",
    "Placement",
    "Relu",
    "Role",
    "Scale",
    "SumGroups",
    "SumSquares",
    "Turn",
    "emit",
    "error_bound",
    "estimate",
    "evaluate",
    "footprint",
    "largest_rectangle",
    "num_tile_programs",
    "numpy_dtype",
    "shard",
    "smallest_rectangle",
    "verify",
]
