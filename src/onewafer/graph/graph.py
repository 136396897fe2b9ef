"""Contract 3: the computation of a model, without torch and without a wafer.

In: nothing. Out: frozen values that `pytorch` writes and `mesh` and `perf` read. Unknown here:
where a tensor lives, in which order its elements are added.

    graph      := name input* parameter* operation* output*
    input      := Tensor                             written before every run
    parameter  := Tensor                             written once, the name is the parameter's id
    operation  := Kind(result, name*, number*)       Kind is a class of `operations`, which defines
                                                     the meaning and the operands
    output     := name of an input or a result
    Tensor     := name shape dtype                   dtype := f16 | f32 | i32 (indices only)

Operations are in the order of execution and name their operands; every name is defined once and
before its use. Weights, biases and tables are parameters, the other operands inputs or results. The
whole graph has one floating dtype; the last dimension is the features, all before it are rows. A
launch has `num_rows` valid rows, the first of them at position `start` of the sequence; or, with
operations on feature maps, all rows of some samples, feature map after map. A graph that is
captured only for counts may have operations with a cost and no values.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.errors import GraphError
from onewafer.graph.operations import OnSamples
from onewafer.graph.tensor import FLOATING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph.operations import Operation
    from onewafer.graph.tensor import DataType, Tensor


@dataclass(frozen=True, slots=True)
class ScriptName:
    """The script's name for a tensor, and the line that computes it."""

    name: str = ""
    """The path of a parameter in its module, as `layers.0.weight`; empty for other tensors."""
    source: str = ""
    """`file:line` of the call that computes it; empty if unknown."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One model with static shapes."""

    name: str
    inputs: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    script_names: Mapping[str, ScriptName] = field(
        default_factory=dict[str, ScriptName], repr=False, compare=False
    )
    """The script's names of tensors, as far as they are known."""
    elements_per_sample: float = field(default=0.0, repr=False, compare=False)
    """Element-wise results of the script's forward pass for a sample or token."""
    by_name: Mapping[str, Tensor] = field(init=False, repr=False, compare=False)
    """All tensors by name; of tensors with equal names, which are a mistake, the first."""

    def __post_init__(self) -> None:
        """Collect the tensors by name."""
        by_name = {tensor.name: tensor for tensor in reversed(self.tensors)}
        object.__setattr__(self, "by_name", dict(reversed(by_name.items())))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs, parameters and results, in this order."""
        return (*self.inputs, *self.parameters, *(op.result for op in self.operations))

    @property
    def dtype(self) -> DataType:
        """The one floating type of the graph; raise GraphError if it has none."""
        for tensor in self.tensors:
            if tensor.dtype in FLOATING:
                return tensor.dtype
        raise GraphError(f"graph {self.name!r} has no tensor of a floating type")

    @property
    def is_sequence(self) -> bool:
        """True if the rows of a launch are tokens of a sequence; false if they are independent."""
        return any(operation.is_sequential for operation in self.operations)

    @property
    def joins_rows(self) -> bool:
        """True if a result depends on all rows of a launch; rows of padding would change it."""
        return any(operation.joins_rows for operation in self.operations)

    @property
    def has_feature_maps(self) -> bool:
        """True if the rows of a launch are the pixels of whole feature maps."""
        return any(isinstance(operation, OnSamples) for operation in self.operations)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor with this name; raise GraphError if there is none."""
        if name not in self.by_name:
            raise GraphError(f"graph {self.name!r} has no tensor {name!r}")
        return self.by_name[name]


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Return a graph with renamed tensors, old name → new name; other names stay."""

    def tensor(old: Tensor) -> Tensor:
        return replace(old, name=names.get(old.name, old.name))

    return Graph(
        graph.name,
        tuple(map(tensor, graph.inputs)),
        tuple(map(tensor, graph.parameters)),
        tuple(operation.renamed(names) for operation in graph.operations),
        tuple(names.get(name, name) for name in graph.outputs),
        {names.get(name, name): known for name, known in graph.script_names.items()},
        graph.elements_per_sample,
    )
