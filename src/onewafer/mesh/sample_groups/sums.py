"""Sums over sample groups, as steps of a program: of blocks, gradients and losses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.collectives import Broadcast, ChainReduce
from onewafer.mesh.elementwise import Scale
from onewafer.mesh.sample_groups.operations import ClearOtherGroups, PlaceOwnPart, TakeOwnPart

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder

_MOST_WORDS = 512
"""The most words that one sum of gradients over groups has."""


def add_up_groups(block: Block, builder: Builder, *, axis: Axis | None) -> None:
    """Sum a block of f32 activations over all groups; all groups get the sums.

    Its columns lie along `axis`; with None, all PEs of a group have the same block.
    """
    if builder.sample_groups == 1:
        return
    if builder.size(Axis.Y) == 1:
        _add_up_along_y(replace(block, rows=1, columns=block.num_elements), builder)
        return
    parts = builder.size(Axis.Y) if axis is Axis.Y else 1
    _add_up_parts(block, builder, builder.spare(1, parts * block.num_elements))


def average_groups(block: Block, builder: Builder, *, axis: Axis) -> None:
    """Replace a block by its mean over all groups; its columns lie along `axis`.

    The number of groups is a power of two, so that only the sums are rounded.
    """
    add_up_groups(block, builder, axis=axis)
    if builder.sample_groups > 1:
        builder.append(Scale(block, block, 1 / builder.sample_groups))


def begin_gradients(builder: Builder) -> None:
    """Append the start of a backward pass: earlier gradients stay in the first group alone."""
    if builder.sample_groups > 1:
        builder.append(ClearOtherGroups(_gradients(builder)))


def add_up_gradients(builder: Builder) -> None:
    """Append the end of a backward pass: the sum of parameter gradients over groups."""
    if builder.sample_groups == 1 or builder.parameters.num_elements == 0:
        return
    parts, whole = builder.size(Axis.Y), _gradients(builder)
    length = min(whole.columns, max(1, _MOST_WORDS // parts))
    room = builder.spare(1, parts * length)
    for first in range(0, whole.columns, length):
        columns = min(length, whole.columns - first)
        part = replace(whole, offset=first, columns=columns)
        _add_up_parts(part, builder, replace(room, columns=parts * columns))


def _gradients(builder: Builder) -> Block:
    return Block(Arena.GRADIENTS, 0, 1, builder.parameters.num_elements)


def _add_up_parts(block: Block, builder: Builder, room: Block) -> None:
    builder.append(PlaceOwnPart(room, block))
    _add_up_along_y(room, builder)
    builder.append(TakeOwnPart(block, room))


def _add_up_along_y(row: Block, builder: Builder) -> None:
    builder.append(ChainReduce(row, Axis.Y))
    builder.append(Broadcast(row, Axis.Y))
