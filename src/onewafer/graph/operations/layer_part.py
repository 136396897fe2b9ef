"""Parts of a layer, and the places in it where an operation may be."""

from __future__ import annotations

from enum import Flag, StrEnum, auto


class LayerPart(StrEnum):
    """The part of a layer to which an operation belongs."""

    EMBEDDING = "embedding"
    CONVOLUTION = "convolution"
    ATTENTION = "attention"
    MLP = "MLP"
    NORMS = "norms"
    HEAD = "head"
    OTHER = "other"


class Place(Flag):
    """The places of operations whose part depends on the operations around them."""

    NOWHERE = 0
    BEFORE_ATTENTION = auto()
    """Between a norm and attention."""
    AFTER_ATTENTION = auto()
    """Between attention and a residual connection."""
    IN_MLP = auto()
    """In an MLP, unless it has another part."""
    WITH_OPERAND = auto()
    """In the part of its operand."""
    IN_HEAD = auto()
    """In the head: between the last layer and an output."""
    FIRST_IN_HEAD = auto()
    """In the head, as its first operation, such as the choice of one row."""

    JOINING = BEFORE_ATTENTION | AFTER_ATTENTION | WITH_OPERAND
    """An operation that joins tensors: sums, biases and factors."""
