"""The builder of a mesh program: it places blocks and collects operations during lowering."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import InternalError, TooLargeError, UnsupportedOperationError
from onewafer.graph import NUM_SEEDS, DataType, num_samples
from onewafer.mesh.banks import period
from onewafer.mesh.blocks import (
    INFER,
    Arena,
    Axis,
    Block,
    Distribution,
    HeadSegments,
    Layout,
    Placement,
    Role,
)
from onewafer.mesh.collectives import (
    Broadcast,
    BroadcastStore,
    ChainMax,
    ChainReduce,
    Convert,
    Redistribute,
)
from onewafer.mesh.dropout.operations import SEEDS_ARENA, place_seeds
from onewafer.mesh.lowering.first_fit import FirstFit
from onewafer.mesh.lowering.middles import place_middles
from onewafer.mesh.lowering.parameters import Parameters
from onewafer.mesh.lowering.saved import SavedForBackward
from onewafer.mesh.lowering.training import GIVING_GRADIENTS
from onewafer.mesh.program import MeshProgram
from onewafer.mesh.sample_groups import BroadcastInGroups, MaxInGroups, ReduceInGroups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.graph import Graph, Operation, RmsNorm, Tensor
    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.lowering.training import Training
    from onewafer.mesh.lowering.uses import Uses
    from onewafer.mesh.operation import MeshOperation

LEAST_JOINING = 32
"""PEs along an axis from which several linear layers are reduced together where they have several
rows in f32. Their results are then copied once more, unlike one row, or f16, which is converted
anyway."""
SLOT_WORDS = 4
"""Words of `Arena.SLOTS` for each slot: sequence, first position, rows, first row in tables."""
_UNNAMED = "\0unnamed"
"""Prefix of the names of blocks that hold no tensor of the graph."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """A norm that is applied to the products of its input instead of the input."""

    norm: RmsNorm
    source: int
    """The index of the norm in the graph."""


class Builder:
    """The builder of one mesh program.

    With sample groups, the graph has the samples of one group, the rectangle is the group's, and
    the `whole` graph has the samples of all groups.
    """

    def __init__(
        self,
        uses: Uses,
        rectangle: tuple[int, int],
        layouts: Mapping[str, Layout],
        context: int | None,
        *,
        sequences: int = 1,
        usual_rows: int | None = None,
        least_joining: int = LEAST_JOINING,
        training: Training | None = None,
        whole: Graph | None = None,
    ) -> None:
        graph = uses.graph
        self._uses, self._training, self._graph, self._whole = uses, training, graph, whole
        self.losses: dict[tuple[str, str], Callable[[Block, Block], MeshOperation]] = {}
        """Functions that make the gradient step of a loss, by its logits and targets.

        Each takes the blocks of the result and of the loss gradient.
        """
        width, height = rectangle
        self.layouts = layouts
        """The layout of every input and result."""
        self.blocks: dict[str, Block] = {}
        """The block of every input and result."""
        self.angles: dict[tuple[str, Layout, int], Block] = {}
        """Rows of `Rotary` tables, looked up once a launch."""
        self.saved = SavedForBackward()
        """Results of a forward pass that are saved for its backward pass."""
        self.shapes: dict[object, AttentionShape] = {}
        """Shapes of attention for which each PE's heads and slots have been computed."""
        self.sequences = sequences
        """The number of sequences whose keys and values the program caches."""
        self.least_joining = least_joining
        """PEs along an axis from which several f32 rows of products are reduced together."""
        self.num_tables = 0
        """Words of `Arena.TABLES`, which holds each PE's heads and slots."""
        self.heads: HeadSegments | None = None
        """The segments of an axis in which scores are exchanged; None: along whole axes."""
        self.put_off: dict[str, PutOff] = {}
        """Norms that are applied to the products of their input, by the norm's result."""
        self.dtype = uses.dtype
        """The only floating type of the graph."""
        self._rows = graph.inputs[0].shape[0] if uses.is_sequence else None
        self._context, self._usual_rows = context, usual_rows
        self._sizes = {Axis.X: width, Axis.Y: height}
        self._tensors = uses.graph.by_name
        self._last_use = {**uses.last}
        self._redistributed = uses.redistributed(layouts, num_pes=width * height)
        self._phases = uses.phases(self._redistributed)
        self._activations = FirstFit(period(self.dtype))
        self.parameters = Parameters(
            self._tensors,
            self._sizes,
            dtype=self.dtype,
            context=context,
            trained={*training.parameters.values()} if training else (),
            packs=self.recomputes,
        )
        """The placements of the parameters."""
        self._accumulator_elements = self._state_elements = self._num_indices = 0
        self._kept_elements = self._scratch_elements = self._num_unnamed = 0
        self._ends: dict[str, int] = {}
        """Entry → number of operations up to its end, of a training program."""
        self._added, self._reserved = list[Placement](), dict[Arena, int]()
        """Inputs and outputs that are no tensors of the graph, and further arenas."""
        self._operations, self._sources = list["MeshOperation"](), list[int]()
        self._num_prepared = 0
        """Operations before those of the graph's first operation."""
        self._source = 0
        """The index of the graph operation that is being prepared or lowered."""
        self._num_lowered, self._in_use = 0, list[int]()
        self._inputs = [self._place_input(tensor) for tensor in graph.inputs]

    @property
    def sample_groups(self) -> int:
        """The number of groups of PE rows among which the samples are divided."""
        return num_samples(self._whole) // num_samples(self._graph) if self._whole else 1

    @property
    def is_sequence(self) -> bool:
        """True if the rows of a launch are tokens of one sequence."""
        return self._uses.is_sequence

    @property
    def context(self) -> int:
        """The largest number of positions of a sequence."""
        return self._context or self.sequence_rows

    @property
    def sequence_rows(self) -> int:
        """The rows of a sequence in a full launch."""
        if self._rows is None:
            raise InternalError("rows of this graph are not a sequence")
        return self._rows

    @property
    def trains_in_tiles(self) -> bool:
        """True if it trains on sequences that take several launches."""
        return self.trains and self._rows is not None and self.context > self._rows

    @property
    def rows_block(self) -> Block:
        """A block with the rows of a launch, of which only the row count is used."""
        return Block(Arena.ACTIVATIONS, 0, self.sequence_rows, 1)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the graph."""
        return self._tensors[name]

    def is_output(self, name: str) -> bool:
        """Tell whether the host reads a tensor."""
        return name in self._graph.outputs

    @property
    def next_operation(self) -> Operation | None:
        """The graph operation after the current one, if there is one."""
        return next(iter(self._graph.operations[self._num_lowered + 1 :]), None)

    def readers(self, name: str) -> tuple[Operation, ...]:
        """Return the operations that read an input or result, in the order of the graph."""
        return self._uses.readers.get(name, ())

    @property
    def num_pes(self) -> int:
        """The number of PEs of the rectangle."""
        return math.prod(self._sizes.values())

    def size(self, axis: Axis) -> int:
        """Return the number of PEs along an axis."""
        return self._sizes[axis]

    def begin(self, index: int) -> None:
        """Attribute the following steps to a graph operation, by its index."""
        self._source = index

    def end_preparation(self) -> None:
        """Mark the end of the steps that precede the graph's first operation."""
        self._num_prepared = len(self._operations)

    def end(self) -> None:
        """End the current graph operation: free blocks after their last use, and end its entry."""
        self._in_use.append(self._activations.in_use)
        live = self._activations.live
        for name in [name for name in live if self._last_use[name] <= self._num_lowered]:
            del live[name]
        self._num_lowered += 1
        self._scratch_elements = self._kept_elements
        for entry, end in self._training.entries.items() if self._training else ():
            if end == self._num_lowered:
                self.end_entry(entry)

    def end_entry(self, name: str) -> None:
        """End an entry: the following operations belong to the next one."""
        self._ends[name] = len(self._operations)

    def add(self, placement: Placement) -> None:
        """Add the placement of an input or output that is no tensor of the graph."""
        self._added.append(placement)

    def draw(self) -> None:
        """Add the seeds of random numbers, which the host writes before the first entry.

        Raise TooLargeError for sample groups, which would draw equal numbers; one group alone may
        fit.
        """
        if self.sample_groups > 1:
            raise TooLargeError("groups of samples would draw the same numbers")
        if SEEDS_ARENA not in self._reserved:
            self.add(place_seeds(next(iter(self._training.entries)) if self._training else None))
            self.reserve({SEEDS_ARENA: NUM_SEEDS})

    def reserve(self, elements: Mapping[Arena, int]) -> None:
        """Reserve arenas that hold no tensor of the graph, with at least so many elements."""
        for arena, size in elements.items():
            self._reserved[arena] = max(size, self._reserved.get(arena, 0))

    def build(self) -> MeshProgram:
        """Return the finished program, with the middles of its axes chosen."""
        outputs = [*map(self._output, self._graph.outputs)]
        placements = (*self._inputs, *self.parameters.placements, *outputs, *self._added)
        program = MeshProgram(
            graph=self._whole or self._graph,
            width=self._sizes[Axis.X],
            height=self._sizes[Axis.Y] * self.sample_groups,
            dtype=self.dtype,
            placements=(*map(self._over_groups, placements),),
            operations=tuple(self._operations),
            sources=tuple(self._sources),
            activations_in_use=tuple(self._in_use),
            arena_elements={
                Arena.PARAMETERS: self.parameters.num_elements,
                Arena.ACTIVATIONS: self._activations.num_elements,
                Arena.ACCUMULATOR: self._accumulator_elements,
                Arena.STATE: self._state_elements,
                Arena.INDICES: self._num_indices,
                Arena.TABLES: self.num_tables,
                **self._slots,
                Arena.GRADIENTS: self.parameters.num_elements if self._training else 0,
                **self._reserved,
            },
            entries=(*self._ends,) or (INFER,),
            ends=(*self._ends.values(),),
            sequence_rows=self._rows,
            context=self._context,
            sequences=self.sequences,
            num_prepared=self._num_prepared,
            training=self._training,
            heads=self._groups if self.sample_groups > 1 else self.heads,
            sample_groups=self.sample_groups,
        )
        return place_middles(program, self._usual_rows)

    @property
    def _groups(self) -> HeadSegments | None:
        """The segments of y, one for each sample group; None: a group is one row of PEs."""
        size = self._sizes[Axis.Y]
        return HeadSegments(Axis.Y, size, self.sample_groups) if size > 1 else None

    def _over_groups(self, placement: Placement) -> Placement:
        """Return the placement over all sample groups, given that within one group."""
        tensor = self._whole.by_name.get(placement.name) if self._whole else None
        own = self._tensors.get(placement.name)
        is_cut = tensor is not None and own is not None and tensor.shape != own.shape
        shape = tensor.shape if tensor is not None and is_cut else placement.shape
        return replace(placement, shape=shape, sample_groups=self.sample_groups, is_cut=is_cut)

    @property
    def _slots(self) -> dict[Arena, int]:
        """The arena of a launch's slots, if a launch may have several."""
        return {Arena.SLOTS: SLOT_WORDS * self.sequences} if self.sequences > 1 else {}

    def _output(self, name: str) -> Placement:
        parameter = self._training.outputs.get(name) if self._training else None
        if parameter is not None:
            return self._gradient_placement(name, parameter)
        return self._placement(self._tensors[name], Role.OUTPUT)

    # --- activations -------------------------------------------------------------------------

    def allocate(self, tensor: Tensor) -> Block:
        """Allocate a block for a result."""
        rows = tensor.num_elements // tensor.shape[-1]
        columns = self.layouts[tensor.name].columns
        phase = self._phases[tensor.name]
        offset = self._activations.allocate(tensor.name, rows * columns, phase)
        self.blocks[tensor.name] = Block(Arena.ACTIVATIONS, offset, rows, columns)
        return self.blocks[tensor.name]

    def allocate_beside(self, tensors: Sequence[Tensor]) -> Block:
        """Allocate adjacent blocks for results of one row; return the block of all of them."""
        columns = [self.layouts[tensor.name].columns for tensor in tensors]
        first = tensors[0].name
        offset = self._activations.allocate(first, sum(columns), self._phases[first])
        whole = Block(Arena.ACTIVATIONS, offset, 1, sum(columns))
        for tensor, width in zip(tensors, columns, strict=True):
            self._activations.live[tensor.name] = (offset, offset + width)
            self.blocks[tensor.name] = Block(Arena.ACTIVATIONS, offset, 1, width)
            offset += width
        return whole

    def allocate_in_place(self, operation: Operation) -> Block:
        """Give the result the block of an operand that is not read again, else a new block.

        If an operand is redistributed, the block is always new.
        """
        result = operation.result.name
        operands = () if result in self._redistributed else operation.activation_operands
        for name in operands:
            if self._last_use[name] == self._num_lowered:
                self._activations.live[result] = self._activations.live.pop(name)
                self.blocks[result] = self.blocks[name]
                return self.blocks[name]
        return self.allocate(operation.result)

    def put_off_norm(self, norm: RmsNorm) -> None:
        """Alias the norm's result to its input; its readers normalize their own results."""
        source, result = norm.input, norm.result.name
        if self._last_use[source] == self._num_lowered:
            self._activations.live[result] = self._activations.live.pop(source)
        self.blocks[result] = self.blocks[source]
        self.put_off[result] = PutOff(norm, self._num_lowered)

    def sums_of(self, result: Block) -> Block:
        """Return the f32 block for the sums of a result: the result itself, or scratch in f16."""
        return result if self.dtype is DataType.F32 else self.scratch(result.rows, result.columns)

    def scratch(self, rows: int, columns: int) -> Block:
        """Return an f32 block that lives until the current graph operation is lowered."""
        if self.dtype is DataType.F32:
            return self.spare(rows, columns)
        block = Block(Arena.ACCUMULATOR, self._scratch_elements, rows, columns)
        self._scratch_elements += block.num_elements
        self._accumulator_elements = max(self._accumulator_elements, self._scratch_elements)
        return block

    def keep(self, rows: int, columns: int) -> Block:
        """Return an f32 block for the whole launch; call it before any operation is lowered."""
        if self.dtype is DataType.F32:
            return self._allocate_unnamed(rows, columns, last_use=len(self._graph.operations))
        block = self.scratch(rows, columns)
        self._kept_elements = self._scratch_elements
        return block

    def place_cache(self, elements: int, *, is_kept: bool) -> Block:
        """Return a block for keys and values, kept across launches or only for this operation.

        A kept cache has a block for each sequence; the first one is returned.
        """
        if not is_kept:
            return self.spare(1, elements)
        return replace(self.place_state(self.sequences, elements), rows=1)

    def place_state(self, rows: int, columns: int) -> Block:
        """Return a block whose values stay from launch to launch."""
        block = Block(Arena.STATE, self._state_elements, rows, columns)
        self._state_elements += block.num_elements
        return block

    def spare(self, rows: int, columns: int, *, until: int | None = None) -> Block:
        """Return a block of the program's dtype that lives for the current graph operation.

        With `until`, it lives until the graph operation with that index has been lowered.
        """
        last = self._num_lowered if until is None else until
        return self._allocate_unnamed(rows, columns, last_use=last)

    def last_reader(self, name: str) -> int:
        """Return the index of the last graph operation that reads an input or result."""
        return self._last_use[name]

    def place_behind(self, columns: int) -> Block:
        """Return one row behind all activations, which no graph operation overwrites."""
        offset = self._activations.append(columns)
        return Block(Arena.ACTIVATIONS, offset, 1, columns)

    def place_indices(self, tensor: Tensor) -> Block:
        """Give indices a permanent block on every PE."""
        columns = tensor.shape[-1]
        rows = tensor.num_elements // columns
        block = Block(Arena.INDICES, self._num_indices, rows, columns)
        self._num_indices += block.num_elements
        self.blocks[tensor.name] = block
        return block

    def _allocate_unnamed(self, rows: int, columns: int, *, last_use: int) -> Block:
        self._num_unnamed += 1
        name = f"{_UNNAMED}{self._num_unnamed}"
        self._last_use[name] = last_use
        offset = self._activations.allocate(name, rows * columns, phase=0)
        return Block(Arena.ACTIVATIONS, offset, rows, columns)

    def allocate_pair(
        self, operation: Operation, left: str, right: str
    ) -> tuple[Block, Block, Block]:
        """Return the blocks of a result and of its two operands, which have one layout.

        A right operand with another layout is first redistributed into the block of the result.
        """
        if operation.result.name not in self._redistributed:
            operands = self.blocks[left], self.blocks[right]
            return self.allocate_in_place(operation), *operands
        result = self.allocate(operation.result)
        sums = self.sums_of(result)
        layouts = self.layouts[left], self.layouts[right]
        axis = layouts[0].axis
        if layouts[1].axis is axis or layouts[0].order != layouts[1].order:
            raise UnsupportedOperationError(
                "the features of its operands are distributed in different orders, as operations "
                "on attention heads ask for"
            )
        self.append(Redistribute(sums, self.blocks[right], axis))
        self.all_reduce_into(result, sums, axis.other)
        return result, self.blocks[left], result

    def lay(self, name: str, axis: Axis) -> Block:
        """Return a tensor's block along an axis: its own block, or a redistributed copy.

        The copy lives until the current graph operation is lowered.
        """
        block = self.blocks[name]
        if self.layouts[name].axis is axis or self.num_pes == 1:
            return block
        moved = self.spare(block.rows, self.layout_along(name, axis).columns)
        self.move(block, moved, axis)
        return moved

    def move(self, block: Block, moved: Block, axis: Axis) -> None:
        """Redistribute a block along the other axis into `moved`, along `axis`."""
        sums = self.sums_of(moved)
        self.append(Redistribute(sums, block, axis))
        self.all_reduce(sums, axis.other)
        self.store(sums, moved)

    def layout_along(self, name: str, axis: Axis) -> Layout:
        """Return the layout of a tensor along an axis: its own, or that of the copy `lay` makes."""
        layout, features = self.layouts[name], self.tensor(name).shape[-1]
        if layout.axis is axis:
            return layout
        return Layout.cut(features, axis, self.size(axis), order=layout.order)

    def _place_input(self, tensor: Tensor) -> Placement:
        if tensor.dtype is DataType.I32:
            self.place_indices(tensor)
        else:
            self.allocate(tensor)
        return self._placement(tensor, Role.INPUT)

    def _placement(self, tensor: Tensor, role: Role) -> Placement:
        layout = self.layouts[tensor.name]
        is_everywhere = tensor.dtype is DataType.I32 or tensor.name in self._uses.scalars
        return Placement(
            name=tensor.name,
            role=role,
            shape=tensor.shape,
            dtype=tensor.dtype,
            rows=Distribution.LOCAL,
            columns=Distribution.LOCAL if is_everywhere else Distribution.over(layout.axis),
            block=self.blocks[tensor.name],
            column_order=layout.order,
            entries=self._entries_of(tensor.name),
        )

    def _entries_of(self, name: str) -> tuple[str, ...]:
        """Return the entry that first reads an input, or that computes a result."""
        if self._training is None:
            return ()
        operations = enumerate(self._graph.operations)
        first = next(
            index
            for index, operation in operations
            if name == operation.result.name or name in operation.activation_operands
        )
        return (self._training.entry_of(first),)

    # --- gradients of parameters -------------------------------------------------------------

    @property
    def trains(self) -> bool:
        """True if the program trains."""
        return self._training is not None

    @property
    def recomputes(self) -> bool:
        """True if the backward pass recomputes results of the forward pass."""
        return self._training is not None and len(self._training.originals) > 0

    def original(self, name: str) -> str:
        """Return the name in the forward pass of a recomputed result; other names stay."""
        return self._training.originals.get(name, name) if self._training else name

    def is_parameter_gradient(self, result: str) -> bool:
        """Tell whether a result is the gradient of a parameter, or a term of it."""
        return self._training is not None and result in self._training.parameters

    def gradient(
        self, result: str, *, rows: Layout | None = None, columns: Layout | None = None
    ) -> Block:
        """Return the block of a parameter's gradient, of which `result` is the whole or a term.

        Its rows or columns must have the layout of the given activations. Raise
        UnsupportedOperationError if they differ, or if the parameter has no placement or several.
        """
        name = self.parameter_of(result)
        placement = self.parameters.placement(name)
        sides = (
            (placement.rows, placement.row_order, rows),
            (placement.columns, placement.column_order, columns),
        )
        for distribution, order, layout in sides:
            if layout and (distribution, order) != (Distribution.over(layout.axis), layout.order):
                raise UnsupportedOperationError(
                    f"{name!r} is distributed otherwise than what its gradient comes from"
                )
        return replace(placement.block, arena=Arena.GRADIENTS)

    def parameter_of(self, result: str) -> str:
        """Return the parameter whose gradient a result is, or is a term of.

        Raise UnsupportedOperationError if there is none.
        """
        name = self._training.parameters.get(result) if self._training else None
        if name is None:
            raise UnsupportedOperationError(
                "a sum over all rows is supported only as a gradient of a parameter"
            )
        return name

    def _gradient_placement(self, result: str, parameter: str) -> Placement:
        """Return the placement of a parameter's gradient as an output."""
        placement = self.parameters.placement(parameter)
        block = replace(placement.block, arena=Arena.GRADIENTS)
        entries = tuple(entry for entry in GIVING_GRADIENTS if entry in self._ends)
        return replace(placement, name=result, role=Role.OUTPUT, block=block, entries=entries)

    # --- operations --------------------------------------------------------------------------

    def append(self, operation: MeshOperation, *, source: int | None = None) -> None:
        """Append a step of the current graph operation, or of `source` if given."""
        self._operations.append(operation)
        self._sources.append(self._source if source is None else source)

    def all_reduce(self, sums: Block, axis: Axis) -> None:
        """Sum a block over all PEs along an axis."""
        if self.size(axis) > 1:
            self._append_chain(ChainReduce(sums, axis), ReduceInGroups(sums))

    def all_reduce_into(self, result: Block, sums: Block, axis: Axis) -> None:
        """Sum a block over all PEs along an axis, and store the sums as a result."""
        if self.dtype is DataType.F16 and self.size(axis) > 1:
            self.append(ChainReduce(sums, axis))
            self.append(BroadcastStore(result, sums, axis))
            return
        self.all_reduce(sums, axis)
        self.store(sums, result)

    def all_reduce_max(self, values: Block, axis: Axis) -> None:
        """Take the maximum of a block over all PEs along an axis."""
        if self.size(axis) > 1:
            self._append_chain(ChainMax(values, axis), MaxInGroups(values))

    def _append_chain(
        self, chain: ChainReduce | ChainMax, in_groups: ReduceInGroups | MaxInGroups
    ) -> None:
        """Append a chain along an axis, or in each sample group, and the broadcast after it."""
        if self.sample_groups > 1 and chain.axis is Axis.Y:
            self.append(in_groups)
            self.append(BroadcastInGroups(in_groups.values))
        else:
            self.append(chain)
            self.append(Broadcast(chain.values, chain.axis))

    def store(self, sums: Block, result: Block) -> None:
        """Convert sums to the result's dtype, unless they are the result's own block."""
        if sums is not result:
            self.append(Convert(result, sums))
