"""Derive the gradients of a graph: one graph with its operations and those of its backward pass.

In: a well-formed graph, whose launch is a whole sequence. Out: one graph whose first operations are
the given ones, and whose other operations compute gradients; the backward pass reads results of the
forward pass. The gradient of an output (its seed) is an input. A tensor with several readers has
the sum of their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.errors import GraphError
from onewafer.graph.operations import Add, BackwardPass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


@dataclass(frozen=True, slots=True)
class Gradients:
    """A graph with its backward pass."""

    graph: Graph
    """The joined graph; its outputs are the given ones, then the gradients."""
    num_forward: int
    """The number of operations of the given graph, which come first."""
    seeds: Mapping[str, str]
    """Output → the input that is its gradient, of the same shape."""
    by_name: Mapping[str, str]
    """Parameter or input → its gradient, of the same shape; missing if no output depends on it."""
    originals: Mapping[str, str] = field(default_factory=dict[str, str])
    """Recomputed result → the name of that result in the forward pass."""


def derive_gradients(
    graph: Graph, wanted: Collection[str], *, outputs: Collection[str] | None = None
) -> Gradients:
    """Return a well-formed graph with the gradients of the `wanted` parameters and inputs.

    They are gradients of the sum of the `outputs` (by default all), each times its seed. Raises
    GraphError for a wrong name, or an operation without a rule for an operand.
    """
    outputs = graph.outputs if outputs is None else outputs
    _check_wanted(graph, wanted)
    needed = _dependent(graph, wanted)
    from_outputs = [name for name in dict.fromkeys(outputs) if name in needed]
    seeds = {name: fresh_name(graph, f"{name}.seed") for name in from_outputs}
    inputs = [replace(graph.tensor(name), name=seed) for name, seed in seeds.items()]
    backward = BackwardPass["Operation"]((*graph.tensors, *inputs), needed)
    for name, seed in seeds.items():
        backward.pass_on(name, seed)
    for operation in reversed(graph.operations):
        gradient = _take_sum(backward, operation.result.name)
        if gradient is not None:
            operation.add_gradients(gradient, backward)
    found = {name: _take_sum(backward, name) for name in dict.fromkeys(wanted)}
    gradients = {name: gradient for name, gradient in found.items() if gradient is not None}
    joined = replace(
        graph,
        inputs=(*graph.inputs, *inputs),
        operations=(*graph.operations, *backward.operations),
        outputs=(*dict.fromkeys((*graph.outputs, *gradients.values())),),
    )
    return Gradients(joined, len(graph.operations), seeds, gradients)


def _check_wanted(graph: Graph, wanted: Collection[str]) -> None:
    """Refuse names that are no parameters or inputs of a floating type."""
    given = {tensor.name: tensor for tensor in (*graph.inputs, *graph.parameters)}
    for name in wanted:
        if name not in given:
            raise GraphError(f"graph {graph.name!r} has no parameter and no input {name!r}")
        if not given[name].is_floating:
            raise GraphError(f"{name!r} has dtype {given[name].dtype}, indices have no gradient")


def _dependent(graph: Graph, wanted: Collection[str]) -> set[str]:
    """Return the wanted tensors, and all floating results that depend on them."""
    found = {*wanted}
    for operation in graph.operations:
        operands = (*operation.activation_operands, *operation.parameter_operands)
        if operation.result.is_floating and not found.isdisjoint(operands):
            found.add(operation.result.name)
    return found


def _take_sum(backward: BackwardPass[Operation], name: str) -> str | None:
    """Return the gradient of a tensor, the sum of its terms; None if there is none."""
    parts = backward.take(name)
    if not parts:
        return None
    total, *others = parts
    for part in others:
        total = backward.compute(f"{name}.gradient", backward.shape(name), Add, total, part)
    return total


def fresh_name(graph: Graph, name: str) -> str:
    """Return a name that no tensor of the graph has."""
    while name in graph.by_name:
        name += "'"
    return name
