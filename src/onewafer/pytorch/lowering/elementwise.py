"""Sums, products and functions of single elements."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Exp,
    Multiply,
    Relu,
    Scale,
    ScaleFeatures,
    Softplus,
)
from onewafer.pytorch.lowering.features import apply_to_features, scale_feature_maps
from onewafer.pytorch.lowering.losses import divide_loss
from onewafer.pytorch.lowering.normalisation import normalise, scale_normalised
from onewafer.pytorch.lowering.operands import (
    Centred,
    External,
    FormError,
    Gate,
    InverseRoot,
    Mean,
    MeanSquare,
    Normalised,
    Origin,
    Partners,
    Polynomial,
    PositionProduct,
    Probabilities,
    Scores,
    Shifted,
    Value,
    see,
)
from onewafer.pytorch.lowering.registry import Number, lowers
from onewafer.pytorch.lowering.rotary import add_products, times_table
from onewafer.pytorch.lowering.softmax import add_mask
from onewafer.pytorch.lowering.writer import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph import Operation
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_MOST_EXPONENT = 3
_CUBE_FACTOR = 0.044715
_ROOT = math.sqrt(2 / math.pi)
"""Constants of the function that PyTorch calls gelu with `approximate="tanh"`."""


def _is_close(left: float, right: float) -> bool:
    """Tell whether two constants are equal up to the digits that source code has."""
    return math.isclose(left, right, rel_tol=1e-6)


# --- functions of one operand ------------------------------------------------------------------


@lowers("relu.default")
def _lower_relu(writer: GraphWriter, call: Call) -> Operand:
    return _apply(writer, call, call.operand(0), Relu)


@lowers("softplus.default")
def _lower_softplus(writer: GraphWriter, call: Call) -> Operand:
    beta, threshold = (
        float(cast("float", call.constant(index, name, default)))
        for index, name, default in ((1, "beta", 1.0), (2, "threshold", 20.0))
    )
    if not (beta and math.isfinite(beta)) or not threshold >= 0:
        raise call.unsupported(
            f"softplus with beta={beta:g} and threshold={threshold:g} is not supported; beta "
            "must be finite and not 0, the threshold at least 0"
        )
    return _apply(writer, call, call.operand(0), Softplus, beta, threshold)


@lowers("silu.default")
def _lower_silu(writer: GraphWriter, call: Call) -> Operand:
    return _apply(writer, call, call.operand(0), Activation, ActivationFunction.SILU)


@lowers("sigmoid.default")
def _lower_sigmoid(writer: GraphWriter, call: Call) -> Operand:
    return _apply(writer, call, call.operand(0), Activation, ActivationFunction.SIGMOID)


@lowers("gelu.default")
def _lower_gelu(writer: GraphWriter, call: Call) -> Operand:
    match call.constant(1, "approximate", "none"):
        case "none":
            function = ActivationFunction.GELU
        case "tanh":
            function = ActivationFunction.GELU_TANH
        case other:
            raise call.unsupported(f"approximate={other!r} is not supported; use 'none' or 'tanh'")
    return _apply(writer, call, call.operand(0), Activation, function)


@lowers("tanh.default")
def _lower_tanh(writer: GraphWriter, call: Call) -> Operand:
    operand = call.operand(0)
    if isinstance(operand, Polynomial) and {*operand.terms} == {1, 3}:
        first, third = operand.terms[1], operand.terms[3]
        if _is_close(first, _ROOT) and _is_close(third, _ROOT * _CUBE_FACTOR):
            return Gate(operand.value, ActivationFunction.GELU_TANH)
    return _apply(writer, call, operand, Activation, ActivationFunction.TANH)


@lowers("exp.default")
def _lower_exp(writer: GraphWriter, call: Call) -> Operand:
    return _apply(writer, call, call.operand(0), Exp)


@lowers("erf.default")
def _lower_erf(writer: GraphWriter, call: Call) -> Operand:
    del writer
    match call.operand(0):
        case Polynomial(value, terms) if {*terms} == {1} and _is_close(terms[1], math.sqrt(0.5)):
            return Gate(value, ActivationFunction.GELU)
        case _:
            raise call.unsupported("erf is supported only as a part of GELU, as erf(x / √2)")


def _apply(
    writer: GraphWriter,
    call: Call,
    operand: Operand,
    kind: Callable[..., Operation],
    *options: object,
) -> Value:
    """Write an operation on each element of an operand."""
    source = writer.whole(_narrow(writer, call, operand))
    result = writer.result(call.node.name, *source.tensor.shape)
    writer.emit(kind(result, source.tensor.name, *options))
    return Value(result, source.layout)


def _narrow(writer: GraphWriter, call: Call, operand: Operand) -> Value:
    """Return an operand as a value in the graph's format; refuse one converted to float32."""
    value = writer.value(operand)
    if value.is_wide:
        raise call.unsupported("a float32 step in a float16 model is not supported")
    return value


@lowers("neg.default")
def _lower_neg(writer: GraphWriter, call: Call) -> Operand:
    return _multiple(call, _admit_tensor(writer, call, 0), -1.0)


@lowers("pow.Tensor_Scalar")
def _lower_power(writer: GraphWriter, call: Call) -> Operand:
    operand, number = _admit_tensor(writer, call, 0), call.operand_or_number(1)
    exponent = number.value if isinstance(number, Number) else math.nan
    if isinstance(operand, MeanSquare) and exponent == -0.5:  # noqa: PLR2004 - inverse root
        return InverseRoot(operand)
    if isinstance(operand, Centred) and exponent == 2:  # noqa: PLR2004 - a square
        return replace(operand, is_squared=True)
    if exponent not in (1.0, 2.0, 3.0):
        raise call.unsupported(f"the exponent {exponent} is not supported; 2 and 3 are")
    polynomial = _polynomial(writer, operand)
    result = polynomial
    for _ in range(round(exponent) - 1):
        result = _multiply_polynomials(call, result, polynomial)
    return _simplify(result)


@lowers("square.default")
def _lower_square(writer: GraphWriter, call: Call) -> Operand:
    operand = call.operand(0)
    if isinstance(operand, Centred):
        return replace(operand, is_squared=True)
    polynomial = _polynomial(writer, operand)
    return _simplify(_multiply_polynomials(call, polynomial, polynomial))


def _admit(writer: GraphWriter, call: Call, operand: Operand | Number) -> Operand | Number:
    """Return an argument as a value, as a number, or as it is where it is broadcast to others.

    A buffer or parameter without dimensions is a number: the graph holds for its present one.
    """
    if isinstance(operand, External) and not operand.shape and operand.origin is not Origin.DATA:
        return Number(float(writer.decide(operand)))
    if isinstance(operand, External) and operand.origin is Origin.DATA:
        is_other = len(operand.shape) > 0 and operand.shape != call.shape
        return operand if is_other else writer.value(operand)
    return writer.value(operand) if isinstance(operand, Probabilities) else operand


def _admit_tensor(writer: GraphWriter, call: Call, index: int) -> Operand:
    operand = _admit(writer, call, call.operand(index))
    if isinstance(operand, Number):
        raise call.unsupported(f"its argument {index} is the number {operand.value}, not a tensor")
    return operand


# --- sums --------------------------------------------------------------------------------------


@lowers("add.Tensor", "add.Scalar")
def _lower_add(writer: GraphWriter, call: Call) -> Operand:
    if call.constant(2, "alpha", 1) != 1:
        raise call.unsupported("alpha other than 1 is not supported")
    left, right = _commuting_operands(writer, call)
    if isinstance(right, Number):
        return _add_number(call, left, right.value)
    return _add(writer, call, left, right)


def _commuting_operands(writer: GraphWriter, call: Call) -> tuple[Operand, Operand | Number]:
    """Return the two operands of a call; if one is a number, it is the second."""
    left, right = (_admit(writer, call, call.operand_or_number(index)) for index in range(2))
    if not isinstance(left, Number):
        return left, right
    if not isinstance(right, Number):
        return right, left
    raise call.unsupported("its operands are numbers, not tensors")


@lowers("sub.Tensor", "sub.Scalar")
def _lower_subtract(writer: GraphWriter, call: Call) -> Operand:
    if call.constant(2, "alpha", 1) != 1:
        raise call.unsupported("alpha other than 1 is not supported")
    left, right = (_admit(writer, call, call.operand_or_number(index)) for index in range(2))
    if isinstance(right, Number) and not isinstance(left, Number):
        return _add_number(call, left, -right.value)
    if isinstance(right, Number):
        raise call.unsupported("its operands are numbers, not tensors")
    if isinstance(right, Mean) and left == right.value:
        return Centred(right.value)
    negative = _multiple(call, right, -1.0)
    if isinstance(left, Number):
        return _add_number(call, negative, left.value)
    return _add(writer, call, left, negative)


def _add_number(call: Call, operand: Operand, number: float) -> Operand:
    match operand:
        case MeanSquare() if number > 0:
            return replace(operand, epsilon=operand.epsilon + number)
        case Gate(is_shifted=False) if number == 1:
            return replace(operand, is_shifted=True)
        case Value() | Polynomial() if number == 0:
            return operand
        case Value():
            return Polynomial(operand, {1: 1.0, 0: number})
        case Polynomial():
            terms = dict(operand.terms)
            terms[0] = terms.get(0, 0.0) + number
            return _simplify(replace(operand, terms=terms))
        case _:
            raise call.unsupported(f"adding a number to {_name(operand)} is not supported")


def _add(writer: GraphWriter, call: Call, left: Operand, right: Operand) -> Operand:
    match left, right:
        case PositionProduct(), PositionProduct():
            return add_products(writer, call, left, right)
        case (Scores(), External() as mask) | (External() as mask, Scores()):
            scores = left if isinstance(left, Scores) else right
            assert isinstance(scores, Scores), "the other one is the mask"  # invariant
            return add_mask(writer, call, scores, mask)
        case (Value() | Polynomial(), Value() | Polynomial()) if _share_base(
            left, right
        ) and Polynomial in (type(left), type(right)):
            first, second = _polynomial(writer, left), _polynomial(writer, right)
            terms = dict(first.terms)
            for exponent, factor in second.terms.items():
                terms[exponent] = terms.get(exponent, 0.0) + factor
            return _simplify(Polynomial(first.value, terms))
        case (External() as stored, other) | (other, External() as stored):
            return _add_stored(writer, call, other, stored)
        case _:
            return _combine(writer, call, left, right, kind=Add)


def _add_stored(writer: GraphWriter, call: Call, operand: Operand, stored: External) -> Operand:
    """Add a stored vector, or a stored row for every position."""
    if stored.origin is Origin.DATA and stored.shape != call.shape[-1:]:
        return _combine(writer, call, operand, _sent(writer, call, stored), kind=Add)
    if isinstance(operand, Shifted) and operand.value.shape == call.shape:
        name = f"{call.node.name}__table"
        table = writer.view(operand.table, name, torch.ops.aten.add.Tensor, stored)
        return Shifted(operand.value, table)
    value = _narrow(writer, call, operand)
    if value.shape != call.shape:
        raise call.unsupported(f"broadcasting {value.shape} over {stored.shape} is not supported")
    features = call.shape[-1:]
    if stored.tensor.numel() == features[0] and stored.shape[-1:] == features:
        name = f"{stored.name}__vector"
        is_vector = stored.shape == features
        vector = (
            stored
            if is_vector
            else writer.view(stored, name, torch.ops.aten.reshape.default, list(features))
        )
        rows, bias = writer.rows(value), writer.parameter(vector, "bias")
        result = writer.result(call.node.name, *rows.shape)
        writer.emit(AddBias(result, rows.name, bias.name))
        return see(result, call.shape)
    shifted = apply_to_features(writer, call, AddBias, value, stored)
    if shifted is not None:
        return shifted
    return Shifted(value, stored)


def _sent(writer: GraphWriter, call: Call, argument: External) -> Value:
    """Return an argument that the host broadcasts to the call's shape and sends with each call.

    A tensor that a module keeps without registering it, as a table of sines, comes this way.
    """
    if argument.tensor.requires_grad:
        raise call.unsupported(f"broadcasting {argument.shape} to {call.shape} is not supported")
    name, shape = f"{argument.name}__for_{call.node.name}", [*call.shape]
    whole = writer.view(argument, f"{name}_whole", torch.ops.aten.expand.default, shape)
    matrix = [math.prod(shape[:-1]), shape[-1]]
    rows = writer.rows(writer.view(whole, name, torch.ops.aten.reshape.default, matrix))
    return see(rows, call.shape)


def _combine(
    writer: GraphWriter,
    call: Call,
    left: Operand,
    right: Operand,
    *,
    kind: type[Add | Multiply],
) -> Value:
    """Write an operation on two matrices whose values have equal shapes and layouts."""
    for operand in (left, right):
        if isinstance(operand, External):
            msg = f"{_name(operand)} is not supported as an operand here"
            raise call.unsupported(msg)
    first, second = _narrow(writer, call, left), _narrow(writer, call, right)
    for value in (first, second):
        if math.prod(value.shape) != math.prod(call.shape):
            raise call.unsupported(f"broadcasting {value.shape} to {call.shape} is not supported")
    first, second = (
        writer.whole(replace(v, layout=v.layout.expand(call.shape))) for v in (first, second)
    )
    if (first.layout, first.tensor.shape) != (second.layout, second.tensor.shape):
        first, second = (see(writer.rows(value), call.shape) for value in (first, second))
    result = writer.result(call.node.name, *first.tensor.shape)
    writer.emit(kind(result, first.tensor.name, second.tensor.name))
    return Value(result, first.layout)


# --- products ----------------------------------------------------------------------------------


@lowers("mul.Tensor", "mul.Scalar")
def _lower_multiply(writer: GraphWriter, call: Call) -> Operand:
    left, right = _commuting_operands(writer, call)
    if isinstance(right, Number):
        inverse = Number(1 / right.value if right.value else 0.0)
        divided = divide_loss(writer, call, left, inverse)
        return _multiple(call, left, right.value) if divided is None else divided
    return _multiply(writer, call, left, right)


@lowers("div.Tensor", "div.Scalar")
def _lower_divide(writer: GraphWriter, call: Call) -> Operand:
    divided = divide_loss(writer, call, call.operand(0), call.operand_or_number(1))
    if divided is not None:
        return divided
    operand = _admit_tensor(writer, call, 0)
    divisor = _admit(writer, call, call.operand_or_number(1))
    if not isinstance(divisor, Number):
        raise call.unsupported("dividing by a tensor is not supported; divide by a number")
    if not divisor.value:
        raise call.unsupported("the divisor is zero")
    return _multiple(call, operand, 1 / divisor.value)


def _multiple(call: Call, operand: Operand, factor: float) -> Operand:
    match operand:
        case Value():
            return _simplify(Polynomial(operand, {1: factor}))
        case Polynomial(value, terms):
            scaled = {exponent: factor * old for exponent, old in terms.items()}
            return _simplify(Polynomial(value, scaled))
        case Scores(masks=()):
            return replace(operand, scale=operand.scale * factor)
        case PositionProduct():
            return replace(operand, factor=operand.factor * factor)
        case _ if factor == 1:
            return operand
        case _:
            raise call.unsupported(f"scaling {_name(operand)} by {factor:g} is not supported")


def _multiply(writer: GraphWriter, call: Call, left: Operand, right: Operand) -> Operand:
    match left, right:
        case (InverseRoot(square), other) | (other, InverseRoot(square)):
            return normalise(writer, call, other, square)
        case (Normalised() as norm, External() as weight) | (
            External() as weight,
            Normalised() as norm,
        ):
            return scale_normalised(writer, call, norm, weight)
        case (Partners() | Value() | Polynomial() as scaled_operand, External() as table) | (
            External() as table,
            Partners() | Value() | Polynomial() as scaled_operand,
        ):
            scaled = apply_to_features(writer, call, ScaleFeatures, scaled_operand, table)
            return times_table(call, scaled_operand, table) if scaled is None else scaled
        case (Polynomial() | Value() as factor, Gate() as gate) | (
            Gate() as gate,
            Polynomial() | Value() as factor,
        ):
            return _close_gate(writer, call, factor, gate)
        case (Polynomial() | Value(), Polynomial() | Value()) if _share_base(left, right):
            first, second = _polynomial(writer, left), _polynomial(writer, right)
            return _simplify(_multiply_polynomials(call, first, second))
        case _:
            gated = scale_feature_maps(writer, call, left, right)
            return _combine(writer, call, left, right, kind=Multiply) if gated is None else gated


def _share_base(left: Operand, right: Operand) -> bool:
    first, second = (o.value if isinstance(o, Polynomial) else o for o in (left, right))
    return first == second


def _close_gate(writer: GraphWriter, call: Call, factor: Value | Polynomial, gate: Gate) -> Operand:
    """Recognise `c · x · (1 + tanh(…))`, which is 2c · gelu(x), and the same with erf."""
    polynomial = _polynomial(writer, factor)
    if not gate.is_shifted or polynomial.value != gate.value or {*polynomial.terms} != {1}:
        raise call.unsupported(
            f"{gate.what} is supported only as a factor of the x that it is computed from"
        )
    result = _apply(writer, call, gate.value, Activation, gate.function)
    return _simplify(Polynomial(result, {1: 2 * polynomial.terms[1]}))


# --- polynomials -------------------------------------------------------------------------------


def _polynomial(writer: GraphWriter, operand: Operand) -> Polynomial:
    if isinstance(operand, Polynomial):
        return operand
    return Polynomial(writer.value(operand), {1: 1.0})


def _multiply_polynomials(call: Call, left: Polynomial, right: Polynomial) -> Polynomial:
    terms: dict[int, float] = {}
    for one, factor in left.terms.items():
        for other, second in right.terms.items():
            terms[one + other] = terms.get(one + other, 0.0) + factor * second
    if max(terms) > _MOST_EXPONENT:
        raise call.unsupported(f"the power {max(terms)} is not supported; 2 and 3 are")
    return Polynomial(left.value, terms)


def _simplify(polynomial: Polynomial) -> Operand:
    """Leave out terms of factor 0; return the value itself if only 1 · x remains."""
    terms = {exponent: factor for exponent, factor in polynomial.terms.items() if factor}
    return polynomial.value if terms == {1: 1.0} else Polynomial(polynomial.value, terms)


def _name(operand: Operand) -> str:
    match operand:
        case External(name=name):
            return f"{name!r}, which the model does not compute,"
        case Value():
            return "a computed tensor"
        case _:
            return operand.what


@write.register(Polynomial)
def write_polynomial(operand: Polynomial, writer: GraphWriter) -> Value:
    """Compute a multiple of a power; a sum of several has no operation."""
    if 0 in operand.terms:
        number = operand.terms[0]
        raise FormError(
            operand, f"adding the number {number:g} to a computed tensor is not supported"
        )
    if len(operand.terms) != 1:
        raise FormError(operand, "a sum of powers of a tensor is not supported")
    ((exponent, factor),) = operand.terms.items()
    source = writer.whole(operand.value)
    tensor = source.tensor
    for power in range(2, exponent + 1):
        product = writer.result(f"{source.tensor.name}_power_{power}", *tensor.shape)
        writer.emit(Multiply(product, tensor.name, source.tensor.name))
        tensor = product
    if factor != 1:
        scaled = writer.result(f"{source.tensor.name}_scaled", *tensor.shape)
        writer.emit(Scale(scaled, tensor.name, factor))
        tensor = scaled
    return Value(tensor, source.layout)
