"""Cut a graph into a mesh program: `graph` → `mesh`.

Three decisions are made here and nowhere else: along which axis each tensor lies (`orientation`),
where each block sits in PE memory (first fit over the lifetimes of activations, in the banks that
`banks` chooses; element-wise operations work in place where their operand dies), and the order of
the operations (the graph's, with a `Turn` before an `Add` whose operands lie along different axes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import (
    Add,
    AddBias,
    DataType,
    Linear,
    Relu,
    activation_operands,
    verify_graph,
)
from onewafer.mesh import program as mesh
from onewafer.mesh.banks import choose_phases, find_owners, period
from onewafer.mesh.orientation import choose_axes
from onewafer.mesh.program import Arena, Axis, Block, Distribution, MeshProgram, Placement, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture
    from onewafer.graph import Graph, Operation, Tensor

_BLOCKED = {Axis.X: Distribution.BLOCKED_X, Axis.Y: Distribution.BLOCKED_Y}


def shard(graph: Graph, *, width: int, height: int, architecture: Architecture) -> MeshProgram:
    """Return the mesh program of a graph on a rectangle of PEs.

    Raises GraphError for a graph that is not well formed, UnsupportedOperationError for one with an
    operation that the mesh has no form of, ConfigurationError for a rectangle that the wafer has no
    room for. Whether the program fits into the memory of a PE is for `verify` to say.
    """
    verify_graph(graph)
    _check_operations(graph)
    _check_rectangle(width, height, architecture)
    return _Sharder(graph, width, height).run()


def _check_operations(graph: Graph) -> None:
    for operation in graph.operations:
        if not isinstance(operation, Linear | AddBias | Relu | Add):
            raise _unsupported(operation)


def _unsupported(operation: Operation) -> UnsupportedOperationError:
    return UnsupportedOperationError(
        f"{type(operation).__name__} that defines {operation.result.name!r}: "
        "the mesh program has no form of it"
    )


def largest_rectangle(architecture: Architecture) -> tuple[int, int]:
    """Return the (width, height) of the PEs that memcpy leaves to a program."""
    width = architecture.fabric_width - architecture.margin_west - architecture.margin_east
    height = architecture.fabric_height - architecture.margin_north - architecture.margin_south
    return width, height


def _check_rectangle(width: int, height: int, architecture: Architecture) -> None:
    widest, highest = largest_rectangle(architecture)
    if not (1 <= width <= widest and 1 <= height <= highest):
        raise ConfigurationError(
            f"a rectangle of {width}×{height} PEs is not available on {architecture.title}: "
            f"width must be 1–{widest}, height 1–{highest}"
        )


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


@dataclass(slots=True)
class _FirstFit:
    """Offsets in an arena: the lowest gap that is large enough."""

    period: int = 1
    """Elements after which banks repeat."""
    live: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Name → first and end offset."""
    num_elements: int = 0

    def allocate(self, name: str, size: int, phase: int) -> int:
        """Return an offset that is `phase` modulo the period."""
        offset = phase
        for start, end in sorted(self.live.values()):
            if offset + size <= start:
                break
            offset = max(offset, end + (phase - end) % self.period)
        self.live[name] = (offset, offset + size)
        self.num_elements = max(self.num_elements, offset + size)
        return offset


@dataclass(slots=True)
class _Sharder:
    """The state of one `shard` call."""

    graph: Graph
    width: int
    height: int
    axes: Mapping[str, Axis] = field(init=False)
    last_use: dict[str, int] = field(init=False)
    """Index of the last operation that reads a tensor; outputs are used for ever."""
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])
    phases: Mapping[str, int] = field(init=False)
    """Offsets of the blocks of activations modulo the period of the banks."""
    activations: _FirstFit = field(default_factory=_FirstFit)
    parameters: dict[tuple[str, Axis], Placement] = field(
        default_factory=dict[tuple[str, Axis], Placement]
    )
    parameter_elements: int = 0
    accumulator_elements: int = 0
    operations: list[mesh.MeshOperation] = field(default_factory=list[mesh.MeshOperation])

    def run(self) -> MeshProgram:
        """Lower every operation of the graph."""
        self.axes = choose_axes(self.graph)
        self.last_use = _last_uses(self.graph)
        self._choose_banks()
        inputs = [self._place_input(tensor) for tensor in self.graph.inputs]
        for index, operation in enumerate(self.graph.operations):
            self._lower(operation, index)
            self._release(index)
        outputs = [
            self._placement(self.graph.tensor(name), Role.OUTPUT) for name in self.graph.outputs
        ]
        return MeshProgram(
            graph=self.graph,
            width=self.width,
            height=self.height,
            dtype=self.dtype,
            placements=(*inputs, *self.parameters.values(), *outputs),
            operations=tuple(self.operations),
            arena_elements={
                Arena.PARAMETERS: self.parameter_elements,
                Arena.ACTIVATIONS: self.activations.num_elements,
                Arena.ACCUMULATOR: self.accumulator_elements,
            },
        )

    @property
    def dtype(self) -> DataType:
        """The one dtype of the graph."""
        return self.graph.dtype

    def _size(self, axis: Axis) -> int:
        return self.width if axis is Axis.X else self.height

    def _cut(self, features: int, axis: Axis) -> int:
        return _ceil_div(features, self._size(axis))

    # --- placing -----------------------------------------------------------------------------

    def _choose_banks(self) -> None:
        additions = [operation for operation in self.graph.operations if isinstance(operation, Add)]
        turned = {add.result.name for add in additions if self._needs_turn(add)}
        owners = find_owners(self.graph, self.last_use, turned)
        self.phases = choose_phases(self.graph, owners, turned)
        self.activations.period = period(self.dtype)

    def _place_input(self, tensor: Tensor) -> Placement:
        self._allocate(tensor)
        return self._placement(tensor, Role.INPUT)

    def _placement(self, tensor: Tensor, role: Role) -> Placement:
        return Placement(
            name=tensor.name,
            role=role,
            shape=tensor.shape,
            dtype=tensor.dtype,
            rows=Distribution.LOCAL,
            columns=_BLOCKED[self.axes[tensor.name]],
            block=self.blocks[tensor.name],
        )

    def _allocate(self, tensor: Tensor) -> Block:
        rows = tensor.num_elements // tensor.shape[-1]
        columns = self._cut(tensor.shape[-1], self.axes[tensor.name])
        phase = self.phases[tensor.name]
        offset = self.activations.allocate(tensor.name, rows * columns, phase)
        self.blocks[tensor.name] = Block(Arena.ACTIVATIONS, offset, rows, columns)
        return self.blocks[tensor.name]

    def _allocate_elementwise(self, operation: AddBias | Relu | Add, index: int) -> Block:
        """Give the result the block of an operand that nobody reads any more, else a new one."""
        for name in activation_operands(operation):
            if self.last_use[name] == index:
                self.activations.live[operation.result.name] = self.activations.live.pop(name)
                self.blocks[operation.result.name] = self.blocks[name]
                return self.blocks[name]
        return self._allocate(operation.result)

    def _release(self, index: int) -> None:
        dead = [name for name in self.activations.live if self.last_use[name] <= index]
        for name in dead:
            del self.activations.live[name]

    def _place_parameter(self, name: str, axis: Axis) -> Block:
        """Place a bias blocked over `axis`, or a weight with its in features over `axis`."""
        if (name, axis) in self.parameters:
            return self.parameters[name, axis].block
        tensor = self.graph.tensor(name)
        is_weight = len(tensor.shape) > 1
        features_axis = axis.other if is_weight else axis
        block = Block(
            Arena.PARAMETERS,
            self.parameter_elements,
            rows=self._cut(tensor.shape[1], axis) if is_weight else 1,
            columns=self._cut(tensor.shape[0], features_axis),
        )
        end = block.offset + block.num_elements
        self.parameter_elements = _ceil_div(end, period(self.dtype)) * period(self.dtype)
        self.parameters[name, axis] = Placement(
            name=name,
            role=Role.PARAMETER,
            shape=tensor.shape,
            dtype=tensor.dtype,
            rows=_BLOCKED[axis] if is_weight else Distribution.LOCAL,
            columns=_BLOCKED[features_axis],
            block=block,
            is_transposed=is_weight,
        )
        return block

    # --- lowering ----------------------------------------------------------------------------

    def _lower(self, operation: Operation, index: int) -> None:
        match operation:
            case Linear():
                self._lower_linear(operation)
            case AddBias():
                bias = self._place_parameter(operation.bias, self.axes[operation.result.name])
                source = self.blocks[operation.input]
                result = self._allocate_elementwise(operation, index)
                self.operations.append(mesh.AddBias(result, source, bias))
            case Relu():
                source = self.blocks[operation.input]
                result = self._allocate_elementwise(operation, index)
                self.operations.append(mesh.Relu(result, source))
            case Add() if self._needs_turn(operation):
                self._lower_turned_add(operation)
            case Add():
                left, right = self.blocks[operation.left], self.blocks[operation.right]
                result = self._allocate_elementwise(operation, index)
                self.operations.append(mesh.Add(result, left, right))
            case _:
                raise _unsupported(operation)

    def _lower_linear(self, operation: Linear) -> None:
        axis = self.axes[operation.input]
        source = self.blocks[operation.input]
        weight = self._place_parameter(operation.weight, axis)
        result = self._allocate(operation.result)
        sums = self._sums(result)
        self.operations.append(
            mesh.Matmul(sums, source, weight, axis.other, operation.result.shape[-1])
        )
        self._all_reduce(sums, axis, result)

    def _needs_turn(self, operation: Add) -> bool:
        """Whether the operands lie differently; on a single PE, both axes are the same."""
        alike = self.axes[operation.left] is self.axes[operation.right]
        return not alike and (self.width, self.height) != (1, 1)

    def _lower_turned_add(self, operation: Add) -> None:
        """Turn the right operand into the block of the result, and add the left one to it there."""
        axis = self.axes[operation.result.name]
        left, right = self.blocks[operation.left], self.blocks[operation.right]
        result = self._allocate(operation.result)
        sums = self._sums(result)
        self.operations.append(mesh.Turn(sums, right, axis))
        self._all_reduce(sums, axis.other, result)
        self.operations.append(mesh.Add(result, left, result))

    def _sums(self, result: Block) -> Block:
        """Return the f32 block in which the sums of a result form."""
        if self.dtype is DataType.F32:
            return result
        sums = Block(Arena.ACCUMULATOR, 0, result.rows, result.columns)
        self.accumulator_elements = max(self.accumulator_elements, sums.num_elements)
        return sums

    def _all_reduce(self, sums: Block, axis: Axis, result: Block) -> None:
        """Add the partial sums of all PEs along an axis; store them as the result."""
        if self._size(axis) > 1:
            self.operations += [mesh.ChainReduce(sums, axis), mesh.Broadcast(sums, axis)]
        if sums is not result:
            self.operations.append(mesh.Convert(result, sums))


def _last_uses(graph: Graph) -> dict[str, int]:
    """Return for each input and result the index of the last operation that reads it."""
    uses = {tensor.name: -1 for tensor in graph.inputs}
    for index, operation in enumerate(graph.operations):
        uses[operation.result.name] = index  # a result that nobody reads dies at once
        uses |= dict.fromkeys(activation_operands(operation), index)
    return uses | dict.fromkeys(graph.outputs, len(graph.operations))
