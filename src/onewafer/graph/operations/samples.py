"""Operations that work on whole samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from onewafer.graph.operations.checks import MATRIX, not_a_matrix
from onewafer.graph.operations.names import ValueName
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


class OfRows(OnSamples):
    """An operation on samples of a number of rows that it names."""

    __slots__ = ()

    input: ValueName
    rows: int

    @property
    def sample_rows(self) -> int:
        """Rows of a sample."""
        return self.rows

    def wrong_number(self) -> str | None:
        """Return what is wrong with its numbers; None if nothing is."""
        return None if self.rows > 0 else f"a sample has {self.rows} rows, must have some"

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return what is wrong with the shapes of its operands; None if nothing is."""
        source = tensors[self.input]
        if len(source.shape) == MATRIX and source.shape[0] % self.rows:
            return f"a sample has {self.rows} rows, which must divide the {source.shape[0]} rows"
        return not_a_matrix("input", source)
