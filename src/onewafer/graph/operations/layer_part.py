"""Parts of a layer, and where in it an operation may stand."""

from __future__ import annotations

from enum import Flag, StrEnum, auto


class LayerPart(StrEnum):
    """The purpose of an operation."""

    EMBEDDING = "embedding"
    CONVOLUTION = "convolution"
    ATTENTION = "attention"
    MLP = "MLP"
    NORMS = "norms"
    HEAD = "head"
    OTHER = "other"


class Place(Flag):
    """Places of an operation whose part depends on the operations around it."""

    NOWHERE = 0
    BEFORE_ATTENTION = auto()
    """Between a norm and attention."""
    AFTER_ATTENTION = auto()
    """Between attention and a residual connection."""
    IN_MLP = auto()
    """In an MLP, if no other part has it."""
    WITH_OPERAND = auto()
    """In the part of the operation before it."""
    IN_HEAD = auto()
    """Between the last layer and an output."""
    FIRST_IN_HEAD = auto()
    """There, too, as the first: before it, rows are those of the layers."""

    JOINING = BEFORE_ATTENTION | AFTER_ATTENTION | WITH_OPERAND
    """Sums, biases and factors."""
