"""Contract 3: what a model computes, without torch and without a wafer.

In: nothing. Out: frozen values that `pytorch` writes and `mesh` and `perf` read. Unknown here:
where a tensor lives, in which order its elements are added.

    graph      := name input* parameter* operation* output*
    input      := Tensor                             written before every run
    parameter  := Tensor                             written once, the name is the parameter's id
    operation  := Linear(result, input, weight)      result[…, o] = Σᵢ input[…, i] · weight[o, i]
                | AddBias(result, input, bias)       result[…, f] = input[…, f] + bias[f]
                | Relu(result, input)                result = max(input, 0)
                | Add(result, left, right)           result = left + right, equal shapes
    output     := name of an input or a result
    Tensor     := name shape dtype                   dtype := f16 | f32

Operations stand in the order of execution and name their operands; every name is defined once and
before its use. `weight` and `bias` name parameters, the other operands inputs or results. One dtype
holds for the whole graph, the last dimension is the features, all before it are batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from onewafer.errors import GraphError


class DataType(StrEnum):
    """Storage type of a tensor's elements."""

    F16 = "f16"
    F32 = "f32"

    @property
    def num_bytes(self) -> int:
        """Bytes of one element."""
        match self:
            case DataType.F16:
                return 2
            case DataType.F32:
                return 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value with a name, a logical shape and a storage type."""

    name: str
    shape: tuple[int, ...]
    dtype: DataType

    @property
    def num_elements(self) -> int:
        """Product of the dimensions."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of all elements, unpadded."""
        return self.num_elements * self.dtype.num_bytes


@dataclass(frozen=True, slots=True)
class Linear:
    """Multiply by a transposed weight: `result = input @ weight.T`."""

    result: Tensor
    input: str
    weight: str
    """A parameter of shape (out features, in features)."""


@dataclass(frozen=True, slots=True)
class AddBias:
    """Add a vector of features to every row."""

    result: Tensor
    input: str
    bias: str
    """A parameter of shape (features,)."""


@dataclass(frozen=True, slots=True)
class Relu:
    """Replace negative elements by +0; whether −0 stays or becomes +0 is open."""

    result: Tensor
    input: str


@dataclass(frozen=True, slots=True)
class Add:
    """Add two tensors of one shape (a residual connection)."""

    result: Tensor
    left: str
    right: str


Operation = Linear | AddBias | Relu | Add


def activation_operands(operation: Operation) -> tuple[str, ...]:
    """Return the names of the inputs or results that an operation reads."""
    match operation:
        case Linear() | AddBias() | Relu():
            return (operation.input,)
        case Add():
            return (operation.left, operation.right)
        case _:
            assert_never(operation)


def parameter_operands(operation: Operation) -> tuple[str, ...]:
    """Return the names of the parameters that an operation reads."""
    match operation:
        case Linear():
            return (operation.weight,)
        case AddBias():
            return (operation.bias,)
        case Relu() | Add():
            return ()
        case _:
            assert_never(operation)


@dataclass(frozen=True, slots=True)
class Graph:
    """One model with static shapes."""

    name: str
    inputs: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs, parameters and results, in this order."""
        results = tuple(operation.result for operation in self.operations)
        return self.inputs + self.parameters + results

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of that name; raise GraphError if there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise GraphError(f"graph {self.name!r} has no tensor {name!r}")


def count_flop(graph: Graph, operation: Operation) -> int:
    """Return the floating point operations of one operation; a multiply-add counts as two."""
    match operation:
        case Linear():
            return 2 * operation.result.num_elements * graph.tensor(operation.input).shape[-1]
        case AddBias() | Relu() | Add():
            return operation.result.num_elements
        case _:
            assert_never(operation)


def count_bytes(graph: Graph, operation: Operation) -> int:
    """Return the bytes of the operands and of the result, each counted once."""
    operands = {*activation_operands(operation), *parameter_operands(operation)}
    return operation.result.num_bytes + sum(graph.tensor(name).num_bytes for name in operands)
