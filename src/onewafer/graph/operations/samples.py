"""Operations that work on whole samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from onewafer.graph.operations.checks import MATRIX, not_a_matrix
from onewafer.graph.operations.names import ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.operation import Tensors
    from onewafer.graph.tensor import Tensor


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
        return self.rows

    def wrong_number(self) -> str | None:
        return None if self.rows > 0 else f"a sample has {self.rows} rows, must have some"

    def wrong_operand(self, tensors: Tensors) -> str | None:
        return not_of_samples(f"a sample has {self.rows} rows", self.rows, tensors[self.input])


def not_of_samples(what: str, sample_rows: int, source: Tensor) -> str | None:
    """Return what is wrong with an input if its rows are not those of samples; None if they are.

    `what` says how many rows a sample has.
    """
    if len(source.shape) == MATRIX and source.shape[0] % sample_rows:
        return f"{what}, which must divide the {source.shape[0]} rows"
    return not_a_matrix("input", source)
