"""The operations of a mesh program, a file a family: `operation` says what each answers."""

from onewafer.mesh.operations.collectives import Broadcast, ChainReduce
from onewafer.mesh.operations.dense import Matmul, Turn
from onewafer.mesh.operations.elementwise import (
    Activation,
    Add,
    AddBias,
    Convert,
    Multiply,
    Relu,
    Scale,
)
from onewafer.mesh.operations.norms import Normalize, SumGroups, SumSquares
from onewafer.mesh.operations.operation import Conflicts, MeshOperation

__all__ = [
    "Activation",
    "Add",
    "AddBias",
    "Broadcast",
    "ChainReduce",
    "Conflicts",
    "Convert",
    "Matmul",
    "MeshOperation",
    "Multiply",
    "Normalize",
    "Relu",
    "Scale",
    "SumGroups",
    "SumSquares",
    "Turn",
]
