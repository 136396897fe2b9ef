"""The interface of operations that work on whole samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.operation import Tensors


class OnSamples(Operation):
    """An operation on samples of several consecutive rows.

    They are the pixels of a feature map, or the rows of a product.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def sample_rows(self) -> int:
        """Rows of its first operand that belong to a sample."""

    def count_samples(self, tensors: Tensors) -> int:
        """Return how many samples the rows of its first operand are."""
        return tensors[self.activation_operands[0]].shape[0] // self.sample_rows
