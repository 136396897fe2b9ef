"""The graphs of a model for one kind of launch: its rows, its cache, its number format.

In: a model whose graphs are those of one sequence. Out: a graph for each segment, of equal shapes
in all pieces, and joined graphs that one region computes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar, cast

from onewafer.graph import (
    FLOATING,
    Attention,
    DataType,
    Graph,
    LastRow,
    Tensor,
    layer_parts,
    with_positions,
    with_rows,
)
from onewafer.perf.jobs import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onewafer.graph import LayerPart, Operation
    from onewafer.perf.model import Model

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What every launch of a region brings, and what the region keeps from launch to launch."""

    rows: int
    """Tokens of a launch: of one sequence, or one each of several."""
    position: int = 0
    """Of the first of them."""
    capacity: int
    """Positions that the cache of a sequence has room for."""
    sequences: int = 1
    """Whose caches are kept."""
    are_sequences: bool = False
    """Whether each row is of a sequence of its own, and wants logits of its own."""


def is_causal(model: Model) -> bool:
    """Tell whether a model keeps keys and values, so that it can go on from where it was."""
    return any(
        isinstance(operation, Attention) and operation.is_causal
        for segment in model.segments
        for operation in segment.graph.operations
    )


def graphs_of(model: Model, load: Load, precision: Precision) -> tuple[Graph, ...]:
    """Return the graph of one piece of each segment for a load."""
    dtype = DataType.F32 if precision is Precision.FP32 else DataType.F16
    graphs = (_in_format(segment.graph, dtype) for segment in model.segments)
    if model.fixed_tokens is not None:
        return tuple(graphs)
    return tuple(_resize(graph, load) for graph in graphs)


def parts_of(graphs: Sequence[Graph]) -> tuple[tuple[LayerPart, ...], ...]:
    """Return the part of a layer that each operation of each graph belongs to.

    A head by itself looks like any other layer, so all graphs are looked at together.
    """
    parts = iter(layer_parts(join(graphs)))
    return tuple(tuple(next(parts) for _ in graph.operations) for graph in graphs)


def join(graphs: Sequence[Graph]) -> Graph:
    """Return one graph: what the first output of each is, the next one reads.

    Parameters of equal names are one; results get names of their own.
    """
    renamed = [graphs[0]]
    for index, graph in enumerate(graphs[1:], 1):
        names = {op.result.name: f"{index}:{op.result.name}" for op in graph.operations}
        names[graph.inputs[0].name] = renamed[-1].outputs[0]
        renamed.append(_rename(graph, names))
    parameters = {tensor.name: tensor for graph in renamed for tensor in graph.parameters}
    inputs = {tensor.name: tensor for tensor in renamed[0].inputs}
    return Graph(
        graphs[0].name,
        tuple(inputs.values()),
        tuple(parameters.values()),
        tuple(operation for graph in renamed for operation in graph.operations),
        renamed[-1].outputs,
    )


def again(graph: Graph, *, shared: Iterable[str]) -> Graph:
    """Return the graph of the next equal piece: parameters that are not shared are its own."""
    kept = frozenset(shared)
    own = {t.name: f"again:{t.name}" for t in graph.parameters if t.name not in kept}
    return _rename(graph, own)


def has_windows(model: Model, context: int) -> bool:
    """Tell whether some attention of a model looks less far back than a context goes."""
    return any(
        isinstance(operation, Attention)
        and operation.window is not None
        and operation.window < context
        for segment in model.segments
        for operation in segment.graph.operations
    )


def _resize(graph: Graph, load: Load) -> Graph:
    if load.are_sequences:
        graph = _without_last_row(graph)
    return with_rows(with_positions(_without_windows(graph), load.capacity), load.rows)


def _without_windows(graph: Graph) -> Graph:
    """Return the graph whose attention sees all positions: the mesh knows no windows."""
    operations = (
        replace(operation, window=None) if isinstance(operation, Attention) else operation
        for operation in graph.operations
    )
    return replace(graph, operations=tuple(operations))


def _without_last_row(graph: Graph) -> Graph:
    """Return the graph that goes on with all rows."""
    names = {op.result.name: op.input for op in graph.operations if isinstance(op, LastRow)}
    left = tuple(op for op in graph.operations if not isinstance(op, LastRow))
    return _rename(replace(graph, operations=left), names) if names else graph


def _in_format(graph: Graph, dtype: DataType) -> Graph:
    def convert(tensor: Tensor) -> Tensor:
        return replace(tensor, dtype=dtype) if tensor.dtype in FLOATING else tensor

    return Graph(
        graph.name,
        tuple(map(convert, graph.inputs)),
        tuple(map(convert, graph.parameters)),
        tuple(replace(op, result=convert(op.result)) for op in graph.operations),
        graph.outputs,
    )


def _rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    def tensor(old: Tensor) -> Tensor:
        return replace(old, name=names.get(old.name, old.name))

    return Graph(
        graph.name,
        tuple(map(tensor, graph.inputs)),
        tuple(map(tensor, graph.parameters)),
        tuple(_rename_operation(operation, names) for operation in graph.operations),
        tuple(names.get(name, name) for name in graph.outputs),
    )


def _rename_operation(operation: Operation, names: Mapping[str, str]) -> Operation:
    """Return an operation whose operands and result have other names."""

    def renamed(value: _Value) -> _Value:
        match value:
            case Tensor():
                return cast("_Value", replace(value, name=names.get(value.name, value.name)))
            case str() if value in names and type(value) is str:
                return cast("_Value", names[value])
            case tuple():
                return cast(
                    "_Value", tuple(renamed(item) for item in cast("tuple[object, ...]", value))
                )
            case _:
                return value

    return replace(
        operation, **{f.name: renamed(getattr(operation, f.name)) for f in fields(operation)}
    )
