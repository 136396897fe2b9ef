"""One number a feature: learned factors and shifts, batch norms, and gates of whole maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from onewafer.graph import AddBias, ScaleFeatureMaps, ScaleFeatures, Tensor
from onewafer.pytorch.lowering.operands import External, Origin, Value, see
from onewafer.pytorch.lowering.registry import lowers
from onewafer.pytorch.lowering.row_means import is_of_rows

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_aten = torch.ops.aten


def apply_to_features(
    writer: GraphWriter,
    call: Call,
    form: type[AddBias | ScaleFeatures],
    operand: Operand,
    stored: Operand,
) -> Value | None:
    """Write a sum or product with one learned number a feature; None if it is something else."""
    found = _find_vector(writer, call, operand, stored)
    if found is None:
        return None
    source, vector = found
    result = writer.result(call.node.name, *source.tensor.shape)
    writer.emit(form(result, source.tensor.name, vector.name))
    return Value(result, source.layout)


def _find_vector(
    writer: GraphWriter, call: Call, operand: Operand, stored: Operand
) -> tuple[Value, Tensor] | None:
    """Return a value as a whole matrix, and what is stored as the vector of its features.

    What depends on positions may look like it where there is only one; a parameter does not.
    """
    if not isinstance(stored, External) or stored.origin is not Origin.PARAMETER:
        return None
    if not isinstance(operand, Value) or operand.is_wide:
        return None
    if operand.shape != call.shape:
        return None
    source = writer.own(operand)
    num_features = source.tensor.shape[1]
    shape = (1,) * (len(call.shape) - len(stored.shape)) + stored.shape
    varying = [index for index, size in enumerate(shape) if size > 1]
    if len(varying) != 1 or source.layout.dimensions[varying[0]] != ((num_features, 1),):
        return None
    if stored.shape != (num_features,):
        name = f"{stored.name}__vector"
        stored = writer.view(stored, name, _aten.reshape.default, [num_features])
    return source, writer.parameter(stored, "vector")


@lowers("addcmul.default")
def _lower_scaled_sum(writer: GraphWriter, call: Call) -> Operand:
    """Write `shift + value · factors · operand` where both are one number a feature."""
    factor, first, second = (call.operand(index) for index in (0, 1, 2))
    stored, operand = (first, second) if isinstance(first, External) else (second, first)
    if call.constant(3, "value", 1) != 1:
        raise call.unsupported("a value other than 1 is not supported")
    if isinstance(operand, External):
        operand = writer.value(operand)
    scaled = apply_to_features(writer, call, ScaleFeatures, operand, stored)
    shifted = scaled and apply_to_features(writer, call, AddBias, scaled, factor)
    if shifted is None:
        raise call.unsupported("scale and shift must be parameters with one number a feature")
    return shifted


def scale_feature_maps(
    writer: GraphWriter, call: Call, left: Operand, right: Operand
) -> Value | None:
    """Write a product with a computed row for all places of a sample; None if it is none."""
    if isinstance(left, External) or isinstance(right, External):
        return None
    first, second = writer.value(left), writer.value(right)
    maps, gate = (first, second) if first.shape == call.shape else (second, first)
    if maps.shape != call.shape or len(gate.shape) != len(maps.shape):
        return None
    if maps.is_wide or gate.is_wide:
        return None
    rank = len(maps.shape)
    places = [index for index in range(rank) if gate.shape[index] != maps.shape[index]]
    if not places or any(gate.shape[index] != 1 for index in places):
        return None
    kept = [index for index in range(rank) if index not in places]
    samples = [index for index in kept if is_of_rows(maps, index)]
    features = [index for index in kept if index not in samples]
    rows = writer.matrix(maps, samples + places, features)
    factors = writer.matrix(gate, samples, features)
    num_samples = factors.shape[0]
    writer.note_samples(num_samples)
    result = writer.result(call.node.name, *rows.shape)
    size = rows.shape[0] // num_samples
    writer.emit(ScaleFeatureMaps(result, rows.name, factors.name, size))
    order = samples + places + features
    seen = see(result, [maps.shape[index] for index in order])
    return Value(result, seen.layout.permute([order.index(index) for index in range(rank)]))
