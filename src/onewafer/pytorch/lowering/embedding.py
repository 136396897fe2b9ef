"""Rows of tables, and rows that are put in front of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import AddBias, Embedding, Linear
from onewafer.pytorch.lowering.linear import multiply
from onewafer.pytorch.lowering.operands import External, Origin, Rotated, Shifted, Value, see
from onewafer.pytorch.lowering.registry import lowers
from onewafer.pytorch.lowering.rotary import extend, stack_neighbours, swap_halves
from onewafer.pytorch.lowering.sequences import of_one_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


_SEQUENCES_RANK = 3
"""Dimensions of a tensor of sequences: sequences, rows, features."""


@lowers("embedding.default")
def _lower_embedding(writer: GraphWriter, call: Call) -> Operand:
    table = writer.parameter(call.operand(0), "table")
    indices = call.operand(1)
    if not isinstance(indices, External):
        raise call.unsupported("its indices are computed on the wafer")
    ids = writer.indices(indices)
    result = writer.result(call.node.name, ids.shape[0], table.shape[1])
    writer.emit(Embedding(result, ids.name, table.name))
    return see(result, call.shape)


@lowers("conv2d.default")
def _lower_patches(writer: GraphWriter, call: Call) -> Operand:
    """Multiply patches that do not overlap: the host cuts them out, which computes nothing."""
    image, weight = call.operand(0), call.operand(1)
    if not isinstance(image, External) or not isinstance(weight, External):
        raise call.unsupported("only images that come with the call are cut into patches")
    out, channels, height, width = weight.shape
    batch, image_channels, image_height, image_width = image.shape
    is_cut = (
        _pair(call.constant(3, "stride", 1)) == (height, width)
        and _pair(call.constant(4, "padding", 0)) == (0, 0)
        and _pair(call.constant(5, "dilation", 1)) == (1, 1)
        and call.constant(6, "groups", 1) == 1
        and channels == image_channels
        and image_height % height == 0
        and image_width % width == 0
    )
    if not is_cut:
        raise call.unsupported("its patches overlap, or leave out a part of the image")
    rows, columns = image_height // height, image_width // width
    cut = (batch, channels, rows, height, columns, width)
    aten, name = torch.ops.aten, f"{image.name}__patches"
    pieces = writer.view(image, f"{name}_cut", aten.reshape.default, cut)
    order = (0, 2, 4, 1, 3, 5)
    turned = writer.view(pieces, f"{name}_turned", aten.permute.default, order)
    shape = (batch * rows * columns, channels * height * width)
    patches = writer.view(turned, name, aten.reshape.default, shape)
    flat = writer.view(weight, f"{weight.name}__flat", aten.reshape.default, (out, shape[1]))
    tensor = multiply(
        writer,
        call,
        writer.rows(patches),
        writer.parameter(flat, "weight"),
        call.optional(2, "bias"),
    )
    writer.on_host.append(f"cutting {image.name!r} into patches")
    value = see(tensor, (batch, rows, columns, out))
    return Value(value.tensor, value.layout.permute((0, 3, 1, 2)))


def _pair(value: object) -> tuple[int, int]:
    match value:
        case int():
            return value, value
        case _:
            numbers = [*cast("Sequence[int]", value)]
            return numbers[0], numbers[-1]


@lowers("cat.default", takes_rotated=True)
def _lower_concatenation(writer: GraphWriter, call: Call) -> Operand:
    parts = [part for part in call.operand_list(0) if not _is_empty(part)]
    if len(parts) == 1:
        return parts[0]
    dimension = cast("int", call.constant(1, "dim", 0)) % len(call.shape)
    rotary = swap_halves(call, parts, dimension) or extend(writer, call, parts, dimension)
    if rotary is not None:
        return rotary
    parts = [writer.value(part) if isinstance(part, Rotated) else part for part in parts]
    computed = [index for index, part in enumerate(parts) if not isinstance(part, External)]
    stored = [part for part in parts if isinstance(part, External)]
    if len(computed) != 1 or dimension != len(call.shape) - 2:
        raise call.unsupported("it joins computed tensors; only stored rows can join them")
    if any(part.origin is Origin.DATA for part in stored):
        raise call.unsupported("it joins an argument and computed rows")
    (place,) = computed
    value = writer.value(parts[place])
    if len(value.shape) > _SEQUENCES_RANK:
        raise call.unsupported("it joins stored rows to parts of sequences")
    alike = [_of_one_sequence(writer, call, part) for part in stored]
    return _join_rows(writer, call, value, alike[:place], alike[place:])


def _of_one_sequence(writer: GraphWriter, call: Call, part: External) -> External:
    """Return stored rows that are alike for all sequences, for one of them."""
    one = part if len(part.shape) < _SEQUENCES_RANK else of_one_sequence(writer, part)
    if one is None:
        raise call.unsupported(f"it joins other rows of {part.name!r} to each sequence")
    return one


@lowers("stack.default")
def _lower_stack(writer: GraphWriter, call: Call) -> Operand:
    del writer
    dimension = cast("int", call.constant(1, "dim", 0)) % len(call.shape)
    pairs = stack_neighbours(call, call.operand_list(0), dimension)
    if pairs is None:
        raise call.unsupported("it joins computed tensors that are no pairs of a rotation")
    return pairs


def _is_empty(part: Operand) -> bool:
    """Tell whether a part has no elements, as a cache before its first rows."""
    return isinstance(part, External) and part.tensor.numel() == 0


def _join_rows(
    writer: GraphWriter,
    call: Call,
    value: Value,
    before: Sequence[External],
    after: Sequence[External],
) -> Shifted:
    """Put stored rows around those of a linear operation.

    The wafer has all rows from the start: those of the input are zero where the stored rows will
    be, and so is their product with the weight; stored rows and bias are a table over positions.
    """
    aten, name = torch.ops.aten, call.node.name
    source = writer.rows(value)
    producer, bias = writer.producer(source), None
    if isinstance(producer, AddBias):
        bias = writer.parameters[producer.bias]
        producer = writer.producer(writer.find(producer.input))
    if not isinstance(producer, Linear) or producer.input not in writer.inputs:
        raise call.unsupported("it joins rows to others than those of a linear layer's inputs")
    above, below = (sum(part.shape[-2] for part in parts) for parts in (before, after))
    margins = [0, 0, above, below]
    old = writer.inputs[producer.input]
    num_rows = value.shape[-2]
    cut = writer.view(old, f"{old.name}__cut", aten.reshape.default, [-1, num_rows, old.shape[-1]])
    padded = writer.view(cut, f"{old.name}__{above}_{below}", aten.constant_pad_nd.default, margins)
    rows = writer.rows(padded)
    result = writer.result(name, rows.shape[0], source.shape[1])
    writer.emit(Linear(result, rows.name, producer.weight))
    count = above + below
    writer.on_host.append(f"adding {count} row{'s' * (count > 1)} of zeros")
    shape = [1] * (len(value.shape) - 2) + [num_rows, source.shape[1]]
    if bias is None:
        zeros = torch.zeros(shape, dtype=writer.format)
        middle = External(f"{name}__zeros", zeros, Origin.CONSTANT)
    else:
        middle = writer.view(bias, f"{name}__bias", aten.expand.default, shape)
    table = writer.derive(f"{name}__table", aten.cat.default, [*before, middle, *after], -2)
    assert isinstance(table, External), "cat gives one tensor"  # invariant
    return Shifted(see(result, call.shape), table)
