"""A model for the equations: a graph of one sequence, cut into runs of equal layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import Attention, Experts, with_rows

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
    """Parts of the model that are missing in the graph, a sentence each."""
    fixed_tokens: int | None = None
    """Rows of every sequence if the model fixes them, as the patches of a picture; None: any
    length."""
    samples: int = 1
    """Batch of the captured call: the default number of sequences or samples."""

    @property
    def num_weights(self) -> int:
        """Number of weights; a tensor that several pieces share (tied embeddings) counts once."""
        counted: dict[str, int] = {}
        for segment in self.segments:
            for tensor in segment.weights:
                copies = 1 if tensor.name in segment.shared else segment.repeats
                counted[tensor.name] = copies * tensor.num_elements
        return sum(counted.values())

    @property
    def has_feature_maps(self) -> bool:
        """True if the model has convolutions or pools over feature maps, as of pictures."""
        return any(segment.graph.has_feature_maps for segment in self.segments)

    @property
    def has_experts(self) -> bool:
        """True if rows are routed to experts."""
        operations = (op for segment in self.segments for op in segment.graph.operations)
        return any(isinstance(operation, Experts) for operation in operations)

    @property
    def cached_features(self) -> int:
        """Elements of the KV cache per token, over all layers, as if no layer had a window."""
        return sum(segment.repeats * sum(_kept(segment, 1)) for segment in self.segments)

    def cached_elements(self, tokens: int) -> int:
        """Return the KV cache elements of a sequence; a window limits those of its layer."""
        return sum(segment.repeats * sum(_kept(segment, tokens)) for segment in self.segments)

    def graph_for(self, segment: Segment, tokens: int) -> Graph:
        """Return a segment's graph with `tokens` new tokens of one sequence as rows.

        A model with `fixed_tokens` ignores `tokens`.
        """
        return segment.graph if self.fixed_tokens is not None else with_rows(segment.graph, tokens)

    def work(self, segment: Segment, of: Pass) -> tuple[tuple[Operation, Work], ...]:
        """Return the operations of one piece of a segment, each with its work in a pass.

        Shapes (an operation's `result`, the tensors of `graph_for`) are those of one sequence; work
        is that of all sequences. A linear operation has `of.rows` rows, attention reads the cached
        and new tokens of each sequence separately, and operations after `LastRow` have one row a
        sequence. In a model with `fixed_tokens` every sequence has all its rows.
        """
        graph = self.graph_for(segment, of.new_tokens)
        counts = {"sequences": of.sequences, "cached_tokens": of.cached_tokens}
        return tuple((op, op.count_work(graph.by_name, **counts)) for op in graph.operations)

    def count_flop(self, of: Pass) -> int:
        """Return the FLOP of a pass."""
        return sum(
            segment.repeats * work.flop
            for segment in self.segments
            for _, work in self.work(segment, of)
        )


def _kept(segment: Segment, tokens: int) -> Iterator[int]:
    """Yield the elements of the KV cache of each attention of a piece for `tokens`."""
    for operation in segment.graph.operations:
        if isinstance(operation, Attention):
            kept = tokens if operation.window is None else min(tokens, operation.window)
            yield kept * operation.count_token_features(segment.graph.by_name)
