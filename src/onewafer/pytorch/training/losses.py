"""Losses that a script takes of a result of the wafer, as operations behind those of the model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch

from onewafer.graph import (
    Activation,
    ActivationFunction,
    CrossEntropy,
    DataType,
    ElementLoss,
    LogSoftmax,
    LossFunction,
    NegativeLogLikelihood,
    Reduction,
    ScriptName,
    Tensor,
)
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.lowering import Layout
from onewafer.pytorch.lowering.losses import LEAST_DELTA

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Graph, Operation

    Array = NDArray[Any]

_IGNORED = -100
"""The target of rows that do not count, unless a script chooses another one."""
_OF_CLASSES = {
    "target": None,
    "weight": None,
    "size_average": None,
    "ignore_index": _IGNORED,
    "reduce": None,
    "reduction": "mean",
}
"""Arguments after the first one, with their values where they are left out."""
_OF_CROSS_ENTROPY = {**_OF_CLASSES, "label_smoothing": 0.0}
_OF_ELEMENTS = {"target": None, "size_average": None, "reduce": None, "reduction": "mean"}
_OF_MSE = {**_OF_ELEMENTS, "weight": None}
_OF_HUBER = {"target": None, "reduction": "mean", "delta": 1.0, "weight": None}
_OF_SMOOTH = {**_OF_ELEMENTS, "beta": 1.0}
_OF_DIVERGENCE = {**_OF_ELEMENTS, "log_target": False}
_OF_BINARY = {"target": None, "weight": None, **_OF_ELEMENTS, "pos_weight": None}


class Compared(NamedTuple):
    """The tensor that a loss is taken of."""

    output: Tensor
    """The output of the graph."""
    layout: Layout
    """The layout of the script's tensor in it."""
    logits: torch.Tensor


@dataclass(frozen=True, slots=True)
class Loss(ABC):
    """A loss with its options, of one output of a model."""

    needs_all_rows: ClassVar[bool] = False
    """True if every row of a launch counts, so that launches cannot be padded."""

    arguments: ClassVar[Mapping[str, object]]
    """Arguments of its function after the first one, with their values where they are left out."""
    weights_argument: ClassVar[str | None] = None
    """The one with the weights of classes or features; None: they cannot have any."""

    output: str
    """The output of the graph that is compared."""
    reduction: Reduction
    num_weights: int = field(default=0, kw_only=True)
    """Classes or features that have weights, which are a parameter of the graph; 0: none have."""
    line: str = field(default="", compare=False, kw_only=True)
    """`file:line` of the script that takes it."""

    @property
    def result(self) -> str:
        """The name of the loss in the graph."""
        return f"{self.output}.loss"

    @property
    def target(self) -> str:
        """The name of the input that the output is compared with."""
        return f"{self.output}.target"

    @property
    def weights(self) -> str | None:
        """The name of weights in the graph; None: there are none."""
        return f"{self.output}.weights" if self.num_weights else None

    @classmethod
    def find_weights(
        cls, args: tuple[object, ...], kwargs: Mapping[str, Any]
    ) -> torch.Tensor | None:
        """Return the weights in a call of its function; None: there are none."""
        return cls._options(args, kwargs)[cls.weights_argument] if cls.weights_argument else None

    @classmethod
    def _options(cls, args: tuple[object, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**cls.arguments, **dict(zip(cls.arguments, args, strict=False)), **kwargs}

    def store(self, weights: torch.Tensor | None) -> dict[str, Array]:
        """Return the arrays of the loss that stay on the wafer, by name in the graph."""
        if weights is None or self.weights is None:
            return {}
        row = to_numpy(weights).reshape(-1)
        return {self.weights: np.ascontiguousarray(np.broadcast_to(row, (self.num_weights,)))}

    def append(self, graph: Graph) -> Graph:
        """Return the graph with this loss behind the model."""
        source = graph.tensor(self.output)
        result = Tensor(self.result, (1, 1), graph.dtype)
        return replace(
            graph,
            inputs=(*graph.inputs, self._target_of(source)),
            parameters=(*graph.parameters, *self._parameters_of(source)),
            operations=(*graph.operations, self._operation(result)),
            outputs=(*graph.outputs, self.result),
            script_names={**graph.script_names, self.result: ScriptName(source=self.line)},
        )

    @abstractmethod
    def targets(self, target: torch.Tensor, rows: int, layout: Layout) -> Array:
        """Return the targets for a launch of so many rows.

        The layout is that of the script's tensor, which is the output or a view of it.
        """

    @abstractmethod
    def _target_of(self, source: Tensor) -> Tensor:
        """Return the input of targets for an output."""

    def _parameters_of(self, source: Tensor) -> tuple[Tensor, ...]:
        """Return the loss' own parameters in the graph."""
        if self.weights is None:
            return ()
        return (Tensor(self.weights, source.shape[1:], source.dtype),)

    @abstractmethod
    def _operation(self, result: Tensor) -> Operation:
        """Return the operation."""


@dataclass(frozen=True, slots=True)
class ClassLoss(Loss):
    """Cross entropy with the indices of classes."""

    arguments = _OF_CROSS_ENTROPY
    weights_argument = "weight"

    ignored: int = _IGNORED
    smoothing: float = 0.0

    @classmethod
    def of(
        cls, compared: Compared, args: tuple[object, ...], kwargs: Mapping[str, Any]
    ) -> Loss | None:
        """Return the loss of a call of its function; None: the wafer has no such loss."""
        (output, layout, logits), options = compared, cls._options(args, kwargs)
        target, reduction = options["target"], _reduction(options)
        if reduction is None or not isinstance(target, torch.Tensor):
            return None
        has_classes = target.dtype is torch.int64 and target.shape == logits.shape[:1]
        if not has_classes or layout != Layout.of_matrix(output.shape):
            return None
        weights = options["weight"]
        if not _are_classes(target, logits, options) or not _are_weights(weights, logits):
            return None
        smoothing = float(options.get("label_smoothing", 0.0))
        if not 0 <= smoothing <= 1:
            return None
        count, ignored = 0 if weights is None else len(weights), options["ignore_index"]
        return cls(output.name, reduction, ignored, smoothing, num_weights=count)

    def targets(self, target: torch.Tensor, rows: int, layout: Layout) -> Array:
        """Return the classes; rows that a launch has beyond those of the call do not count."""
        del layout  # the tensor is the output
        found = np.full((rows, 1), self.ignored, np.int32)
        found[: len(target), 0] = to_numpy(target)
        return found

    def _target_of(self, source: Tensor) -> Tensor:
        return Tensor(self.target, (source.shape[0], 1), DataType.I32)

    def _operation(self, result: Tensor) -> Operation:
        return CrossEntropy(
            result,
            self.output,
            self.target,
            self.weights,
            self.ignored,
            self.smoothing,
            self.reduction,
        )


@dataclass(frozen=True, slots=True)
class LikelihoodLoss(ClassLoss):
    """The negative log-likelihood of log-probabilities, with the indices of classes."""

    arguments = _OF_CLASSES

    def _operation(self, result: Tensor) -> Operation:
        operands = self.output, self.target, self.weights
        return NegativeLogLikelihood(result, *operands, self.ignored, self.reduction)


@dataclass(frozen=True, slots=True)
class OfElements(Loss):
    """The mean, or the sum, of a function of each element and its target."""

    needs_all_rows = True
    function: ClassVar[LossFunction]
    arguments = _OF_MSE

    scale: float = 1.0
    """The factor of the mean or the sum."""
    delta: float = 1.0
    """δ of Huber's loss."""

    @classmethod
    def of(
        cls, compared: Compared, args: tuple[object, ...], kwargs: Mapping[str, Any]
    ) -> Loss | None:
        """Return the loss of a call of its function; None: the wafer has no such loss."""
        (output, _, logits), options = compared, cls._options(args, kwargs)
        target = options["target"]
        if options.get("weight") is not None or not isinstance(target, torch.Tensor):
            return None
        is_alike = (target.dtype, target.shape) == (logits.dtype, logits.shape)
        if not is_alike or target.requires_grad or logits.numel() != output.num_elements:
            return None
        return cls._with_options(compared, options)

    @classmethod
    def _with_options(cls, compared: Compared, options: Mapping[str, Any]) -> Loss | None:
        """Return the loss of a target that fits; None: the wafer has none with such options."""
        reduction = _reduction(options)
        return None if reduction is None else cls(compared.output.name, reduction)

    def targets(self, target: torch.Tensor, rows: int, layout: Layout) -> Array:
        values = to_numpy(target)
        found = np.empty((rows, values.size // rows), values.dtype)
        places = layout.take(np.arange(found.size).reshape(found.shape))
        found.reshape(-1)[places.reshape(-1)] = values.reshape(-1)
        return found

    def _target_of(self, source: Tensor) -> Tensor:
        return replace(source, name=self.target)

    def _operation(self, result: Tensor) -> Operation:
        operands = self.output, self.target
        numbers = self.function, self.reduction, self.scale, self.delta, self.weights
        return ElementLoss(result, *operands, *numbers)


@dataclass(frozen=True, slots=True)
class SquareLoss(OfElements):
    """The mean, or the sum, of the squares of differences."""

    function = LossFunction.SQUARE


@dataclass(frozen=True, slots=True)
class AbsoluteLoss(OfElements):
    """The mean, or the sum, of the magnitudes of differences."""

    function = LossFunction.ABSOLUTE


@dataclass(frozen=True, slots=True)
class HuberLoss(OfElements):
    """Squares of small differences, magnitudes of large ones."""

    function = LossFunction.HUBER
    arguments = _OF_HUBER

    @classmethod
    def _with_options(cls, compared: Compared, options: Mapping[str, Any]) -> Loss | None:
        reduction, delta = _reduction(options), float(options["delta"])
        if reduction is None or not LEAST_DELTA <= delta < math.inf:
            return None
        return cls(compared.output.name, reduction, delta=delta)


@dataclass(frozen=True, slots=True)
class SmoothLoss(HuberLoss):
    """Huber's loss divided by its δ, which is called β."""

    arguments = _OF_SMOOTH

    @classmethod
    def _with_options(cls, compared: Compared, options: Mapping[str, Any]) -> Loss | None:
        reduction, beta = _reduction(options), float(options["beta"])
        if reduction is None or not (beta == 0 or LEAST_DELTA <= beta < math.inf):
            return None
        if not beta:
            return AbsoluteLoss(compared.output.name, reduction)
        return cls(compared.output.name, reduction, scale=1 / beta, delta=beta)


@dataclass(frozen=True, slots=True)
class BinaryLoss(OfElements):
    """Binary cross entropy of probabilities."""

    function = LossFunction.BINARY
    arguments = _OF_BINARY

    @classmethod
    def _with_options(cls, compared: Compared, options: Mapping[str, Any]) -> Loss | None:
        if not bool(((compared.logits >= 0) & (compared.logits <= 1)).all()):
            return None  # PyTorch has an error to raise
        found = super(BinaryLoss, cls)._with_options(compared, options)
        return found if options["pos_weight"] is None else None


@dataclass(frozen=True, slots=True)
class BinaryLogitsLoss(OfElements):
    """Binary cross entropy of logits, perhaps with weights of features."""

    function = LossFunction.BINARY_LOGITS
    arguments = _OF_BINARY
    weights_argument = "pos_weight"

    @classmethod
    def _with_options(cls, compared: Compared, options: Mapping[str, Any]) -> Loss | None:
        output, layout, logits = compared
        reduction, weights = _reduction(options), options["pos_weight"]
        if reduction is None or weights is None:
            return None if reduction is None else cls(output.name, reduction)
        if not isinstance(weights, torch.Tensor) or weights.requires_grad:
            return None
        is_row = weights.shape in (logits.shape[-1:], (1, *logits.shape[-1:]))
        is_row &= layout == Layout.of_matrix(output.shape)
        if weights.dtype is not logits.dtype or not (is_row or weights.numel() == 1):
            return None
        return cls(output.name, reduction, num_weights=output.shape[-1])


@dataclass(frozen=True, slots=True)
class DivergenceLoss(OfElements):
    """The Kullback-Leibler divergence of log-probabilities from target probabilities."""

    function = LossFunction.DIVERGENCE
    arguments = _OF_DIVERGENCE

    @classmethod
    def _with_options(cls, compared: Compared, options: Mapping[str, Any]) -> Loss | None:
        name, reduction, scale = compared.output.name, _reduction(options), 1.0
        if options["reduction"] == "batchmean" and _reduction({**options, "reduction": "sum"}):
            reduction, scale = Reduction.SUM, 1 / compared.logits.shape[0]
        if reduction is None:
            return None
        if options["log_target"]:
            return LogDivergenceLoss(name, reduction, scale)
        is_share = bool((options["target"] >= 0).all())
        return cls(name, reduction, scale) if is_share else None


@dataclass(frozen=True, slots=True)
class LogDivergenceLoss(OfElements):
    """The Kullback-Leibler divergence of log-probabilities from those of the target."""

    function = LossFunction.LOG_DIVERGENCE


KINDS: Mapping[str, type[ClassLoss | OfElements]] = {
    "cross_entropy": ClassLoss,
    "nll_loss": LikelihoodLoss,
    "mse_loss": SquareLoss,
    "l1_loss": AbsoluteLoss,
    "smooth_l1_loss": SmoothLoss,
    "huber_loss": HuberLoss,
    "kl_div": DivergenceLoss,
    "binary_cross_entropy": BinaryLoss,
    "binary_cross_entropy_with_logits": BinaryLogitsLoss,
}
"""Function of `torch.nn.functional` → its loss."""


def guess_loss(graph: Graph, results: Collection[str]) -> Loss | None:
    """Return the loss that scripts take most often of a model with one result.

    `results` are the outputs of the graph that the script gets; others, as the statistics of batch
    norms, are for buffers. A wrong guess costs a program, nothing else.
    """
    if len(results) != 1:
        return None
    (output,) = results
    if graph.tensor(output).dtype is DataType.I32:
        return None
    last = next((one for one in graph.operations if one.result.name == output), None)
    if isinstance(last, LogSoftmax):
        return LikelihoodLoss(output, Reduction.MEAN)
    if isinstance(last, Activation) and last.function is ActivationFunction.SIGMOID:
        return BinaryLoss(output, Reduction.MEAN)
    is_one = graph.tensor(output).shape[-1] == 1
    return SquareLoss(output, Reduction.MEAN) if is_one else ClassLoss(output, Reduction.MEAN)


def _reduction(options: Mapping[str, Any]) -> Reduction | None:
    """Return how losses of rows become one number; None: they do not."""
    if any(options.get(name) is not None for name in ("size_average", "reduce")):
        return None
    return {"mean": Reduction.MEAN, "sum": Reduction.SUM}.get(str(options["reduction"]))


def _are_weights(weights: object, logits: torch.Tensor) -> bool:
    """Tell whether there are no weights of classes, or a plain tensor of them."""
    if weights is None:
        return True
    if not isinstance(weights, torch.Tensor) or weights.requires_grad:
        return False
    return weights.dtype is logits.dtype and weights.shape == logits.shape[1:]


def _are_classes(target: torch.Tensor, logits: torch.Tensor, options: Mapping[str, Any]) -> bool:
    """Tell whether all targets are classes or ignored; else PyTorch has an error to raise."""
    classes = to_numpy(target)
    counted = classes[classes != options["ignore_index"]]
    return not counted.size or bool(counted.min() >= 0 and counted.max() < logits.shape[1])
