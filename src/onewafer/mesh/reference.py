"""Read a mesh program with NumPy: PE memories as arrays, operation after operation.

Every element is computed from the same operands in the same order and with the same roundings as on
the fabric, so that both agree in every bit (NaNs: in being NaN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onewafer.errors import HostError
from onewafer.mesh.layout import pack, unpack
from onewafer.mesh.memories import Memories
from onewafer.mesh.program import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.program import MeshProgram

    Arrays = Mapping[str, NDArray[Any]]


def evaluate(program: MeshProgram, inputs: Arrays, parameters: Arrays) -> dict[str, NDArray[Any]]:
    """Return the outputs by name, in the program's dtype, for logical inputs and parameters.

    Raises HostError for a missing array or a wrong shape.
    """
    memories = Memories(program)
    for placement in program.placements:
        if placement.role is Role.OUTPUT:
            continue
        source = inputs if placement.role is Role.INPUT else parameters
        if placement.name not in source:
            raise HostError(f"the {placement.role} {placement.name!r} is missing")
        blocks = pack(placement, source[placement.name], program.width, program.height)
        memories.write(placement.block, blocks)
    for operation in program.operations:
        operation.execute(memories)
    return {
        placement.name: unpack(
            placement, memories.read(placement.block), program.width, program.height
        )
        for placement in program.with_role(Role.OUTPUT)
    }
