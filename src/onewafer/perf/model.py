"""A model as the equations see it: a graph of one sequence, cut into runs of equal layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import Attention, Rotary

if TYPE_CHECKING:
    from onewafer.graph import Graph, Tensor


@dataclass(frozen=True, slots=True)
class Segment:
    """Equal pieces of a model that follow each other, as the graph of one of them.

    Between pieces only one tensor passes (the residual stream), which is the input and the output
    of the graph; token ids come into the first piece, logits out of the last one. The graph has
    the names of the first of the pieces.
    """

    graph: Graph
    repeats: int

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The parameters of one piece that are learned: no tables of rotations, no masks."""
        tables: set[str] = set()
        for operation in self.graph.operations:
            match operation:
                case Rotary():
                    tables |= {operation.cosine, operation.sine}
                case Attention(bias=str() as bias):
                    tables.add(bias)
                case _:
                    pass
        return tuple(tensor for tensor in self.graph.parameters if tensor.name not in tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is captured of a model, once, for every job and every machine."""

    name: str
    """As the user wrote it: `llama-3.1-8b`, or the script's class."""
    title: str
    segments: tuple[Segment, ...]
    """In the order of execution; the rows of their graphs are the tokens of one sequence."""
    max_context: int | None = None
    """Tokens that the model was made for; None: it has no such limit."""
    source: str = ""
    """Where the configuration comes from."""
    notes: tuple[str, ...] = ()
    """What of the model the graph leaves out, a sentence each."""

    @property
    def num_weights(self) -> int:
        """Elements of all weights; a tensor that two segments share (tied embeddings) once."""
        counted: dict[str, int] = {}
        for segment in self.segments:
            for tensor in segment.weights:
                counted[tensor.name] = segment.repeats * tensor.num_elements
        return sum(counted.values())

    @property
    def cached_features(self) -> int:
        """Numbers that the KV cache keeps of each token, over all layers."""
        return sum(
            segment.repeats
            * sum(
                segment.graph.tensor(name).shape[-1]
                for operation in segment.graph.operations
                if isinstance(operation, Attention) and operation.is_causal
                for name in (operation.key, operation.value)
            )
            for segment in self.segments
        )
