"""Contract 3: what a model computes, without torch and without a wafer.

In: nothing. Out: frozen values that `pytorch` writes and `mesh` and `perf` read. Unknown here:
where a tensor lives, in which order its elements are added.

    graph      := name input* parameter* operation* output*
    input      := Tensor                             written before every run
    parameter  := Tensor                             written once, the name is the parameter's id
    operation  := Kind(result, name*, number*)       Kind is a class of `operations`: what it means
                                                     and reads is said there
    output     := name of an input or a result
    Tensor     := name shape dtype                   dtype := f16 | f32 | i32 (indices only)

Operations stand in the order of execution and name their operands; every name is defined once and
before its use. Weights, biases and tables are parameters, the other operands inputs or results. One
floating dtype holds for the whole graph; the last dimension is the features, all before it are
rows. A launch gives `num_rows` valid rows, the first of them at position `start` of the sequence;
or, where operations work on feature maps, all rows of some samples, feature map after map. A graph
that is captured for counts only may have operations that have a cost and no values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """The script's words for a tensor of a graph."""

    name: str = ""
    """The path of a parameter in its module, as `layers.0.weight`; empty: it is none."""
    source: str = ""
    """`file:line` of the call that computes it; empty: it is not known."""


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
    """Tensors by name → what the script calls them, as far as it is known."""
    by_name: Mapping[str, Tensor] = field(init=False, repr=False, compare=False)
    """All tensors by their names; of several with one name, which is a mistake, the first."""

    def __post_init__(self) -> None:
        """Find the tensors' names."""
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
        """True if the rows of a launch are tokens of one sequence, else they are independent."""
        return any(operation.is_sequential for operation in self.operations)

    @property
    def joins_rows(self) -> bool:
        """True if all rows of a launch count in a result: rows of padding would, too."""
        return any(operation.joins_rows for operation in self.operations)

    @property
    def has_feature_maps(self) -> bool:
        """True if the rows of a launch are whole feature maps, which are never cut."""
        return any(isinstance(operation, OnSamples) for operation in self.operations)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of that name; raise GraphError if there is none."""
        if name not in self.by_name:
            raise GraphError(f"graph {self.name!r} has no tensor {name!r}")
        return self.by_name[name]
