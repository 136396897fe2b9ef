"""The interface of the operations of a graph.

The last two dimensions are rows and features; operations that say "two-dimensional" need tensors
that have no others. For operations that depend on positions, rows are consecutive tokens of one
sequence: row r of a launch that begins at `start` is at position start + r.

For operations on feature maps (images and the like), rows are the pixels of one feature map after
the other, in reading order: sample · pixels + y · width + x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from onewafer.graph.operations.layer_part import LayerPart, Place
from onewafer.graph.operations.names import (
    ACTIVATIONS,
    INDICES,
    NUMBERS,
    PARAMETERS,
    POSITION_TABLES,
    fields_with,
    name_fields,
)
from onewafer.graph.tensor import Tensor  # noqa: TC001  # `names` reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from onewafer.graph.draws import Draw
    from onewafer.graph.operations.backward import BackwardPass
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.names import Role

    Tensors = Mapping[str, Tensor]
    """Tensors of a graph by name: all of them, or those before an operation."""
    Backward = BackwardPass["Operation"]
    """The backward pass under construction, to which the rules of gradients add operations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of an operation in one pass, on any machine.

    The rows of a graph are the new tokens of each of some sequences, which have earlier tokens.
    Reads and writes are counted in elements, since the formats of weights and results may differ.
    """

    flop: int
    """Floating point operations; a multiply-add counts as two."""
    weights: int
    """Elements of parameters that are read, once for all sequences; of experts, those that the rows
    are expected to be routed to."""
    activations: int
    """Elements of operands and results, each once, with keys and values of new tokens."""
    cached: int
    """Elements of keys and values of earlier tokens that are read, each once."""


@dataclass(frozen=True, slots=True)
class Operation(ABC):
    """One step of a graph: the result, the names of the operands, and numbers.

    A new operation is a frozen dataclass in the file of its family, which overrides the methods
    below whose defaults are wrong for it. The annotations of its fields say what names stand for
    (see `names`); JSON, renaming and the order of operations are derived from them. Everything that
    is known of an operation without torch and without a wafer is in its class, the rule of its
    gradients included. What only one reader does with it is registered there, by class.
    """

    is_sequential: ClassVar[bool] = False
    """True if results depend on the order or the position of the rows of a launch."""
    has_all_rows: ClassVar[bool] = False
    """True if its result must have all rows of a launch."""
    joins_rows: ClassVar[bool] = False
    """True if all rows of a launch contribute to its result, or to each row of it."""
    gives_indices: ClassVar[bool] = False
    """True if its result is indices, not numbers."""

    part: ClassVar[LayerPart | None] = None
    """The part of the layer to which the operation always belongs; None: it depends."""
    places: ClassVar[Place] = Place.NOWHERE
    """The places that it may have in a layer, where `part` is None."""
    element_flop: ClassVar[int] = 1
    """Floating point operations for each element of the result."""
    is_product: ClassVar[bool] = False
    """True if it is a product of matrices and nothing else."""

    result: Tensor

    @staticmethod
    def kinds() -> dict[str, type[Operation]]:
        """Return the classes of operations by name."""
        return {kind.__name__: kind for kind in _subclasses(Operation)}

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of the result for correct operands; by default that of the first one."""
        return tensors[self.activation_operands[0]].shape

    def wrong_number(self) -> str | None:
        """Return an error about the operation's numbers, or None."""
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        """Return an error about the operands' shapes, or None."""
        del tensors
        return None

    @abstractmethod
    def evaluate(self, launch: Launch) -> Array:
        """Return the result, computed by NumPy from the values of a launch."""

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add operations that compute the operands' gradients from the result's `gradient`.

        Raise GraphError if there is no rule. It is not called for results that are indices.
        """
        del gradient
        for name in (*self.activation_operands, *self.parameter_operands):
            backward.refuse(self, name, "since the operation has no rule for it")

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of a launch at position 0.

        A multiply-add counts as two, a function of one element as one, a search as one comparison
        for each element. Causal attention counts the keys that are not masked; a window counts all
        its taps, also those outside the feature map, as PyTorch does.
        """
        del tensors
        return self.element_flop * self.result.num_elements

    def count_product_flop(self, tensors: Tensors, *, cached_tokens: int = 0) -> int:
        """Return the FLOP that `torch.utils.flop_counter` counts: those of matrix products."""
        del cached_tokens
        return self.count_flop(tensors) if self.is_product else 0

    def count_work(self, tensors: Tensors, *, sequences: int = 1, cached_tokens: int = 0) -> Work:
        """Return the work for equal sequences, given the tensors of one sequence's new tokens.

        Only causal attention reads earlier tokens; other operations read the rows of the pass.
        """
        if not self.moves_data:
            return Work(flop=0, weights=0, activations=0, cached=0)
        read = sum(tensor.num_elements for tensor in self.read_activations(tensors))
        return Work(
            flop=self.count_flop_after(tensors, cached_tokens) * sequences,
            weights=self.count_read_weights(tensors, sequences),
            activations=(read + self.result.num_elements) * sequences,
            cached=self.count_cached(tensors, cached_tokens) * sequences,
        )

    def read_activations(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the inputs and results that it reads, each once."""
        return tuple(tensors[name] for name in dict.fromkeys(self.activation_operands))

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of parameters that it reads, each once, for equal sequences."""
        del sequences
        return sum(tensors[name].num_elements for name in {*self.parameter_operands})

    def count_flop_after(self, tensors: Tensors, cached_tokens: int) -> int:
        """Return the floating point operations after `cached_tokens` earlier tokens."""
        del cached_tokens
        return self.count_flop(tensors)

    def count_cached(self, tensors: Tensors, cached_tokens: int) -> int:
        """Return the elements of earlier tokens that it reads."""
        del tensors, cached_tokens
        return 0

    @property
    def draw(self) -> Draw | None:
        """The random draw from the seeds of a launch; None: it draws nothing."""
        return None

    @property
    def moves_data(self) -> bool:
        """True if it reads and writes memory; false for a view."""
        return True

    @property
    def activation_operands(self) -> tuple[str, ...]:
        """Names of the inputs and results that it reads."""
        return self._names(ACTIVATIONS)

    @property
    def index_operands(self) -> tuple[str, ...]:
        """Names of the inputs and results that must be indices."""
        return self._names(INDICES)

    @property
    def number_operands(self) -> tuple[str, ...]:
        """Names of the inputs and results that must be numbers."""
        return self._names(NUMBERS)

    @property
    def parameter_operands(self) -> tuple[str, ...]:
        """Names of the parameters that it reads."""
        return self._names(PARAMETERS)

    @property
    def position_tables(self) -> tuple[str, ...]:
        """Names of the parameters that have a row for every position."""
        return self._names(POSITION_TABLES)

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return the operation with renamed tensors, old name → new name; other names stay."""
        changes = {field: _rename(getattr(self, field), names) for field in name_fields(type(self))}
        result = replace(self.result, name=names.get(self.result.name, self.result.name))
        return replace(self, result=result, **changes)

    def computed_again(self, names: Mapping[str, str]) -> Self:
        """Return the operation with new names, for its recomputation in a backward pass."""
        return self.renamed(names)

    def unnumbered(self) -> Self:
        """Return the operation without numbers that differ between equal layers."""
        return self

    def _names(self, roles: frozenset[Role]) -> tuple[str, ...]:
        found: list[str] = []
        for field in fields_with(type(self), roles):
            value: str | tuple[str, ...] | None = getattr(self, field)
            found += [value] if isinstance(value, str) else value or ()
        return tuple(found)


def _rename(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401  # a field of names
    """Return the new name or names in a field; a field without names stays None."""
    if isinstance(value, str):
        return names.get(value, value)
    return value and tuple(names.get(name, name) for name in value)


def _subclasses(kind: type[Operation]) -> Iterator[type[Operation]]:
    """Yield the public dataclasses; one with slots follows the class from which it was made."""
    for each in kind.__subclasses__():
        if "__dataclass_fields__" in vars(each) and not each.__name__.startswith("_"):
            yield each
        yield from _subclasses(each)
