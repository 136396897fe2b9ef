"""Gather of features by indices, and concatenation of features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.blocks import PLAIN_ORDER, Arena, Axis, Block
from onewafer.mesh.cost_case import NUM_PES, CostCase, Sizes, grid
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.operation import DataDependence, MeshOperation
from onewafer.mesh.selection import arrays
from onewafer.mesh.selection.operations import OF_SELECTION, SELECTION, Rows
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Launch, Layout
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape
    from onewafer.mesh.relations import Relations


@dataclass(frozen=True, slots=True)
class Gather(MeshOperation):
    """Gather features of each row by indices, −0 for those on other PEs; exact.

    Like a linear layer, it leaves on each PE a partial sum of a result that is blocked over the
    other axis.
    """

    kinds = (
        Kind(
            65,
            "gather",
            """
            const whole = @ptrcast([*]element, &model.activations[left]);
            const indices = @ptrcast([*]i32, &model.indices[right]);
            selection.features(totals(result), whole, indices, rows, inner, columns, count,
                               place(1 - axis), present, first);
            """,
            (SELECTION,),
            beginning=OF_SELECTION,
        ),
    )

    depends_on = DataDependence.SELECTION

    result: Block
    """f32."""
    input: Block
    indices: Block
    """i32, a row of indices for each row of the input."""
    axis: Axis
    """The axis over which the input is blocked."""
    features: int
    """Features of the input over all PEs, without padding."""

    @property
    def rows(self) -> Rows:
        """The layout of the input, as selection steps describe it."""
        return Rows(self.input, self.input, self.indices, self.axis, self.features)

    def entry(self, program: ProgramShape) -> Entry:
        blocks, more = (self.result, self.input, self.indices), self.rows.words(program)
        return block_entry(program, self.kind, *blocks, inner=self.input.columns, more=more)

    def execute(self, memories: Memories) -> None:
        rows, share, count = self.rows, self.result.columns, self.indices.columns
        first, present = rows.first(memories), rows.present(memories)
        num_rows = present.shape[-1]
        indices = memories.view(self.indices, num_rows, count)
        columns = memories.at(self.axis.other)[..., np.newaxis] * share + np.arange(share)
        columns = np.broadcast_to(columns[:, :, np.newaxis], (*present.shape, share))
        wanted = np.take_along_axis(indices, np.minimum(columns, count - 1), axis=-1)
        wanted = np.where(columns < count, wanted, -1)
        taken = arrays.features(memories.matrix(self.input), wanted, present, first)
        memories.write(self.result, taken)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, with indices spread evenly over the PEs."""
        sizes = block_sizes(program, self.result, launch)
        wanted = sizes["rows"] * min(self.result.columns, self.indices.columns)
        held = -(-wanted // program.size(self.axis))
        return {**sizes, "wanted": wanted, "held": held}


@dataclass(frozen=True, slots=True)
class PlaceFeatures(MeshOperation):
    """Copy an operand's features into a longer row, where a PE has both source and place; exact.

    The first operand of several sets all other places to −0. As with `Redistribute`, an all-reduce
    along the operands' axis completes the rows.
    """

    kinds = (
        Kind(
            71,
            "place_features",
            """
            concatenate.run(sums(result, n), activation(left, inner), rows, columns, inner,
                            place(words[8]), place(1 - words[8]), words[9], words[10], words[11]);
            entry += 4;
            """,
            (Module("concatenate", ELEMENT),),
        ),
    )

    result: Block
    """f32."""
    input: Block
    axis: Axis
    """The axis over which the result is blocked; the input is blocked over the other one."""
    first: int
    """The index in the result of the operand's first feature."""
    features: int
    """Features of the input over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        more = (self.axis.number, self.first, self.features, int(self.first == 0))
        blocks = self.result, self.input
        return block_entry(program, self.kind, *blocks, inner=self.input.columns, more=more)

    def execute(self, memories: Memories) -> None:
        source = memories.matrix(self.input).astype(np.float32)
        before = memories.matrix(self.result) if self.first else np.float32(-0.0)
        to, along = (memories.at(axis)[..., np.newaxis] for axis in (self.axis, self.axis.other))
        columns, inner = self.result.columns, self.input.columns
        feature = to * columns + np.arange(columns) - self.first
        index = (feature - along * inner)[:, :, np.newaxis]
        is_held = (index >= 0) & (index < inner) & (feature < self.features)[:, :, np.newaxis]
        held = np.take_along_axis(source, np.where(is_held, index, 0), axis=-1)
        memories.write(self.result, np.where(is_held, held, before))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, with the `shared` features of the first PE."""
        shared = min(self.result.columns, self.input.columns, self.features)
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, "shared": shared, "clears": int(self.first == 0)}


class ConcatenateLowering(Lowering[graph.Concatenate]):
    """Copy local features of each operand; all-reduce along their axis."""

    def relate(self, operation: graph.Concatenate, relations: Relations) -> None:
        """Lay the operands along one axis if possible, and the result along the other."""
        first, *others = operation.inputs
        relations.put_across(first, operation.result.name)
        for other in others:
            relations.join_if_possible(first, other)

    def lower(self, operation: graph.Concatenate, builder: Builder) -> None:
        axis = builder.layouts[operation.result.name].axis
        for name in operation.inputs:
            if builder.layouts[name].order != PLAIN_ORDER:
                raise UnsupportedOperationError(
                    "concatenating features in the order that operations on attention heads ask "
                    "for is not supported"
                )
        blocks = [builder.lay(name, axis.other) for name in operation.inputs]
        result = builder.allocate(operation.result)
        sums, first = builder.sums_of(result), 0
        for name, block in zip(operation.inputs, blocks, strict=True):
            features = builder.tensor(name).shape[-1]
            builder.append(PlaceFeatures(sums, block, axis, first, features))
            first += features
        builder.all_reduce_into(result, sums, axis.other)


class GatherLowering(Lowering[graph.Gather]):
    """Take local elements; all-reduce along the input's axis."""

    def relate(self, operation: graph.Gather, relations: Relations) -> None:
        relations.put_across(operation.input, operation.result.name)

    def lower(self, operation: graph.Gather, builder: Builder) -> None:
        layout = builder.layouts[operation.input]
        check_order(layout)
        source, indices = (builder.blocks[name] for name in operation.activation_operands)
        features = builder.tensor(operation.input).shape[-1]
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        builder.append(Gather(sums, source, indices, layout.axis, features))
        builder.all_reduce(sums, layout.axis)
        builder.store(sums, result)


def check_order(layout: Layout) -> None:
    """Refuse features that attention heads have reordered."""
    if layout.order != PLAIN_ORDER:
        raise UnsupportedOperationError(
            "a search among features in the order that operations on attention heads ask for is "
            "not supported"
        )


LOWERINGS: Lowerings = {
    graph.Concatenate: ConcatenateLowering(),
    graph.Gather: GatherLowering(),
}


def _gather(sizes: Sizes) -> MeshOperation:
    """Return a gather whose indices are all for one PE."""
    indices = Block(Arena.INDICES, 0, sizes.rows, sizes.heads)
    result = replace(sizes.block(), columns=sizes.heads)
    return Gather(result, sizes.block(), indices, Axis.X, NUM_PES * sizes.columns)


def _some_held(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return indices of which one in `NUM_PES` is in the PE's block."""
    wanted = sizes.rows * sizes.heads
    held = -(-wanted // NUM_PES)
    return {"model.indices": (0, 0) * held + (1000, 0) * (wanted - held)}


def _place_features(sizes: Sizes) -> MeshOperation:
    """Return the copy of the last of `heads` operands; the first operand clears the rows."""
    source = replace(sizes.block(), columns=sizes.inner)
    first = sizes.heads - 1
    return PlaceFeatures(sizes.block(), source, Axis.X, first, NUM_PES * sizes.inner)


COST_CASES = (
    CostCase(
        _place_features,
        rounds=("clears", "rows"),
        lengths=("elements", "shared"),
        grid=grid(rows=(2, 3, 5), inner=(1, 4, 7), heads=(1, 2)),
    ),
    CostCase(
        _gather,
        rounds=("rows", "wanted", "held"),
        lengths=("elements",),
        grid=grid(rows=(2, 3, 5), heads=(2, 3, 7)),
        memory=_some_held,
    ),
)
