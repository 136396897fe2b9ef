"""The operations of a mesh program, a file a family: `operation` says what each answers."""

from onewafer.mesh.operations.collectives import Broadcast, ChainReduce
from onewafer.mesh.operations.dense import Matmul, Turn
from onewafer.mesh.operations.elementwise import Add, AddBias, Convert, Relu
from onewafer.mesh.operations.operation import Conflicts, MeshOperation

__all__ = [
    "Add",
    "AddBias",
    "Broadcast",
    "ChainReduce",
    "Conflicts",
    "Convert",
    "Matmul",
    "MeshOperation",
    "Relu",
    "Turn",
]
