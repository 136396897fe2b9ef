"""Views: operations that compute nothing and give the same elements another shape."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from torch.fx import Node

from onewafer.graph import RowAt
from onewafer.pytorch.lowering.map_margins import thin_maps
from onewafer.pytorch.lowering.operands import (
    Centred,
    External,
    InverseRoot,
    Mean,
    MeanSquare,
    Normalised,
    Origin,
    Polynomial,
    Probabilities,
    Rotated,
    Scores,
    StackedPartners,
    Value,
    see,
)
from onewafer.pytorch.lowering.registry import lowers
from onewafer.pytorch.lowering.softmax import see_scores
from onewafer.pytorch.lowering.writer import FORMATS, INDICES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.pytorch.lowering.layout import Layout
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

import torch


@lowers(
    "clone.default",
    "contiguous.default",
    "alias.default",
    "detach.default",
    "detach_.default",
    "lift_fresh_copy.default",
    takes_rotated=True,
)
def _lower_identity(writer: GraphWriter, call: Call) -> Operand:
    del writer
    return call.operand(0)


@lowers("broadcast_tensors.default")
def _lower_broadcast(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    """Return tensors of one shape, which losses of elements ask for, as they are."""
    operands = [
        operand if isinstance(operand, External) else writer.value(operand)
        for operand in call.operand_list(0)
    ]
    if len({operand.shape for operand in operands}) > 1:
        raise call.unsupported("broadcasting tensors of different shapes is not supported")
    return tuple(operands)


@lowers(
    "to.dtype",
    "to.dtype_layout",
    "to.device",
    "_to_copy.default",
    "type_as.default",
    "to.other",
    takes_rotated=True,
)
def _lower_conversion(writer: GraphWriter, call: Call) -> Operand:
    """Let a module compute parts in float32 that the wafer computes in float32 anyhow."""
    source = call.node.args[0]
    have = source.meta["val"].dtype if isinstance(source, Node) else None
    want, operand = call.dtype, call.operand(0)
    if have == want:
        return operand
    if have in INDICES and want in INDICES and isinstance(operand, Value):
        return operand  # that the wafer found; they become what the module returns
    if have in FORMATS and want in FORMATS:
        match operand:
            case InverseRoot(square) if want is torch.float16:
                narrow = replace(square.value, is_wide=False)
                return InverseRoot(replace(square, value=narrow))
            case Normalised() | Mean() | Centred() | MeanSquare() if want is torch.float16:
                return replace(operand, value=replace(operand.value, is_wide=False))
            case Scores():
                return _narrow(operand)
            case Probabilities(scores):
                return Probabilities(_narrow(scores))
            case Rotated() if want is torch.float32 or operand.value.is_wide:
                value = replace(operand.value, is_wide=want is torch.float32)
                return replace(operand, value=value)
            case Value() if want is torch.float32 or operand.is_wide:
                return replace(operand, is_wide=want is torch.float32)
            case _:
                pass
    del writer
    raise call.unsupported(
        f"converting {have} to {want} is not supported; the wafer has one number format"
    )


def _narrow(scores: Scores) -> Scores:
    """Return scores in float16; the wafer has them in float32 in any case."""
    query, key = (replace(part, is_wide=False) for part in (scores.query, scores.key))
    return replace(scores, query=query, key=key)


def relayout(writer: GraphWriter, operand: Operand, change: Callable[[Layout], Layout]) -> Operand:
    """Return an operand seen through a changed layout."""
    if isinstance(operand, Polynomial):
        value = replace(operand.value, layout=change(operand.value.layout))
        return replace(operand, value=value)
    value = writer.value(operand)
    return replace(value, layout=change(value.layout))


def _dimension(call: Call, index: int, name: str = "dim") -> int:
    """Return a dimension of the first argument as a number from 0."""
    return cast("int", call.constant(index, name, 0)) % len(_source_shape(call))


def _source_shape(call: Call) -> tuple[int, ...]:
    source = call.node.args[0]
    assert isinstance(source, Node), "a view has a tensor"  # invariant
    return tuple(source.meta["val"].shape)


@lowers(
    "view.default",
    "_unsafe_view.default",
    "reshape.default",
    "view_as.default",
    "reshape_as.default",
    "flatten.using_ints",
    "unflatten.int",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
    is_view=True,
)
def _lower_view(writer: GraphWriter, call: Call) -> Operand:
    """See the same elements in the same order with another shape."""
    operand = call.operand(0)
    if isinstance(operand, Scores | Probabilities):
        return see_scores(call, operand)
    if isinstance(operand, StackedPartners) and operand.partners.value.shape == call.shape:
        return operand.partners

    def change(layout: Layout) -> Layout:
        found = layout.reshape(call.shape)
        if found is None:
            raise call.unsupported(
                f"reshaping {layout.shape} to {call.shape} across repeats is not supported"
            )
        return found

    return relayout(writer, operand, change)


@lowers(
    "transpose.int", "swapaxes.default", "t.default", "mT.default", "numpy_T.default", is_view=True
)
def _lower_transpose(writer: GraphWriter, call: Call) -> Operand:
    order = list(range(len(call.shape)))
    if call.name in ("aten.transpose.int", "aten.swapaxes.default"):
        first, second = _dimension(call, 1, "dim0"), _dimension(call, 2, "dim1")
        order[first], order[second] = order[second], order[first]
    else:
        order[-2:] = order[:-3:-1]
    return relayout(writer, call.operand(0), lambda layout: layout.permute(order))


@lowers("permute.default", is_view=True)
def _lower_permute(writer: GraphWriter, call: Call) -> Operand:
    dimensions = cast("Sequence[int]", call.node.args[1])
    order = [dimension % len(dimensions) for dimension in dimensions]
    return relayout(writer, call.operand(0), lambda layout: layout.permute(order))


@lowers("movedim.int", is_view=True)
def _lower_movedim(writer: GraphWriter, call: Call) -> Operand:
    source, target = _dimension(call, 1, "source"), _dimension(call, 2, "destination")
    order = [index for index in range(len(call.shape)) if index != source]
    order.insert(target, source)
    return relayout(writer, call.operand(0), lambda layout: layout.permute(order))


@lowers("expand.default", "expand_as.default", "broadcast_to.default", is_view=True)
def _lower_expand(writer: GraphWriter, call: Call) -> Operand:
    return relayout(writer, call.operand(0), lambda layout: layout.expand(call.shape))


@lowers("repeat_interleave.self_int")
def _lower_repeat_interleave(writer: GraphWriter, call: Call) -> Operand:
    times = call.node.args[1]
    if not isinstance(times, int) or call.constant(2, "dim", None) is None:
        raise call.unsupported("repeating without a dimension is not supported; name dim")
    dimension = _dimension(call, 2)
    return relayout(writer, call.operand(0), lambda layout: layout.repeat(dimension, times))


@lowers("slice.Tensor", "narrow.default", is_view=True)
def _lower_slice(writer: GraphWriter, call: Call) -> Operand:
    dimension = _dimension(call, 1)
    size = _source_shape(call)[dimension]
    start = cast("int | None", call.constant(2, "start", None)) or 0
    first = min(max(start + size if start < 0 else start, 0), size)
    if 0 in call.shape:
        return External(call.node.name, torch.empty(call.shape, dtype=call.dtype), Origin.CONSTANT)
    if call.name == "aten.slice.Tensor" and call.constant(4, "step", 1) != 1:
        step = cast("int", call.constant(4, "step", 1))
        if (thinned := thin_maps(writer, call, dimension, first, step)) is not None:
            return thinned

        def thin(layout: Layout) -> Layout:
            found = layout.every(dimension, first, step)
            if found is None or found.shape != call.shape:
                raise call.unsupported("a slice with this step is not supported")
            return found

        return relayout(writer, call.operand(0), thin)
    return relayout(writer, call.operand(0), lambda layout: _cut(call, layout, dimension, first))


_INDEXING = (
    "indexing is supported only by one list of indices, or by one of all sequences in order and "
    "one with a token of each"
)


@lowers("index.Tensor")
def _lower_index(writer: GraphWriter, call: Call) -> Operand:
    """Take consecutive indices of one dimension, or one token of each sequence."""
    places = cast("Sequence[Node | None]", call.node.args[1])
    given = {dimension: node for dimension, node in enumerate(places) if node is not None}
    indices = [call.operands[node] for node in given.values()]
    match indices:
        case [External() as index] if _is_list(index):
            pass
        case [External() as sequences, External() as tokens] if (
            [*given] == [0, 1] and _is_list(sequences) and _is_list(tokens)
        ):
            return _take_tokens(writer, call, sequences, tokens)
        case _:
            raise call.unsupported(_INDEXING)
    (dimension,) = given
    size = _source_shape(call)[dimension]
    wanted = [int(number) % size for number in writer.decide(index)]
    if not wanted or wanted != [*range(wanted[0], wanted[0] + len(wanted))]:
        raise call.unsupported("indexing elements that do not follow one another is not supported")
    first = wanted[0]
    return relayout(writer, call.operand(0), lambda layout: _cut(call, layout, dimension, first))


def _is_list(index: External) -> bool:
    return len(index.shape) == 1 and index.tensor.dtype in INDICES


def _take_tokens(writer: GraphWriter, call: Call, sequences: External, tokens: External) -> Operand:
    """Take a token of each sequence: its index may be another one in each call."""
    value = writer.value(call.operand(0))
    count, length, *rest = value.shape
    if [*map(int, writer.decide(sequences))] != [*range(count)] or tokens.shape != (count,):
        raise call.unsupported(_INDEXING)
    features = range(2, 2 + len(rest))
    rows = writer.matrix(value, [0, 1], features)
    writer.note_sequences(count)
    places = writer.view(tokens, f"{call.node.name}_places", _from_beginning, length)
    result = writer.result(call.node.name, count, rows.shape[1])
    writer.emit(RowAt(result, rows.name, writer.indices(places).name))
    return see(result, call.shape)


def _from_beginning(indices: torch.Tensor, size: int) -> torch.Tensor:
    """Return indices with those that count from the end counted from the beginning."""
    return torch.where(indices < 0, indices + size, indices)


def _cut(call: Call, layout: Layout, dimension: int, start: int, size: int | None = None) -> Layout:
    size = call.shape[dimension] if size is None else size
    if size == 0:
        raise call.unsupported("an empty result is not supported")
    found = layout.slice(dimension, start, size)
    if found is None:
        raise call.unsupported("slicing across dimensions that were merged is not supported")
    return found


@lowers("select.int", is_view=True)
def _lower_select(writer: GraphWriter, call: Call) -> Operand:
    dimension = _dimension(call, 1)
    index = cast("int", call.node.args[2]) % _source_shape(call)[dimension]
    return relayout(writer, call.operand(0), lambda layout: layout.select(dimension, index))


@lowers("split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int", is_view=True)
def _lower_split(writer: GraphWriter, call: Call) -> tuple[Operand, ...]:
    is_unbind = call.name == "aten.unbind.int"
    dimension = _dimension(call, 1 if is_unbind else 2)
    operand = call.operand(0)
    if not isinstance(operand, External | Polynomial):
        operand = writer.value(operand)
    parts: list[Operand] = []
    start = 0
    for part in call.node.meta["val"]:
        size = 1 if is_unbind else part.shape[dimension]

        def change(layout: Layout, start: int = start, size: int = size) -> Layout:
            if is_unbind:
                return layout.select(dimension, start)
            return _cut(call, layout, dimension, start, size)

        parts.append(relayout(writer, operand, change))
        start += size
    return tuple(parts)
