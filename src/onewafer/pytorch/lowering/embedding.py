"""Embeddings, and concatenation of features and of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import AddBias, Concatenate, Embedding, Linear
from onewafer.pytorch.lowering.operands import External, Origin, Rotated, Shifted, Value, see
from onewafer.pytorch.lowering.registry import lowers, simplifies
from onewafer.pytorch.lowering.rotary import extend, join_halves, stack_neighbours, swap_halves
from onewafer.pytorch.lowering.sequences import of_one_sequence
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter


_SEQUENCES_RANK = 3
"""Dimensions of a tensor of sequences: sequences, rows, features."""
_OTHER_GRADIENTS = {
    "scale_grad_by_freq": "gradients by how often a row is used are not supported; use "
    "`scale_grad_by_freq=False`",
    "sparse": "sparse gradients are not supported; use `sparse=False`",
}
"""Option of an embedding that changes its gradient → the reason of the refusal."""


@lowers("embedding.default")
def _lower_embedding(writer: GraphWriter, call: Call) -> Operand:
    stored = call.operand(0)
    table = writer.parameter(stored, "table")
    is_trained = isinstance(stored, External) and stored.tensor.requires_grad
    if is_trained and torch.is_grad_enabled():
        for at, name in ((3, "scale_grad_by_freq"), (4, "sparse")):
            if call.constant(at, name, None):
                raise call.unsupported(_OTHER_GRADIENTS[name])
    indices = call.operand(1)
    match indices:
        case External():
            ids = writer.indices(indices)
        case Value():
            ids = writer.found_indices(indices)
        case _:
            raise call.unsupported(
                "computed indices are not supported, but for those of topk and argmax"
            )
    result = writer.result(call.node.name, ids.shape[0], table.shape[1])
    padding = cast("int", call.constant(2, "padding_idx", -1))
    writer.emit(Embedding(result, ids.name, table.name, padding if padding >= 0 else None))
    return see(result, call.shape)


@simplifies("embedding.default")
def _slice_table(writer: GraphWriter, call: Call) -> External | None:
    """Return an embedding of consecutive indices as a slice of its table; None: it is none.

    So learned positions are views of their table, to which their gradients go.
    """
    table, indices = call.operand(0), call.operand(1)
    if not isinstance(table, External) or not isinstance(indices, External):
        return None
    if indices.origin > Origin.BUFFER or not indices.shape or not indices.tensor.numel():
        return None
    *leading, length = indices.shape
    wanted = indices.tensor.long().reshape(-1, length)
    first = int(wanted[0, 0])
    padding = cast("int", call.constant(2, "padding_idx", -1))
    is_other = call.constant(3, "scale_grad_by_freq", None)
    is_other = is_other or call.constant(4, "sparse", None)
    if is_other or first <= padding < first + length:
        return None
    if not torch.equal(wanted, (first + torch.arange(length)).expand_as(wanted)):
        return None
    writer.decide(indices)
    aten, name = torch.ops.aten, call.node.name
    rows = writer.view(table, f"{name}__rows", aten.slice.Tensor, 0, first, first + length)
    return writer.view(rows, name, aten.expand.default, [*leading, *rows.shape])


@lowers("cat.default", takes_rotated=True)
def _lower_concatenation(writer: GraphWriter, call: Call) -> Operand:
    parts = [part for part in call.operand_list(0) if not _is_empty(part)]
    if len(parts) == 1:
        return parts[0]
    dimension = cast("int", call.constant(1, "dim", 0)) % len(call.shape)
    is_last = dimension == len(call.shape) - 1
    if is_last:
        rotary = swap_halves(parts) or join_halves(writer, parts) or extend(writer, parts)
        if rotary is not None:
            return rotary
    parts = [writer.value(part) if isinstance(part, Rotated) else part for part in parts]
    stored = [part for part in parts if isinstance(part, External)]
    if is_last and all(part.origin is Origin.DATA for part in stored):
        return _join_features(writer, call, [writer.value(part) for part in parts])
    computed = [index for index, part in enumerate(parts) if not isinstance(part, External)]
    if len(computed) != 1 or dimension != len(call.shape) - 2:
        raise call.unsupported("concatenating computed tensors is not supported")
    if any(part.origin is Origin.DATA for part in stored):
        raise call.unsupported(
            "concatenating computed rows to a tensor from outside (a KV cache) is not supported"
        )
    (place,) = computed
    part, table = parts[place], None
    if isinstance(part, Shifted):
        part, table = part.value, _of_one_sequence(writer, call, part.table)
    value = writer.value(part)
    if len(value.shape) > _SEQUENCES_RANK:
        raise call.unsupported("concatenating rows to a part of a sequence is not supported")
    alike = [_of_one_sequence(writer, call, part) for part in stored]
    return _join_rows(writer, call, (value, table), alike[:place], alike[place:])


def _join_features(writer: GraphWriter, call: Call, parts: Sequence[Value]) -> Value:
    """Concatenate computed tensors along features; refuse those that are parts of rows."""
    rows = [writer.rows(part) for part in parts if part.tensor.shape[-1] == part.shape[-1]]
    if len(rows) < len(parts):
        raise call.unsupported("concatenating computed tensors is not supported for parts of rows")
    result = writer.result(call.node.name, rows[0].shape[0], call.shape[-1])
    writer.emit(Concatenate(result, tuple(tensor.name for tensor in rows)))
    return see(result, call.shape)


def _of_one_sequence(writer: GraphWriter, call: Call, part: External) -> External:
    """Return stored rows for one sequence; refuse rows that differ between sequences."""
    one = part if len(part.shape) < _SEQUENCES_RANK else of_one_sequence(writer, part)
    if one is None:
        raise call.unsupported(f"the rows of {part.name!r} differ from sequence to sequence")
    return one


@lowers("stack.default")
def _lower_stack(writer: GraphWriter, call: Call) -> Operand:
    del writer
    dimension = cast("int", call.constant(1, "dim", 0)) % len(call.shape)
    pairs = stack_neighbours(call.operand_list(0))
    if pairs is None or dimension != len(call.shape) - 1:
        raise call.unsupported("stacking computed tensors is supported only in a rotary embedding")
    return pairs


def _is_empty(part: Operand) -> bool:
    """Tell whether a part has no elements, as a cache before its first rows."""
    return isinstance(part, External) and part.tensor.numel() == 0


def _join_rows(
    writer: GraphWriter,
    call: Call,
    shifted: tuple[Value, External | None],
    before: Sequence[External],
    after: Sequence[External],
) -> Shifted:
    """Concatenate stored rows, as a class token, and the result of a linear layer.

    The input gets rows of zeros where stored rows will be, so that their products are zero, too;
    stored rows, bias and a table that was added are added as one table over positions.
    """
    aten, name = torch.ops.aten, call.node.name
    value, shift = shifted
    source = writer.rows(value)
    producer, bias = writer.producer(source), None
    if isinstance(producer, AddBias):
        bias = writer.parameters[producer.bias]
        producer = writer.producer(writer.find(producer.input))
    if not isinstance(producer, Linear) or producer.input not in writer.inputs:
        raise call.unsupported(
            "learned rows can join the result of a linear layer of the input only"
        )
    above, below = (sum(part.shape[-2] for part in parts) for parts in (before, after))
    margins = [0, 0, above, below]
    old = writer.inputs[producer.input]
    num_rows = value.shape[-2]
    cut = writer.view(old, f"{old.name}__cut", aten.reshape.default, [-1, num_rows, old.shape[-1]])
    padded = writer.view(cut, f"{old.name}__{above}_{below}", aten.constant_pad_nd.default, margins)
    rows = writer.rows(padded)
    result = writer.result(name, rows.shape[0], source.shape[1])
    writer.emit(Linear(result, rows.name, producer.weight))
    writer.on_host.append(f"adding {count_of(above + below, 'row')} of zeros")
    shape = [1] * (len(value.shape) - 2) + [num_rows, source.shape[1]]
    if bias is None:
        zeros = torch.zeros(shape, dtype=writer.format)
        middle = External(f"{name}__zeros", zeros, Origin.CONSTANT)
    else:
        middle = writer.view(bias, f"{name}__bias", aten.expand.default, shape)
    if shift is not None:
        middle = writer.view(middle, f"{name}__shifted", aten.add.Tensor, shift)
    table = writer.tensor(f"{name}__table", aten.cat.default, [*before, middle, *after], -2)
    return Shifted(see(result, call.shape), table)
