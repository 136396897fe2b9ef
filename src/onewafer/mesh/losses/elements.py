"""Element-wise losses, reduced to one number: operations, lowering, cost cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import LossFunction, Reduction
from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import OF_TRAINING, ROWS_AND_INNER, CostCase, Sizes, grid
from onewafer.mesh.elementwise import Scale
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import NUM_PRESENT, Beginning, Kind, Module
from onewafer.mesh.losses import element_functions
from onewafer.mesh.losses.operations import sum_in_order
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sample_groups.sums import add_up_groups
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes, with_row_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Tensor
    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape
    from onewafer.mesh.relations import Relations

    Floats = NDArray[Any]  # of f32
_DIFFERENCES = Module("differences")
_CHUNKS = Module("chunks", ".functions = functions", (FUNCTIONS,))
_OF_ELEMENTS = Beginning(
    "steps of a loss of elements",
    """
    const at = place(words[9]);
    const present = num_present(columns, inner, size(words[9]) - 1 - at);
    const values = activation(left, 1);
    const wanted = activation(right, 1);
    """,
)


class _Form(NamedTuple):
    """The kernels and NumPy functions of an element-wise loss."""

    add_up: Kind
    back: Kind
    loss: Callable[..., Floats]
    """The loss of values and targets, and of the operands of `Comparison.operands`."""
    slope: Callable[..., Floats]
    scale: float = 1.0
    """The derivative is `scale · slope`."""
    is_in_chunks: bool = True


def _of_differences(
    numbers: tuple[int, int], name: str, loss: str, slope: str
) -> tuple[Kind, Kind]:
    return (
        _kind(
            numbers[0],
            f"add_up_{name}",
            f"""
            entry += 2;
            differences.add_up(differences.{loss}, totals(result), values, wanted,
                               activation(words[8], 1), rows, columns, present);
            """,
            _DIFFERENCES,
        ),
        _kind(
            numbers[1],
            f"back_from_{name}",
            f"""
            entry += 4;
            const seed = totals(words[8]);
            differences.back(differences.{slope}, activation(result, 1), values, wanted,
                             seed[0] * number(words, 10), rows, columns, present);
            """,
            _DIFFERENCES,
        ),
    )


class _Extra(NamedTuple):
    """A further operand of a loss: its CSL, and its number of words in the schedule."""

    code: str = "0"
    num_words: int = 0


_NUMBER = _Extra("number(words, $at)", 2)
_ROW = _Extra("parameter(words[$at], columns)", 1)


def _of_chunks(
    numbers: tuple[int, int], name: str, loss: str, slope: str, extra: _Extra | None = None
) -> tuple[Kind, Kind]:
    code, num_words = extra or _Extra()
    add_up, back = (Template(code).substitute(at=at) for at in (10, 12))
    return (
        _kind(
            numbers[0],
            f"add_up_{name}",
            f"""
            entry += {2 + num_words};
            chunks.add_up(chunks.{loss}, totals(result), values, wanted, {add_up},
                          rows, columns, present);
            """,
            _CHUNKS,
        ),
        _kind(
            numbers[1],
            f"back_from_{name}",
            f"""
            entry += {4 + num_words};
            const seed = totals(words[8]);
            chunks.back(chunks.{slope}, activation(result, 1), values, wanted, {back},
                        seed[0] * number(words, 10), rows, columns, present);
            """,
            _CHUNKS,
        ),
    )


def _kind(number: int, name: str, code: str, module: Module) -> Kind:
    return Kind(number, name, code, (module,), (NUM_PRESENT,), beginning=_OF_ELEMENTS)


_FORMS = {
    LossFunction.SQUARE: _Form(
        *_of_differences((200, 201), "squares", "square", "difference"),
        element_functions.square,
        element_functions.square_slope,
        scale=2.0,
        is_in_chunks=False,
    ),
    LossFunction.ABSOLUTE: _Form(
        *_of_differences((202, 203), "magnitudes", "magnitude", "sign"),
        element_functions.absolute,
        element_functions.absolute_slope,
        is_in_chunks=False,
    ),
    LossFunction.BINARY: _Form(
        *_of_chunks((204, 205), "binary", "of_shares", "slope_of_shares"),
        element_functions.binary,
        element_functions.binary_slope,
    ),
    LossFunction.BINARY_LOGITS: _Form(
        *_of_chunks((206, 207), "binary_logits", "of_logits", "slope_of_logits"),
        element_functions.binary_logits,
        element_functions.binary_logits_slope,
    ),
    LossFunction.HUBER: _Form(
        *_of_chunks((208, 209), "huber", "huber", "slope_huber", _NUMBER),
        element_functions.huber,
        element_functions.huber_slope,
    ),
    LossFunction.DIVERGENCE: _Form(
        *_of_chunks((210, 211), "divergence", "divergence", "slope_divergence"),
        element_functions.divergence,
        element_functions.divergence_slope,
    ),
    LossFunction.LOG_DIVERGENCE: _Form(
        *_of_chunks((212, 213), "log_divergence", "log_divergence", "slope_log_divergence"),
        element_functions.log_divergence,
        element_functions.log_divergence_slope,
    ),
}
_WEIGHTED = _Form(
    *_of_chunks(
        *((214, 215), "weighted_logits", "of_weighted_logits", "slope_of_weighted_logits", _ROW)
    ),
    element_functions.weighted_logits,
    element_functions.weighted_logits_slope,
)
"""`BINARY_LOGITS` with a weight for each feature."""
_ALL = (*_FORMS.values(), _WEIGHTED)


@dataclass(frozen=True, slots=True)
class Comparison:
    """An element-wise loss function with its parameters."""

    function: LossFunction
    delta: float = 1.0
    """δ of `HUBER`."""
    weights: Block | None = None
    """A stored row of weights for `BINARY_LOGITS`; None: all are 1."""

    @property
    def form(self) -> _Form:
        """The kernels and NumPy functions of the loss."""
        return _FORMS[self.function] if self.weights is None else _WEIGHTED

    @property
    def _least(self) -> float | None:
        return -self.delta if self.function is LossFunction.HUBER else None

    def words(self) -> tuple[int | Block, ...]:
        """Return the schedule words of the loss's parameters."""
        if self._least is not None:
            return float_words(self._least)
        return () if self.weights is None else (self.weights,)

    def operands(self, memories: Memories) -> tuple[Floats, ...]:
        """Return the loss's parameters: a row on each PE, a number, or none."""
        if self._least is not None:
            return (np.full((), self._least, np.float32),)
        return () if self.weights is None else (memories.matrix(self.weights),)


class _OfElements(MeshOperation):
    """A step that reads values and targets, element by element."""

    __slots__ = ()

    values: Block
    targets: Block
    axis: Axis
    features: int
    comparison: Comparison

    def step_entry(self, program: ProgramShape, result: Block, *more: int | Block) -> Entry:
        """Return the schedule entry of either step; `more` are its further words."""
        padding = program.size(self.axis) * self.values.columns - self.features
        words = (more[0], self.axis.number, *more[1:], *self.comparison.words())
        blocks = result, self.values, self.targets
        columns = self.values.columns
        entry = block_entry(program, self.kind, *blocks, columns=columns, inner=padding, more=words)
        return replace(entry, rows=self.values.rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, for a PE without padding.

        A kernel that computes in chunks takes `chunks` of `chunk` elements for a row.
        """
        return with_row_chunks(block_sizes(program, self.values, launch))

    def at_elements(self, memories: Memories, function: Callable[..., Floats]) -> Floats:
        """Return a function of every value and its target."""
        operands = memories.matrix(self.values), memories.matrix(self.targets)
        with np.errstate(all="ignore"):
            return function(*operands, *self.comparison.operands(memories))


@dataclass(frozen=True, slots=True)
class AddUpElements(_OfElements):
    """Sum the losses of a PE's elements in f32, in ascending order from +0."""

    kinds = tuple(form.add_up for form in _ALL)

    total: Block
    """A block of one number."""
    values: Block
    targets: Block
    room: Block
    """Scratch as long as a row of values."""
    axis: Axis
    """The axis along which blocks of features lie."""
    features: int
    """Features of the values over all PEs, without padding."""
    comparison: Comparison

    @property
    def kind(self) -> Kind:
        return self.comparison.form.add_up

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.total, self.room)

    def execute(self, memories: Memories) -> None:
        losses = self.at_elements(memories, self.comparison.form.loss)
        losses = memories.without_padding(losses, self.axis, self.features)
        memories.write(self.total, sum_in_order(losses.reshape(*losses.shape[:2], -1)))


@dataclass(frozen=True, slots=True)
class ElementLossBackward(_OfElements):
    """Compute the gradient of the values: slope · factor · gradient of the loss."""

    kinds = tuple(form.back for form in _ALL)

    result: Block
    values: Block
    targets: Block
    seed: Block
    """The gradient of the loss, a block of one number that every PE has."""
    axis: Axis
    """The axis along which blocks of features lie."""
    features: int
    """Features of the values over all PEs, without padding."""
    comparison: Comparison
    factor: float

    @property
    def kind(self) -> Kind:
        return self.comparison.form.back

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.result, self.seed, *float_words(self.factor))

    def execute(self, memories: Memories) -> None:
        factor = arithmetic.multiply(memories.read(self.seed), np.full((), self.factor, np.float32))
        slopes = self.at_elements(memories, self.comparison.form.slope)
        back = arithmetic.multiply(slopes, factor[..., np.newaxis])
        memories.write(self.result, memories.without_padding(back, self.axis, self.features))


class ElementLossLowering(Lowering[graph.ElementLoss]):
    """Sum the losses of each PE, then all-reduce the sum along the axis."""

    def relate(self, operation: graph.ElementLoss, relations: Relations) -> None:
        relations.join(operation.input, operation.target)

    def lower(self, operation: graph.ElementLoss, builder: Builder) -> None:
        _check(operation.reduction)
        values, targets = builder.blocks[operation.input], builder.blocks[operation.target]
        axis, source = builder.layouts[operation.input].axis, builder.tensor(operation.input)
        room = builder.spare(1, values.columns)
        total, features = builder.allocate(operation.result), source.shape[-1]
        comparison = _comparison(operation, builder)
        builder.append(AddUpElements(total, values, targets, room, axis, features, comparison))
        builder.all_reduce(total, axis)
        add_up_groups(total, builder, axis=None)
        factor = _factor(operation, source, builder)
        if factor != 1:
            builder.append(Scale(total, total, factor))


class ElementLossGradientLowering(Lowering[graph.ElementLossGradient]):
    """Scale derivatives locally."""

    def relate(self, operation: graph.ElementLossGradient, relations: Relations) -> None:
        """Give all tensors one layout, except the gradient of the loss."""
        relations.join(operation.input, operation.target)
        relations.join(operation.input, operation.result.name)

    def scalars(self, operation: graph.ElementLossGradient) -> tuple[str, ...]:
        return (operation.gradient,)

    def lower(self, operation: graph.ElementLossGradient, builder: Builder) -> None:
        _check(operation.reduction)
        names = operation.input, operation.target, operation.gradient
        values, targets, seed = (builder.blocks[name] for name in names)
        axis, features = builder.layouts[operation.input].axis, operation.result.shape[-1]
        comparison = _comparison(operation, builder)
        factor = comparison.form.scale * _factor(operation, operation.result, builder)
        blocks = builder.allocate(operation.result), values, targets, seed
        builder.append(ElementLossBackward(*blocks, axis, features, comparison, factor))


def _comparison(
    operation: graph.ElementLoss | graph.ElementLossGradient, builder: Builder
) -> Comparison:
    """Return the loss function of an operation, with weights laid out as its input."""
    weights, layout = operation.weights, builder.layouts[operation.input]
    row = None if weights is None else builder.parameters.place_vector(weights, layout)
    return Comparison(operation.function, operation.delta, row)


def _factor(
    operation: graph.ElementLoss | graph.ElementLossGradient, source: Tensor, builder: Builder
) -> float:
    """Return the factor of the sum of losses: the scale, divided by the elements for a mean."""
    elements = source.num_elements * builder.sample_groups
    count = elements if operation.reduction is Reduction.MEAN else 1
    return operation.scale / count


def _check(reduction: Reduction) -> None:
    """Refuse a loss without a reduction."""
    if reduction is Reduction.NONE:
        raise UnsupportedOperationError(
            "a loss for each element is not supported; use a sum or mean"
        )


LOWERINGS: Lowerings = {
    graph.ElementLoss: ElementLossLowering(),
    graph.ElementLossGradient: ElementLossGradientLowering(),
}


class _Variant(NamedTuple):
    """A loss function, with weights of features or without."""

    function: LossFunction
    has_weights: bool = False

    def comparison(self, sizes: Sizes) -> Comparison:
        """Return the loss function of a cost case."""
        return Comparison(self.function, 0.5, sizes.row() if self.has_weights else None)


_VARIANTS = (*map(_Variant, LossFunction), _Variant(LossFunction.BINARY_LOGITS, has_weights=True))


def _case(
    build: Callable[[Sizes, Comparison], MeshOperation], variant: _Variant, *more: str
) -> CostCase:
    """Return a cost case; functions that compute in chunks get rows of whole chunks."""
    is_in_chunks = _FORMS[variant.function].is_in_chunks
    whole = grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK))
    return CostCase(
        lambda sizes: build(sizes, variant.comparison(sizes)),
        rounds=("rows", "rows*chunks") if is_in_chunks else ("rows",),
        lengths=(*more, "chunk" if is_in_chunks else "columns"),
        grid=whole if is_in_chunks else ROWS_AND_INNER,
        is_of_singles=True,
        rows=OF_TRAINING,
    )


def _add_up(sizes: Sizes, comparison: Comparison) -> MeshOperation:
    block, room = sizes.block(), sizes.row(arena=Arena.ACTIVATIONS)
    total = Block(Arena.ACTIVATIONS, 0, 1, 1)
    return AddUpElements(total, block, block, room, Axis.X, 4 * sizes.columns, comparison)


def _back(sizes: Sizes, comparison: Comparison) -> MeshOperation:
    block, seed = sizes.block(), Block(Arena.ACTIVATIONS, 0, 1, 1)
    features = 4 * sizes.columns
    return ElementLossBackward(block, block, block, seed, Axis.X, features, comparison, 0.5)


COST_CASES = (
    *(_case(_add_up, variant) for variant in _VARIANTS),
    *(_case(_back, variant, "elements") for variant in _VARIANTS),
)
