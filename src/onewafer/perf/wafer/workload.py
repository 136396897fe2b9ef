"""The graphs of a model for one kind of launch: its rows, its cache, its number format.

In: a model whose graphs are those of one sequence. Out: a graph for each segment, of equal shapes
in all pieces, and joined graphs that one region computes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.graph import (
    FLOATING,
    Attention,
    Convolution,
    DataType,
    DepthwiseConvolution,
    GlobalAveragePool,
    Graph,
    Linear,
    MaxPool,
    layer_parts,
    rename,
    split,
    with_positions,
    with_rows,
)
from onewafer.perf.jobs import Precision
from onewafer.perf.training_work import all_rows
from onewafer.perf.wafer.latent import USUAL_FORM
from onewafer.perf.wafer.stand_ins import with_stand_ins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.graph import LayerPart, Operation, Tensor
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.latent import LatentForm
    from onewafer.perf.wafer.stand_ins import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The input of every launch of a region, and its state from launch to launch."""

    rows: int
    """Tokens of a launch: of one sequence, or one each of several."""
    position: int = 0
    """Position of the first row."""
    capacity: int
    """Positions that fit the cache of a sequence."""
    sequences: int = 1
    """Number of sequences with caches."""
    are_sequences: bool = False
    """True if each row belongs to another sequence, and needs its own logits."""
    form: LatentForm = USUAL_FORM
    """Form of attention to latent vectors."""


def is_causal(model: Model) -> bool:
    """Tell whether a model caches keys and values, so that a sequence can continue."""
    return any(
        isinstance(operation, Attention) and operation.is_causal
        for segment in model.segments
        for operation in segment.graph.operations
    )


def pieces_of(model: Model, load: Load, precision: Precision) -> tuple[Piece, ...]:
    """Return one piece of each segment for a load.

    Raises UnsupportedOperationError for an operation without a replacement on the mesh.
    """
    dtype = DataType.F32 if precision is Precision.FP32 else DataType.F16
    pieces = [with_stand_ins(segment, load.form) for segment in model.segments]
    graphs = [_in_format(piece.graph, dtype) for piece in pieces]
    if model.fixed_tokens is None:
        graphs = [_resize(graph, load) for graph in graphs]
    return tuple(replace(p, graph=graph) for p, graph in zip(pieces, graphs, strict=True))


def in_small_pieces(model: Model) -> Model:
    """Return a model on feature maps, its unrepeated segments cut at every product and pool.

    Each piece then has its own region and grid of blocks.
    """
    segments = (
        split(segment, _is_work) if segment.repeats == 1 else (segment,)
        for segment in model.segments
    )
    return replace(model, segments=tuple(piece for pieces in segments for piece in pieces))


def _is_work(operation: Operation) -> bool:
    return isinstance(
        operation, Linear | Convolution | DepthwiseConvolution | MaxPool | GlobalAveragePool
    )


def parts_of(graphs: Sequence[Graph]) -> tuple[tuple[LayerPart, ...], ...]:
    """Return the part of a layer that each operation of each graph belongs to.

    All graphs are needed together, since a head alone looks like any other layer.
    """
    parts = iter(layer_parts(join(graphs)))
    return tuple(tuple(next(parts) for _ in graph.operations) for graph in graphs)


def join(graphs: Sequence[Graph]) -> Graph:
    """Return one graph: the first output of each graph is the first input of the next.

    Parameters of equal names are shared; results are renamed.
    """
    renamed = [graphs[0]]
    for index, graph in enumerate(graphs[1:], 1):
        names = {op.result.name: f"{index}:{op.result.name}" for op in graph.operations}
        names[graph.inputs[0].name] = renamed[-1].outputs[0]
        renamed.append(rename(graph, names))
    parameters = {tensor.name: tensor for graph in renamed for tensor in graph.parameters}
    inputs = {tensor.name: tensor for tensor in renamed[0].inputs}
    return Graph(
        graphs[0].name,
        tuple(inputs.values()),
        tuple(parameters.values()),
        tuple(operation for graph in renamed for operation in graph.operations),
        renamed[-1].outputs,
    )


def again(piece: Piece) -> Piece:
    """Return the next equal piece, with its own parameters except shared ones."""
    kept = piece.shared | piece.constants
    own = {t.name: f"again:{t.name}" for t in piece.graph.parameters if t.name not in kept}
    return replace(
        piece,
        graph=rename(piece.graph, own),
        stored={own.get(name, name): times for name, times in piece.stored.items()},
        stacked={own.get(name, name): at for name, at in piece.stacked.items()},
        head_products={own.get(name, name): n for name, n in piece.head_products.items()},
    )


def has_windows(model: Model, context: int) -> bool:
    """Tell whether some attention of a model has a window shorter than a context."""
    return any(
        isinstance(operation, Attention)
        and operation.window is not None
        and operation.window < context
        for segment in model.segments
        for operation in segment.graph.operations
    )


def _resize(graph: Graph, load: Load) -> Graph:
    if load.are_sequences:
        graph = all_rows(graph)
    return with_rows(with_positions(graph, load.capacity), load.rows)


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
