"""Losses of rows with class indices as targets, reduced to one number or not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.operations.checks import (
    not_a_matrix,
    wrong_gradient,
    wrong_groups,
    wrong_vector,
)
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import IndexName, ParameterName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors
    from onewafer.graph.tensor import Tensor

__all__ = [
    "CrossEntropy",
    "CrossEntropyGradient",
    "LogSoftmax",
    "LogSoftmaxGradient",
    "NegativeLogLikelihood",
    "NegativeLogLikelihoodGradient",
    "Reduction",
]

IGNORED = -100
"""The default target of ignored rows, as in PyTorch."""
_ONE = (1, 1)
"""The shape of a loss that is one number."""


class Reduction(StrEnum):
    """The reduction of the losses of rows or elements."""

    NONE = "none"
    MEAN = "mean"
    SUM = "sum"


class _OfRows(Operation):
    """A loss of rows, each with a class index as its target."""

    __slots__ = ()

    places = Place.IN_HEAD
    joins_rows = True

    input: ValueName
    targets: IndexName
    weights: ParameterName | None
    ignored: int
    reduction: Reduction

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of one number, or of one for each row."""
        return _shape_of_rows(tensors[self.input], self.reduction)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        weights = None if self.weights is None else tensors[self.weights]
        return _wrong_rows(tensors[self.input], tensors[self.targets], weights)

    def _reduce(self, launch: Launch, losses: Array) -> Array:
        """Return the result for the losses of the rows."""
        match self.reduction:
            case Reduction.NONE:
                return losses[:, np.newaxis]
            case Reduction.SUM:
                return losses.sum().reshape(_ONE)
            case Reduction.MEAN:
                total = _Targets.of(launch, self).weights.sum()
                with np.errstate(invalid="ignore"):  # all rows ignored: NaN, as in PyTorch
                    return np.divide(losses.sum(), total).reshape(_ONE)


@dataclass(frozen=True, slots=True, eq=False)
class _Targets:
    """The target classes of rows, and the weight of each row."""

    classes: Array
    """0 for rows that are ignored."""
    counts: Array
    """False for rows that are ignored."""
    weights: Array
    """Weights of the classes; 0 for rows that are ignored."""
    of_classes: Array
    """The weights of all classes."""

    @staticmethod
    def of(launch: Launch, operation: _OfRows | _OfRowsGradient) -> _Targets:
        """Return the targets of a launch; raise HostError for an invalid class."""
        classes, rows = launch[operation.targets][:, 0], launch[operation.input]
        num_classes = rows.shape[1]
        counts = classes != operation.ignored
        wrong = classes[counts & ((classes < 0) | (classes >= num_classes))]
        if wrong.size:
            raise HostError(
                f"{operation.targets!r} has the target {wrong[0]}; "
                f"there are classes 0 to {num_classes - 1}"
            )
        name = operation.weights
        weights = np.ones(num_classes, rows.dtype) if name is None else launch[name]
        classes = np.where(counts, classes, 0)
        return _Targets(classes, counts, np.where(counts, weights[classes], 0), weights)

    def row_gradients(self, gradient: Array, reduction: Reduction) -> Array:
        """Return the gradient of each row's loss, `[rows, 1]`, for the gradient of the result."""
        if reduction is not Reduction.MEAN:
            return np.broadcast_to(gradient, (len(self.classes), 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.broadcast_to(gradient / self.weights.sum(), (len(self.classes), 1))

    def desired(self, smoothing: float) -> Array:
        """Return the factor of each −log(probability), `[rows, classes]`; 0 in ignored rows."""
        count = len(self.of_classes)
        rows = np.arange(len(self.classes))
        factors = np.where(self.counts[:, np.newaxis], self.of_classes, 0) * (smoothing / count)
        factors[rows, self.classes] += self.weights * (1 - smoothing)
        return factors


def _shape_of_rows(source: Tensor, reduction: Reduction) -> tuple[int, ...]:
    return (source.shape[0], 1) if reduction is Reduction.NONE else _ONE


def _wrong_rows(source: Tensor, targets: Tensor, weights: Tensor | None) -> str | None:
    """Return an error about the shapes of rows, targets and weights, or None."""
    wrong = not_a_matrix("input", source)
    if wrong is not None:
        return wrong
    rows, classes = source.shape
    if targets.shape != (rows, 1):
        return f"the targets have shape {targets.shape}, must be ({rows}, 1)"
    return None if weights is None else wrong_vector("vector of weights", weights, classes)


def _log_softmax(groups: Array) -> Array:
    """Return the logarithm of the softmax over the last dimension."""
    shifted = groups - groups.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True)
class CrossEntropy(_OfRows):
    """The cross entropy between the softmax of each row and its target class.

    With p = softmax(input[r]), the target t and weights w of C classes, the loss of row r is
    `−(1 − smoothing) · w[t] · log(p[t]) − smoothing / C · Σ_c w[c] · log(p[c])`, and 0 if the
    target is ignored. The mean divides by the sum of the targets' weights.
    """

    element_flop = 4
    """For each element: maximum, subtract it, exponential, sum."""

    input: ValueName
    """Shape (rows, classes); two-dimensional."""
    targets: IndexName
    """Type i32, shape (rows, 1)."""
    weights: ParameterName | None = None
    """A parameter of shape (classes,); None: all are 1."""
    ignored: int = IGNORED
    """The target value of rows that the loss ignores."""
    smoothing: float = 0.0
    """Label smoothing: the part of each target that all classes share, 0 to 1."""
    reduction: Reduction = Reduction.MEAN

    def wrong_number(self) -> str | None:
        if not 0 <= self.smoothing <= 1:
            return f"the label smoothing is {self.smoothing}, must be from 0 to 1"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations, with three for each row."""
        source = tensors[self.input]
        element = self.element_flop + (1 if self.smoothing else 0)
        return element * source.num_elements + 3 * source.shape[0]

    def evaluate(self, launch: Launch) -> Array:
        desired = _Targets.of(launch, self).desired(self.smoothing)
        return self._reduce(launch, -(desired * _log_softmax(launch[self.input])).sum(axis=1))

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        for name in self.parameter_operands:
            backward.refuse(self, name, "weights of classes are no weights of a layer")
        backward.give(
            self.input,
            CrossEntropyGradient,
            gradient,
            self.input,
            self.targets,
            self.weights,
            self.ignored,
            self.smoothing,
            self.reduction,
        )


class _OfRowsGradient(Operation):
    """The gradient of the input of a loss of rows."""

    __slots__ = ()

    gradient: ValueName
    input: ValueName
    targets: IndexName
    weights: ParameterName | None
    ignored: int
    reduction: Reduction

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.input].shape

    def wrong_operand(self, tensors: Tensors) -> str | None:
        source = tensors[self.input]
        weights = None if self.weights is None else tensors[self.weights]
        wrong = _wrong_rows(source, tensors[self.targets], weights)
        expected = _shape_of_rows(source, self.reduction)
        return wrong or wrong_gradient(tensors[self.gradient], expected)

    def _row_gradients(self, launch: Launch, targets: _Targets) -> Array:
        """Return the gradient of each row's loss, `[rows, 1]`."""
        return targets.row_gradients(launch[self.gradient], self.reduction)


@dataclass(frozen=True, slots=True)
class CrossEntropyGradient(_OfRowsGradient):
    """Compute the gradient of the input of a `CrossEntropy`.

    With u[r, c] the factor of −log(p[r, c]) in the loss of row r, and g[r] the gradient of that
    loss: `result[r, c] = g[r] · (p[r, c] · Σ u[r] − u[r, c])`.
    """

    element_flop = 6
    """For each element: maximum, subtract it, exponential, sum, scale, factor."""

    gradient: ValueName
    input: ValueName
    """Shape (rows, classes); two-dimensional."""
    targets: IndexName
    """Type i32, shape (rows, 1)."""
    weights: ParameterName | None = None
    ignored: int = IGNORED
    smoothing: float = 0.0
    reduction: Reduction = Reduction.MEAN

    def evaluate(self, launch: Launch) -> Array:
        targets = _Targets.of(launch, self)
        desired = targets.desired(self.smoothing)
        probabilities = np.exp(_log_softmax(launch[self.input]))
        difference = probabilities * desired.sum(axis=1, keepdims=True) - desired
        return difference * self._row_gradients(launch, targets)


@dataclass(frozen=True, slots=True)
class NegativeLogLikelihood(_OfRows):
    """The negative log-likelihood of each row's target class.

    The loss of row r with target t is `−weights[t] · input[r, t]`, and 0 if the target is ignored.
    The mean divides by the sum of the targets' weights.
    """

    input: ValueName
    """Log-probabilities, shape (rows, classes); two-dimensional."""
    targets: IndexName
    """Type i32, shape (rows, 1)."""
    weights: ParameterName | None = None
    """A parameter of shape (classes,); None: all are 1."""
    ignored: int = IGNORED
    """The target value of rows that the loss ignores."""
    reduction: Reduction = Reduction.MEAN

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations: a product and a sum for each row."""
        return 2 * tensors[self.input].shape[0]

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return one element for each row, and the targets."""
        return (tensors[self.targets], tensors[self.targets])

    def evaluate(self, launch: Launch) -> Array:
        targets = _Targets.of(launch, self)
        rows = np.arange(len(targets.classes))
        return self._reduce(launch, -targets.weights * launch[self.input][rows, targets.classes])

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        for name in self.parameter_operands:
            backward.refuse(self, name, "weights of classes are no weights of a layer")
        backward.give(
            self.input,
            NegativeLogLikelihoodGradient,
            gradient,
            self.input,
            self.targets,
            self.weights,
            self.ignored,
            self.reduction,
        )


@dataclass(frozen=True, slots=True)
class NegativeLogLikelihoodGradient(_OfRowsGradient):
    """Compute the input gradient of a `NegativeLogLikelihood`: −weight at each target."""

    element_flop = 0

    gradient: ValueName
    input: ValueName
    """The input of the loss, of which only the shape is read."""
    targets: IndexName
    """Type i32, shape (rows, 1)."""
    weights: ParameterName | None = None
    ignored: int = IGNORED
    reduction: Reduction = Reduction.MEAN

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the gradient and the targets."""
        return (tensors[self.gradient], tensors[self.targets])

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations: two products for each row."""
        return 2 * tensors[self.input].shape[0]

    def evaluate(self, launch: Launch) -> Array:
        targets = _Targets.of(launch, self)
        return -targets.desired(0) * self._row_gradients(launch, targets)


@dataclass(frozen=True, slots=True)
class LogSoftmax(Operation):
    """The logarithm of softmax: `result[g] = input[g] − m − log(Σ exp(input[g] − m))`.

    m is the maximum of the group g of features of a row.
    """

    places = Place.BEFORE_ATTENTION | Place.WITH_OPERAND | Place.IN_HEAD
    element_flop = 5
    """Maximum, subtract it, exponential, sum, subtract."""

    input: ValueName
    groups: int = 1
    """Groups of consecutive features of equal size."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return wrong_groups(tensors[self.input].shape[-1], self.groups)

    def evaluate(self, launch: Launch) -> Array:
        rows = launch[self.input]
        groups = rows.reshape(*rows.shape[:-1], self.groups, -1)
        return _log_softmax(groups).reshape(rows.shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, LogSoftmaxGradient, gradient, self.result.name, self.groups)


@dataclass(frozen=True, slots=True)
class LogSoftmaxGradient(Operation):
    """Compute the gradient of the input of a `LogSoftmax` from its result.

    For a group g of a row: `result[g] = gradient[g] − exp(logarithms[g]) · Σ gradient[g]`.
    """

    element_flop = 4
    """Sum, exponential, product, subtract."""

    gradient: ValueName
    logarithms: ValueName
    groups: int = 1
    """Groups of consecutive features of equal size."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        shape = tensors[self.logarithms].shape
        wrong = wrong_groups(shape[-1], self.groups)
        return wrong or wrong_gradient(tensors[self.gradient], shape)

    def evaluate(self, launch: Launch) -> Array:
        gradient, logarithms = (launch[name] for name in self.activation_operands)
        groups = gradient.reshape(*gradient.shape[:-1], self.groups, -1)
        probabilities = np.exp(logarithms).reshape(groups.shape)
        return (groups - probabilities * groups.sum(axis=-1, keepdims=True)).reshape(gradient.shape)
