"""Activation functions that bend at 0, as sums of what the wafer has: leaky relu, ELU, relu6.

The negative part of x is x − relu(x), which is exact, and has PyTorch's gradient at 0, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from onewafer.graph import Add, AddBias, Exp, Relu, Scale
from onewafer.pytorch.lowering.operands import Value
from onewafer.pytorch.lowering.registry import lowers

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph import Operation, Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""PyTorch's."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """The operations that one call becomes."""

    writer: GraphWriter
    call: Call

    def source(self) -> Value:
        """Return the first argument as a matrix."""
        if self.writer.for_counts:
            raise self.call.unsupported("it counts as one operation")
        value = self.writer.value(self.call.operand(0))
        if value.is_wide:
            raise self.call.unsupported("a float32 step in a float16 model is not supported")
        return self.writer.whole(value)

    def number(self, index: int, name: str, default: float) -> float:
        """Return an argument that is a number."""
        return float(cast("float", self.call.constant(index, name, default)))

    def relu(self, x: Tensor) -> Tensor:
        """Append max(x, 0)."""
        return self._append("relu", x, Relu)

    def exp(self, x: Tensor) -> Tensor:
        """Append eˣ."""
        return self._append("exp", x, Exp)

    def scale(self, x: Tensor, factor: float) -> Tensor:
        """Append x times a number."""
        return x if factor == 1 else self._append("scaled", x, Scale, factor)

    def shift(self, x: Tensor, number: float) -> Tensor:
        """Append x plus a number."""
        vector = self.writer.parameter(self.writer.filled(number, x.shape[-1]), "bias")
        return self._append("shifted", x, AddBias, vector.name)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Append x + y."""
        return self._append("sum", x, Add, y.name)

    def subtract(self, x: Tensor, y: Tensor) -> Tensor:
        """Append x − y."""
        return self.add(x, self.scale(y, -1.0))

    def _append(
        self, what: str, x: Tensor, kind: Callable[..., Operation], *more: object
    ) -> Tensor:
        result = self.writer.result(f"{self.call.node.name}_{what}", *x.shape)
        self.writer.emit(kind(result, x.name, *more))
        return result


@lowers("leaky_relu.default")
def _lower_leaky_relu(writer: GraphWriter, call: Call) -> Operand:
    """Write a · x + (1 − a) · relu(x)."""
    steps = _Steps(writer, call)
    source, slope = steps.source(), steps.number(1, "negative_slope", 0.01)
    x = source.tensor
    positive = steps.relu(x)
    if slope:
        positive = steps.add(steps.scale(x, slope), steps.scale(positive, 1 - slope))
    return Value(positive, source.layout)


@lowers("elu.default")
def _lower_elu(writer: GraphWriter, call: Call) -> Operand:
    steps = _Steps(writer, call)
    alpha, scale = steps.number(1, "alpha", 1.0), steps.number(2, "scale", 1.0)
    return _append_elu(steps, alpha * scale, scale, steps.number(3, "input_scale", 1.0))


@lowers("celu.default")
def _lower_celu(writer: GraphWriter, call: Call) -> Operand:
    steps = _Steps(writer, call)
    alpha = steps.number(1, "alpha", 1.0)
    return _append_elu(steps, alpha, 1.0, 1 / alpha)


@lowers("selu.default")
def _lower_selu(writer: GraphWriter, call: Call) -> Operand:
    return _append_elu(_Steps(writer, call), _SELU_ALPHA * _SELU_SCALE, _SELU_SCALE, 1.0)


def _append_elu(steps: _Steps, height: float, scale: float, rate: float) -> Value:
    """Write s · relu(x) + h · e^(r · (x − relu(x))) − h."""
    source = steps.source()
    x = source.tensor
    positive = steps.relu(x)
    negative = steps.scale(steps.subtract(x, positive), rate)
    tail = steps.shift(steps.scale(steps.exp(negative), height), -height)
    return Value(steps.add(steps.scale(positive, scale), tail), source.layout)


@lowers("relu6.default", "hardtanh.default")
def _lower_relu6(writer: GraphWriter, call: Call) -> Operand:
    """Write relu(x) − relu(x − 6), with any number for 6."""
    steps = _Steps(writer, call)
    is_6 = call.name == "aten.relu6.default"
    least, most = (
        (0.0, 6.0) if is_6 else (steps.number(1, "min_val", -1.0), steps.number(2, "max_val", 1.0))
    )
    if least or most <= 0:
        raise call.unsupported(f"limits {least:g} and {most:g} are not supported; 0 and more are")
    source = steps.source()
    x = source.tensor
    above = steps.relu(steps.shift(x, -most))
    return Value(steps.subtract(steps.relu(x), above), source.layout)
