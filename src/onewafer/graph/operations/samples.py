"""Operations on samples of several rows."""

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

    The rows are the pixels of a feature map, or the rows of a product.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def sample_rows(self) -> int:
        """Rows of each sample in the first operand."""

    def count_samples(self, tensors: Tensors) -> int:
        """Return the number of samples in the first operand."""
        return tensors[self.activation_operands[0]].shape[0] // self.sample_rows


class OfRows(OnSamples):
    """An operation with a field for the number of rows of each sample."""

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
    """Return an error about an input whose rows are not whole samples, or None.

    `what` says how many rows a sample has.
    """
    if len(source.shape) == MATRIX and source.shape[0] % sample_rows:
        return f"{what}, which must divide the {source.shape[0]} rows"
    return not_a_matrix("input", source)
