"""The last step of lowering: check batches, take one sequence of several, add parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import inputs_of_one_row
from onewafer.pytorch.lowering.padding import pad_sequences
from onewafer.pytorch.lowering.sequences import check_rows, take_one_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.graph import Graph
    from onewafer.pytorch.lowering.writer import GraphWriter


def finish(writer: GraphWriter) -> Graph:
    """Return the graph of a writer; refuse one that computes nothing or mixes batches."""
    graph = writer.live_graph()
    alone = inputs_of_one_row(graph)
    batches = sorted({tensor.shape[0] for tensor in graph.inputs if tensor.name not in alone})
    if not graph.is_sequence:
        writer.sequences = None  # what asked for them is not needed
    if writer.sequences is not None and writer.sequences > 1:
        return _finish_sequences(writer, graph, batches, writer.sequences)
    if writer.samples is not None:
        _check_samples(writer.samples, batches, is_sequence=graph.is_sequence)
    elif len(batches) > 1 and not graph.is_sequence:
        sizes = " and ".join(str(size) for size in batches)
        raise UnsupportedOperationError(f"its inputs have different numbers of rows: {sizes}")
    elif len(batches) > 1:
        graph = pad_sequences(writer, graph)
    return _with_parameters(writer, graph)


def _finish_sequences(
    writer: GraphWriter, graph: Graph, batches: Sequence[int], sequences: int
) -> Graph:
    """Return the graph for one of several sequences."""
    if writer.samples is not None:
        writer.note_samples(sequences)
    if len(batches) > 1 or batches[0] % sequences:
        sizes = " and ".join(str(size) for size in batches)
        msg = f"its inputs have {sizes} rows, and {sequences} sequences have equal lengths"
        raise UnsupportedOperationError(msg)
    graph, writer.joined = take_one_sequence(_with_parameters(writer, graph), sequences)
    return graph


def _with_parameters(writer: GraphWriter, graph: Graph) -> Graph:
    graph = writer.with_parameters(graph)
    if graph.is_sequence:
        check_rows(writer, graph)
    return graph


def _check_samples(samples: int, batches: Sequence[int], *, is_sequence: bool) -> None:
    """Refuse inputs whose rows are no multiple of the samples, and token positions in samples."""
    if is_sequence and (samples > 1 or len(batches) > 1):
        msg = f"feature maps of {samples} samples with token positions are not supported"
        raise UnsupportedOperationError(msg)
    for rows in batches:
        if rows % samples:
            msg = f"an input of {rows} rows does not go with {samples} samples"
            raise UnsupportedOperationError(msg)
