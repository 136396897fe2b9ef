"""Attention to the rows of a launch, and of earlier ones."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Attention(Operation):
    """Mix the value rows by how well their key rows match each query row; two-dimensional.

    Query head h, the h-th group of features, meets key and value head h // (heads / kv_heads):
    `result[r, h] = Σₛ softmaxₛ(scale · query[r, h] · key[s, …]) · value[s, …]`. If causal, s runs
    over the rows of this and of all earlier launches of the sequence up to position start + r, so
    that keys and values stay with the program; else over the rows of this launch. A bias is added
    to the products before they are scaled: `scale · (query[r, h] · key[s, …] + bias[r, h, s])`.
    A window leaves out what lies further back: s > start + r − window.
    """

    query: ValueName
    """Shape (rows, heads · head features)."""
    key: ValueName
    """Shape (rows, kv_heads · head features)."""
    value: ValueName
    """Shape (rows, kv_heads · value features)."""
    heads: int
    kv_heads: int
    scale: float
    is_causal: bool
    bias: ParameterName | None = None
    """A parameter of shape (rows · heads, rows), row r of head h as row r · heads + h; only if not
    causal. A mask has large negative numbers where a key is not seen."""
    window: int | None = None
    """Most rows that a row sees, itself and those right before it; only if causal. None: all."""
    sinks: ParameterName | None = None
    """A parameter of shape (heads,): scores of a key that every row sees and whose value is 0."""
    cached_features: int | None = None
    """Numbers that are kept of each token for later ones, where keys and values share some; None:
    its key and its value."""
