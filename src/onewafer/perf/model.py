"""A model as the equations see it: a graph of one sequence, cut into runs of equal layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import Attention, with_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.graph import Graph, Operation, Segment, Work
    from onewafer.perf.jobs import Pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model, captured once for every job and every machine."""

    name: str
    """The user's name for it: `llama-3.1-8b`, or the script's class."""
    title: str
    segments: tuple[Segment, ...]
    """In the order of execution; the rows of their graphs are the tokens of one sequence."""
    max_context: int | None = None
    """The longest sequence that the model was trained for; None: no limit."""
    source: str = ""
    """The origin of the configuration."""
    notes: tuple[str, ...] = ()
    """Parts of the model that the graph leaves out, a sentence each."""
    fixed_tokens: int | None = None
    """Rows of every sequence where the model fixes them, as the patches of a picture; None: it
    takes sequences of any length."""
    samples: int = 1
    """Sequences or samples of the call that it was captured from: the usual batch."""

    @property
    def num_weights(self) -> int:
        """Elements of all weights; a tensor that several pieces share (tied embeddings) once."""
        counted: dict[str, int] = {}
        for segment in self.segments:
            for tensor in segment.weights:
                copies = 1 if tensor.name in segment.shared else segment.repeats
                counted[tensor.name] = copies * tensor.num_elements
        return sum(counted.values())

    @property
    def has_feature_maps(self) -> bool:
        """True if it works on feature maps: pictures and the like, with convolutions or pools."""
        return any(segment.graph.has_feature_maps for segment in self.segments)

    @property
    def cached_features(self) -> int:
        """Numbers that the KV cache keeps of each token, over all layers, were there no windows."""
        return sum(segment.repeats * sum(_kept(segment, 1)) for segment in self.segments)

    def cached_elements(self, tokens: int) -> int:
        """Return the numbers that the KV cache keeps of a sequence; a window keeps its own."""
        return sum(segment.repeats * sum(_kept(segment, tokens)) for segment in self.segments)

    def graph_for(self, segment: Segment, tokens: int) -> Graph:
        """Return a segment's graph with `tokens` new tokens of one sequence as rows.

        A model with fixed tokens keeps them.
        """
        return segment.graph if self.fixed_tokens is not None else with_rows(segment.graph, tokens)

    def work(self, segment: Segment, of: Pass) -> tuple[tuple[Operation, Work], ...]:
        """Return the operations of one piece of a segment with their work in a pass.

        The shapes of an operation (its `result`, and the tensors of `graph_for`) are those of one
        sequence, its work is that of all: a linear operation has `of.rows` rows in all, but
        attention meets `of.cached_tokens` and new tokens of each sequence by itself, and what
        comes after `LastRow` has one row a sequence. A model with fixed tokens does all of them
        for each sequence of a pass.
        """
        graph = self.graph_for(segment, of.new_tokens)
        counts = {"sequences": of.sequences, "cached_tokens": of.cached_tokens}
        return tuple((op, op.count_work(graph.by_name, **counts)) for op in graph.operations)


def _kept(segment: Segment, tokens: int) -> Iterator[int]:
    """Yield the numbers that each attention of a piece keeps for `tokens`."""
    for operation in segment.graph.operations:
        if isinstance(operation, Attention):
            kept = tokens if operation.window is None else min(tokens, operation.window)
            yield kept * operation.count_token_features(segment.graph.by_name)
