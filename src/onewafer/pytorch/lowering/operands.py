"""Operands: the values of the nodes of an exported graph while it is lowered.

    operand := External                  a tensor that the host has: an argument, a parameter, or
                                         what is computed of such without the wafer
             | Value                     a matrix of the graph, seen through a layout
             | form                      part of a pattern whose end is an operation of the graph
    form    := Polynomial | Gate         scalar functions of a value: Scale, gelu
             | Mean | Centred | MeanSquare | InverseRoot | Normalised RmsNorm, LayerNorm
             | Partners | StackedPartners | PositionProduct | HalfRotated | Rotated  Rotary
             | Shifted                   a value plus a table: PositionEmbedding
             | Scores | Probabilities           Attention
             | DividedLoss               a result of the module that the host divides
             | Running                   what the host writes into a buffer

A form says exactly what it is, so that an operation either goes on with it or is refused: nothing
is ever taken for a pattern that only looks like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.lowering.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch.fx.node import Target

    from onewafer.graph import ActivationFunction, Tensor


class Origin(IntEnum):
    """The most variable of the things that the elements of a host tensor depend on."""

    CONSTANT = 0
    """Nothing that changes."""
    BUFFER = 1
    """Buffers of the module."""
    PARAMETER = 2
    """Parameters of the module."""
    CALL = 3
    """Arguments that are indices, masks or lengths."""
    DATA = 4
    """Arguments of a floating type: what the wafer computes with."""


@dataclass(frozen=True, slots=True)
class Step:
    """The operation that computes a tensor from others, on the host."""

    target: Target
    args: tuple[object, ...]
    """With externals in the places of tensors."""
    kwargs: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class External:
    """A tensor that the host has, with its elements at the time of the capture.

    Its use decides what it becomes: an input of the graph where rows are expected, a parameter
    where a weight, bias or table is.
    """

    name: str
    tensor: torch.Tensor
    origin: Origin
    position: int | None = None
    """Place among the leaves of the call's arguments; None: the module or the graph holds it."""
    step: Step | None = None
    """None: it is an argument, a parameter, a buffer or a constant as it is."""
    path: str = ""
    """The path of a parameter or buffer in its module."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.tensor.shape)

    def find(self, leaves: Sequence[object], known: dict[int, torch.Tensor]) -> torch.Tensor:
        """Return the tensor in a call with these leaves; `known` keeps what was computed for it."""
        if id(self) not in known:
            known[id(self)] = self._find(leaves, known)
        return known[id(self)]

    def _find(self, leaves: Sequence[object], known: dict[int, torch.Tensor]) -> torch.Tensor:
        if self.step is not None:
            return compute(self.step, lambda external: external.find(leaves, known))
        found = self.tensor if self.position is None else leaves[self.position]
        assert isinstance(found, torch.Tensor), "guards have compared the types"  # invariant
        return found

    def formats(self) -> set[torch.dtype]:
        """Return the floating types of the arguments, parameters and constants it is made of."""
        if self.step is None:
            return {self.tensor.dtype} if self.tensor.is_floating_point() else set()
        return set[torch.dtype]().union(*(source.formats() for source in self._sources()))

    def paths(self) -> Iterator[str]:
        """Yield the paths of the parameters and buffers that it is made of."""
        yield from (self.path,) if self.path else ()
        for source in self._sources():
            yield from source.paths()

    def _sources(self) -> Iterator[External]:
        """Yield the tensors that it is computed from."""
        leaves = pytree.tree_leaves((self.step.args, self.step.kwargs)) if self.step else []
        yield from (leaf for leaf in leaves if isinstance(leaf, External))


@dataclass(frozen=True, slots=True)
class Decision:
    """A host tensor for whose elements the graph was specialised."""

    external: External
    elements: torch.Tensor
    """A copy of the elements at the time of the capture."""

    def holds(self, leaves: Sequence[object], known: dict[int, torch.Tensor]) -> bool:
        """Tell whether the tensor has the same elements in a call with these leaves."""
        return torch.equal(self.external.find(leaves, known), self.elements)


@dataclass(frozen=True, slots=True)
class Item:
    """One of several tensors that an operation gives."""

    target: Target
    index: int

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Compute all and return the one."""
        assert callable(self.target), "only functions are lowered"  # invariant
        return self.target(*args, **kwargs)[self.index]


def compute(step: Step, find: Callable[[External], torch.Tensor]) -> Any:  # noqa: ANN401  # of a target
    """Run a step on the tensors that its externals stand for."""
    assert callable(step.target), "only functions are lowered"  # invariant

    def resolve(leaf: object) -> object:
        return find(leaf) if isinstance(leaf, External) else leaf

    args, kwargs = pytree.tree_map(resolve, (step.args, step.kwargs))
    return step.target(*args, **kwargs)


def derive(
    name: str, target: Target, *args: object, **kwargs: object
) -> External | tuple[External, ...] | None:
    """Apply an operation to externals; return its one or several results, or None."""
    step = Step(target, args, kwargs)
    found: object = compute(step, lambda external: external.tensor)
    origin = origin_of(args, kwargs)
    if isinstance(found, torch.Tensor):
        return External(name, found, origin, step=step)
    if isinstance(found, tuple | list):
        return tuple(
            External(
                f"{name}_{index}", tensor, origin, step=Step(Item(target, index), args, kwargs)
            )
            for index, tensor in enumerate(cast("list[torch.Tensor]", found))
        )
    return None


def origin_of(*trees: object) -> Origin:
    """Return the origin of a value that is computed from the externals in some structures."""
    leaves = pytree.tree_leaves(trees)
    origins = [leaf.origin for leaf in leaves if isinstance(leaf, External)]
    return max(origins, default=Origin.CONSTANT)


@dataclass(frozen=True, slots=True)
class Value:
    """A matrix of the graph, seen through a layout."""

    tensor: Tensor
    layout: Layout
    is_wide: bool = False
    """True if the module has converted it to float32 for now; it is stored as float16."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the PyTorch tensor."""
        return self.layout.shape

    def goes_over_rows(self, dimension: int) -> bool:
        """Tell whether a dimension goes from row to row of the matrix; one of size 1 does not."""
        num_features = self.tensor.shape[1]
        strides = [stride for _, stride in self.layout.dimensions[dimension]]
        return bool(strides) and all(stride and stride % num_features == 0 for stride in strides)

    def count_groups(self) -> int:
        """Return the number of groups of features in a row; the last dimension is one group."""
        features, last = self.shape[-1], self.layout.dimensions[-1]
        strides = [stride for pieces in self.layout.dimensions[:-1] for _, stride in pieces]
        if last not in ((), ((features, 1),)) or any(stride % features for stride in strides):
            msg = "the last dimension is not one contiguous group of features"
            raise UnsupportedOperationError(msg)
        return self.tensor.shape[1] // features


def see(tensor: Tensor, shape: Sequence[int]) -> Value:
    """Return a matrix seen with a PyTorch shape of the same elements in the same order."""
    layout = Layout.of_matrix(tensor.shape).reshape(shape)
    assert layout is not None, "a matrix in its order can be cut anywhere"  # invariant
    return Value(tensor, layout)


def see_in_order(tensor: Tensor, shape: Sequence[int], order: Sequence[int]) -> Value:
    """Return a matrix seen with a shape whose dimensions its elements go over in some order."""
    seen = see(tensor, [shape[index] for index in order])
    return Value(tensor, seen.layout.permute([order.index(index) for index in range(len(shape))]))


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A sum of powers of a value's elements, each with a factor."""

    value: Value
    terms: Mapping[int, float]
    """Exponent, 0 to 3 → factor, none of which is 0."""
    what = "a polynomial"


@dataclass(frozen=True, slots=True)
class Gate:
    """`tanh(√(2/π) · (x + 0.044715 · x³))` or `erf(x / √2)` of a value's elements x.

    Plus 1 and times x/2, it is one of the two functions that are called gelu.
    """

    value: Value
    function: ActivationFunction
    """The activation function that it is a part of."""
    is_shifted: bool = False
    """True if 1 is added."""
    what = "a part of GELU"


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean over the last dimension of a value."""

    value: Value
    what = "a mean over features"


@dataclass(frozen=True, slots=True)
class Centred:
    """A value less the mean over its last dimension."""

    value: Value
    is_squared: bool = False
    what = "a tensor minus its mean"


@dataclass(frozen=True, slots=True)
class MeanSquare:
    """The mean over the last dimension of the squares of a value, plus a number."""

    value: Value
    epsilon: float
    factor: float = 1.0
    """The factor of the squares: c² if they are those of `c · value`."""
    is_centred: bool = False
    """True if the squares are those of the value less its mean."""
    what = "a mean of squares"


@dataclass(frozen=True, slots=True)
class InverseRoot:
    """One over the square root of a mean of squares."""

    square: MeanSquare
    what = "the inverse square root of a mean of squares"


@dataclass(frozen=True, slots=True)
class Normalised:
    """A value over the root of its mean of squares: a norm that lacks its weight."""

    value: Value
    epsilon: float
    is_centred: bool = False
    """True if the mean is subtracted first."""
    what = "a normalised tensor"


@dataclass(frozen=True, slots=True)
class Partners:
    """A value with each pair of features (a, b) replaced by (−b, a)."""

    value: Value
    swapped: int
    """As of the graph's `Rotary`: all features if halves are paired, 0 if neighbours are."""
    factor: float = 1.0
    """The factor of all elements."""
    what = "a tensor with the features of each pair swapped"


@dataclass(frozen=True, slots=True)
class StackedPartners:
    """`Partners` of neighbours with a dimension for the two of a pair."""

    partners: Partners
    """The partners without that dimension."""
    what = "a stack of swapped pairs of features"


@dataclass(frozen=True, slots=True)
class PositionProduct:
    """A value, or the partners of its features, times a table over positions."""

    value: Value
    swapped: int | None
    """`Partners.swapped` if partners are multiplied; None: the value itself is."""
    table: External
    """A table that broadcasts to the shape of the value."""
    factor: float = 1.0
    """The factor of all elements."""
    what = "a product with a table by position"


@dataclass(frozen=True, slots=True)
class HalfRotated:
    """The sum of two products with tables over positions, of different values."""

    left: PositionProduct
    right: PositionProduct
    what = "a half of a rotary embedding"


@dataclass(frozen=True, slots=True)
class Rotated:
    """A value whose pairs of features are rotated, perhaps only the beginning of heads."""

    value: Value
    swapped: int
    """As of the graph's `Rotary`."""
    cosine: External
    """A table that broadcasts to the shape of the value."""
    sine: External
    """A table that broadcasts to the shape of the value."""
    what = "a rotary embedding"


@dataclass(frozen=True, slots=True)
class Shifted:
    """A value plus a table over positions."""

    value: Value
    table: External
    """A table that broadcasts to the shape of the value."""
    what = "a sum with position embeddings"


@dataclass(frozen=True, slots=True)
class Scores:
    """Scaled products of the rows of a query and of a key, plus masks."""

    query: Value
    """Shape (1, heads, rows, features)."""
    key: Value
    """Shape (1, heads, rows, features)."""
    scale: float
    shape: tuple[int, ...]
    """Shape of the PyTorch tensor: (1, heads, rows of the query, rows of the key), or without the
    first of these."""
    masks: tuple[External, ...] = ()
    """Boolean, true where a key is seen, or numbers that are added to the scaled products; they
    broadcast to (1, heads, rows of the query, rows of the key)."""
    what = "a matrix of attention scores"


@dataclass(frozen=True, slots=True)
class Probabilities:
    """The softmax of scores over the keys."""

    scores: Scores
    factors: str | None = None
    """The input of the graph with the dropout factors that they are multiplied by."""
    what = "a matrix of attention weights"


@dataclass(frozen=True, slots=True)
class DividedLoss:
    """A loss divided by a tensor of one element: the host divides, and only a result."""

    loss: Value
    divisor: External
    what = "a multiple of a loss"


@dataclass(frozen=True, slots=True)
class Running:
    """A running statistic of a batch norm after this batch."""

    buffer: External
    """The statistic before it."""
    found: Tensor
    """The statistic of the batch, which the graph computes."""
    momentum: float
    """The weight of the batch's statistic."""
    correction: float
    """The factor of the batch's statistic, n / (n − 1) for a variance of n rows."""
    what = "a running statistic of batches"


Form = (
    Polynomial
    | Gate
    | Mean
    | Centred
    | MeanSquare
    | InverseRoot
    | Normalised
    | Partners
    | StackedPartners
    | PositionProduct
    | HalfRotated
    | Rotated
    | Shifted
    | Scores
    | Probabilities
    | DividedLoss
    | Running
)
Operand = External | Value | Form


class FormError(UnsupportedOperationError):
    """A form is used where a value is needed."""

    def __init__(self, form: Form, reason: str | None = None) -> None:
        """Say why it cannot be computed alone; None: no operation gives it."""
        where = "a norm, GELU, attention or rotation"
        super().__init__(reason or f"{form.what} is supported only in {where}")
        self.form = form
