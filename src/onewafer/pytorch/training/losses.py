"""Losses that a script takes of a result of the wafer, as operations behind those of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

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
    Tensor,
)
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.lowering import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Graph, Operation

    Array = NDArray[Any]

_IGNORED = -100
"""The target of rows that do not count, unless a script chooses another one."""


@dataclass(frozen=True, slots=True)
class Loss(ABC):
    """A loss with its options, of one output of a model."""

    needs_all_rows: ClassVar[bool] = False
    """Whether every row of a launch counts: a batch has exactly so many."""

    output: str
    """The output of the graph that is compared."""
    reduction: Reduction

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
        return None

    @classmethod
    def find_weights(
        cls, args: tuple[object, ...], kwargs: Mapping[str, Any]
    ) -> torch.Tensor | None:
        """Return the weights in a call of its function; None: there are none."""
        del args, kwargs
        return None

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
        )

    @abstractmethod
    def targets(self, target: torch.Tensor, rows: int, layout: Layout) -> Array:
        """Return what the output is compared with, for a launch of so many rows.

        The layout is that of the script's tensor, which is the output or a view of it.
        """

    @abstractmethod
    def _target_of(self, source: Tensor) -> Tensor:
        """Return the input of targets for an output."""

    def _parameters_of(self, source: Tensor) -> tuple[Tensor, ...]:
        """Return what the loss has of its own that stays on the wafer."""
        del source
        return ()

    @abstractmethod
    def _operation(self, result: Tensor) -> Operation:
        """Return the operation."""


@dataclass(frozen=True, slots=True)
class ClassLoss(Loss):
    """Cross entropy with the indices of classes."""

    ignored: int = _IGNORED
    has_weights: bool = False
    """Whether classes have weights, which are a parameter of the graph."""
    smoothing: float = 0.0

    @classmethod
    def of(
        cls,
        output: Tensor,
        layout: Layout,
        logits: torch.Tensor,
        args: tuple[object, ...],
        kwargs: Mapping[str, Any],
    ) -> Loss | None:
        """Return the loss of a call of its function; None: the wafer has no such loss."""
        options = _options(cls._names(), args, kwargs)
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
        has_weights = weights is not None
        return cls(output.name, reduction, options["ignore_index"], has_weights, smoothing)

    @classmethod
    def _names(cls) -> Mapping[str, object]:
        return _OF_CROSS_ENTROPY

    @classmethod
    def find_weights(
        cls, args: tuple[object, ...], kwargs: Mapping[str, Any]
    ) -> torch.Tensor | None:
        """Return the weights of classes in a call of its function."""
        return _options(cls._names(), args, kwargs)["weight"]

    @property
    def weights(self) -> str | None:
        """The name of the weights of classes in the graph; None: there are none."""
        return f"{self.output}.weights" if self.has_weights else None

    def targets(self, target: torch.Tensor, rows: int, layout: Layout) -> Array:
        """Return the classes; rows that a launch has beyond those of the call do not count."""
        del layout  # the tensor is the output
        found = np.full((rows, 1), self.ignored, np.int32)
        found[: len(target), 0] = to_numpy(target)
        return found

    def _target_of(self, source: Tensor) -> Tensor:
        return Tensor(self.target, (source.shape[0], 1), DataType.I32)

    def _parameters_of(self, source: Tensor) -> tuple[Tensor, ...]:
        if self.weights is None:
            return ()
        return (Tensor(self.weights, source.shape[1:], source.dtype),)

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
    """The negative likelihood of logarithms, with the indices of classes."""

    @classmethod
    def _names(cls) -> Mapping[str, object]:
        return _OF_LIKELIHOOD

    def _operation(self, result: Tensor) -> Operation:
        operands = self.output, self.target, self.weights
        return NegativeLogLikelihood(result, *operands, self.ignored, self.reduction)


@dataclass(frozen=True, slots=True)
class OfElements(Loss):
    """The mean, or the sum, of a function of each element and of what it should be."""

    needs_all_rows = True
    function: ClassVar[LossFunction]

    @classmethod
    def of(
        cls,
        output: Tensor,
        layout: Layout,
        logits: torch.Tensor,
        args: tuple[object, ...],
        kwargs: Mapping[str, Any],
    ) -> Loss | None:
        """Return the loss of a call of its function; None: the wafer has no such loss."""
        del layout  # any will do
        options = _options(cls._names(), args, kwargs)
        target, reduction = options["target"], _reduction(options)
        is_plain = options["weight"] is None and options.get("pos_weight") is None
        if reduction is None or not is_plain or not isinstance(target, torch.Tensor):
            return None
        is_alike = (target.dtype, target.shape) == (logits.dtype, logits.shape)
        if not is_alike or target.requires_grad or logits.numel() != output.num_elements:
            return None
        return cls(output.name, reduction) if cls._takes(logits) else None

    @classmethod
    def _names(cls) -> Mapping[str, object]:
        return _OF_MSE

    @classmethod
    def _takes(cls, logits: torch.Tensor) -> bool:
        """Tell whether PyTorch takes such elements, and has no error to raise."""
        del logits
        return True

    def targets(self, target: torch.Tensor, rows: int, layout: Layout) -> Array:
        """Return the wanted elements."""
        values = to_numpy(target)
        found = np.empty((rows, values.size // rows), values.dtype)
        places = layout.take(np.arange(found.size).reshape(found.shape))
        found.reshape(-1)[places.reshape(-1)] = values.reshape(-1)
        return found

    def _target_of(self, source: Tensor) -> Tensor:
        return replace(source, name=self.target)

    def _operation(self, result: Tensor) -> Operation:
        return ElementLoss(result, self.output, self.target, self.function, self.reduction)


@dataclass(frozen=True, slots=True)
class SquareLoss(OfElements):
    """The mean, or the sum, of the squares of differences."""

    function = LossFunction.SQUARE


@dataclass(frozen=True, slots=True)
class AbsoluteLoss(OfElements):
    """The mean, or the sum, of the magnitudes of differences."""

    function = LossFunction.ABSOLUTE


@dataclass(frozen=True, slots=True)
class BinaryLoss(OfElements):
    """Binary cross entropy of shares."""

    function = LossFunction.BINARY

    @classmethod
    def _names(cls) -> Mapping[str, object]:
        return _OF_BINARY

    @classmethod
    def _takes(cls, logits: torch.Tensor) -> bool:
        """Tell whether all elements are from 0 to 1."""
        return bool(((logits >= 0) & (logits <= 1)).all())


@dataclass(frozen=True, slots=True)
class BinaryLogitsLoss(OfElements):
    """Binary cross entropy of logits."""

    function = LossFunction.BINARY_LOGITS

    @classmethod
    def _names(cls) -> Mapping[str, object]:
        return _OF_BINARY


KINDS: Mapping[str, type[ClassLoss | OfElements]] = {
    "cross_entropy": ClassLoss,
    "nll_loss": LikelihoodLoss,
    "mse_loss": SquareLoss,
    "l1_loss": AbsoluteLoss,
    "binary_cross_entropy": BinaryLoss,
    "binary_cross_entropy_with_logits": BinaryLogitsLoss,
}
"""Function of `torch.nn.functional` → what it becomes."""


def guess_loss(graph: Graph) -> Loss | None:
    """Return the loss that scripts take most often of a model with this output.

    A wrong guess costs a program, nothing else.
    """
    (output, *others) = graph.outputs
    if others or graph.tensor(output).dtype is DataType.I32:
        return None
    last, is_one = graph.operations[-1], graph.tensor(output).shape[-1] == 1
    if isinstance(last, LogSoftmax):
        return LikelihoodLoss(output, Reduction.MEAN)
    if isinstance(last, Activation) and last.function is ActivationFunction.SIGMOID:
        return BinaryLoss(output, Reduction.MEAN)
    return SquareLoss(output, Reduction.MEAN) if is_one else ClassLoss(output, Reduction.MEAN)


_OF_ROWS = {
    "target": None,
    "weight": None,
    "size_average": None,
    "ignore_index": _IGNORED,
    "reduce": None,
    "reduction": "mean",
}
_OF_CROSS_ENTROPY = {**_OF_ROWS, "label_smoothing": 0.0}
"""Arguments after the first one, with their values where they are left out."""
_OF_LIKELIHOOD = _OF_ROWS
_OF_MSE = {
    "target": None,
    "size_average": None,
    "reduce": None,
    "reduction": "mean",
    "weight": None,
}
_OF_BINARY = {
    "target": None,
    "weight": None,
    "size_average": None,
    "reduce": None,
    "reduction": "mean",
    "pos_weight": None,
}


def _options(
    names: Mapping[str, object], args: tuple[object, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    return {**names, **dict(zip(names, args, strict=False)), **kwargs}


def _reduction(options: Mapping[str, Any]) -> Reduction | None:
    """Return how losses of rows become one number; None: they do not."""
    if any(options[name] is not None for name in ("size_average", "reduce")):
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
