"""Batched matrix products of two activations."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import not_a_matrix, wrong_groups
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.names import ValueName
from onewafer.graph.operations.samples import OnSamples

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = ["BatchedMatmul", "BatchedOuter"]


@dataclass(frozen=True, slots=True)
class _Batched(OnSamples):
    """A product of two tensors for each sample and each group of features; two-dimensional."""

    is_product = True

    left: ValueName
    right: ValueName
    groups: int
    """The number of groups of consecutive features: the matrices of a sample, such as heads."""
    rows: int
    """Rows of each sample in the left operand."""

    @property
    def sample_rows(self) -> int:
        return self.rows

    def wrong_operand(self, tensors: Tensors) -> str | None:
        for what, name in (("left operand", self.left), ("right operand", self.right)):
            tensor = tensors[name]
            wrong = not_a_matrix(what, tensor) or wrong_groups(tensor.shape[1], self.groups)
            if wrong is not None:
                return f"{what}: {wrong}"
        rows = tensors[self.left].shape[0]
        if self.rows < 1 or rows % self.rows:
            return f"a sample has {self.rows} rows, which must divide the {rows} rows"
        return self._wrong_right(tensors[self.left].shape, tensors[self.right].shape)

    @abstractmethod
    def _wrong_right(self, left: tuple[int, ...], right: tuple[int, ...]) -> str | None:
        """Return an error about the shape of the right operand, or None."""


@dataclass(frozen=True, slots=True)
class BatchedMatmul(_Batched):
    """Multiply two tensors for each sample and each group of features; two-dimensional.

    For a sample, whose right operand has S rows, and group g with K features of the left operand:
    `result[r, g·N + n] = Σₖ left[r, g·K + k] · right[k, g·N + n]`, where S = K; if transposed,
    `result[r, g·S + s] = Σₖ left[r, g·K + k] · right[s, g·K + k]`.
    """

    part = LayerPart.ATTENTION

    is_transposed: bool
    """True if the sum is over the features of the right operand, not over its rows."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the rows of the left operand, with columns from the right one for each group."""
        rows, right = tensors[self.left].shape[0], tensors[self.right].shape
        if not self.is_transposed:
            return (rows, right[1])
        return (rows, right[0] // self.count_samples(tensors) * self.groups)

    def _wrong_right(self, left: tuple[int, ...], right: tuple[int, ...]) -> str | None:
        samples, summed = left[0] // self.rows, left[1] // self.groups
        if self.is_transposed:
            is_right = right[1] == left[1] and right[0] % samples == 0
            expected = f"({samples} · rows of a sample, {left[1]})"
        else:
            is_right = right[0] == samples * summed
            expected = f"({samples} · {summed}, features)"
        return None if is_right else f"the right operand has shape {right}, must be {expected}"

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * self.result.num_elements * (tensors[self.left].shape[-1] // self.groups)

    def evaluate(self, launch: Launch) -> Array:
        left, right = launch[self.left], launch[self.right]
        shape = len(left) // self.rows, -1, self.groups
        products = np.einsum(
            "srgk,stgk->srgt" if self.is_transposed else "srgk,skgn->srgn",
            left.reshape(*shape, left.shape[-1] // self.groups),
            right.reshape(*shape, right.shape[-1] // self.groups),
        )
        return products.reshape(len(left), -1)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        numbers = self.groups, self.rows
        transposed = not self.is_transposed
        backward.give(
            self.left, BatchedMatmul, gradient, self.right, *numbers, is_transposed=transposed
        )
        factors = (gradient, self.left) if self.is_transposed else (self.left, gradient)
        backward.give(self.right, BatchedOuter, *factors, *numbers)


@dataclass(frozen=True, slots=True)
class BatchedOuter(_Batched):
    """Multiply features by features over the rows of each sample, by group; two-dimensional.

    For a sample, and group g with K features of the left operand and N of the right one:
    `result[k, g·N + n] = Σᵣ left[r, g·K + k] · right[r, g·N + n]`.
    """

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return a row for each feature of a group of the left operand, in each sample."""
        rows = self.count_samples(tensors) * (tensors[self.left].shape[1] // self.groups)
        return (rows, tensors[self.right].shape[1])

    def _wrong_right(self, left: tuple[int, ...], right: tuple[int, ...]) -> str | None:
        return None if left[0] == right[0] else f"the operands have {left[0]} and {right[0]} rows"

    def count_flop(self, tensors: Tensors) -> int:
        del tensors
        return 2 * self.result.num_elements * self.rows

    def evaluate(self, launch: Launch) -> Array:
        left, right = (
            launch[name].reshape(-1, self.rows, self.groups, launch[name].shape[-1] // self.groups)
            for name in self.activation_operands
        )
        products = np.einsum("srgk,srgn->skgn", left, right)
        return products.reshape(-1, right.shape[-1] * self.groups)
