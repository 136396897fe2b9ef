"""The NumPy reader of a mesh program: PE memories are arrays, operations run in order.

Every element is computed from the same operands, in the same order and with the same roundings as
on the fabric, so that both agree in every bit (a NaN agrees with any NaN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onewafer.errors import HostError
from onewafer.mesh.blocks import Arena, Role
from onewafer.mesh.layout import pack, unpack
from onewafer.mesh.memories import Memories

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch, Placement
    from onewafer.mesh.program import MeshProgram

    Arrays = Mapping[str, NDArray[Any]]


class MeshEvaluator:
    """A mesh program with its parameters, and its state across launches."""

    def __init__(self, program: MeshProgram, parameters: Arrays) -> None:
        """Raise HostError for a missing array or a wrong shape.

        Gradients and moments may be given among the parameters; otherwise they start at 0.
        """
        self._program = program
        self._memories = Memories(program)
        placed = program.with_role(Role.PARAMETER)
        for placement in placed:
            self._write(placement, parameters)
        names = {placement.name for placement in placed}
        for placement in program.with_role(Role.OUTPUT):
            if placement.is_resident and placement.name in parameters.keys() - names:
                self._write(placement, parameters)

    def run(
        self,
        inputs: Arrays,
        launch: Launch | None = None,
        after_step: Callable[[int, Memories], None] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return the outputs of a launch by name, in the program's dtype.

        By default the launch has all rows from position 0 on. Rows of outputs beyond the launch are
        left unchanged. `after_step` is called after every operation with its index and the
        memories. Raises HostError for a missing array, a wrong shape, or a launch that the program
        has no room for.
        """
        program, memories = self._program, self._memories
        memories.launch = launch or program.whole_launch()
        program.check(memories.launch)
        entry = memories.launch.entry
        for placement in program.with_role(Role.INPUT, entry):
            self._write(placement, inputs)
        for step, operation in enumerate(program.operations[program.stretch(entry)]):
            operation.execute(memories)
            if after_step is not None:
                after_step(step, memories)
        return {
            placement.name: unpack(
                placement, memories.whole(placement.block), program.width, program.height
            )
            for placement in program.with_role(Role.OUTPUT, entry)
        }

    def read(self, block: Block) -> NDArray[Any]:
        """Return a block on all PEs, `[height, width, elements]`."""
        return self._memories.whole(block)

    def kept(self) -> NDArray[Any] | None:
        """Return a copy of the state arena, `[height, width, elements]`; None if there is none."""
        elements = self._program.arena_elements.get(Arena.STATE, 0)
        return self._memories.arena(Arena.STATE).copy() if elements else None

    def _write(self, placement: Placement, arrays: Arrays) -> None:
        program = self._program
        factors = placement.input_factors
        for name in (placement.name, factors):
            if name is not None and name not in arrays:
                raise HostError(f"the {placement.role} {name!r} is missing")
        blocks = pack(
            placement,
            arrays[placement.name],
            program.width,
            program.height,
            factors=arrays[factors] if factors else None,
        )
        self._memories.write(placement.block, blocks)


def evaluate(program: MeshProgram, inputs: Arrays, parameters: Arrays) -> dict[str, NDArray[Any]]:
    """Return the outputs of one launch of all rows, as `MeshEvaluator` does."""
    return MeshEvaluator(program, parameters).run(inputs)
