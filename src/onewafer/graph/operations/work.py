"""How much an operation computes and touches when several sequences go on at once.

The rows of a graph are the new tokens of each of some sequences that have tokens behind them. What
is touched is counted in elements, since the formats of weights and of results may differ.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of an operation in one pass, on whatever machine."""

    flop: int
    """A multiply-add counts as two."""
    weights: int
    """Elements of parameters that are read, each once, however many sequences there are; of experts
    those that all rows are expected to meet."""
    activations: int
    """Elements of operands and results, each once, keys and values of new tokens included."""
    cached: int
    """Elements of keys and values of earlier tokens that are read, each once."""
