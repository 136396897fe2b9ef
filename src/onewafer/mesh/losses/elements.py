"""Losses of single elements, as one number: operations, lowering, samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import LossFunction, Reduction
from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.elementwise import Scale
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import NUM_PRESENT, Beginning, Kind, Module
from onewafer.mesh.losses import element_functions
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sample import OF_TRAINING, ROWS_AND_INNER, Sample, Sizes, grid
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape
    from onewafer.mesh.relations import Relations

    Floats = NDArray[Any]  # of f32
_DIFFERENCES = Module("differences")
_BINARY = Module("binary", ".functions = functions", (FUNCTIONS,))
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
    """How the wafer computes a loss of elements."""

    add_up: Kind
    back: Kind
    loss: Callable[[Floats, Floats], Floats]
    slope: Callable[[Floats, Floats], Floats]
    scale: float = 1.0
    """The derivative is this times `slope`."""
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


def _of_chunks(numbers: tuple[int, int], name: str, loss: str) -> tuple[Kind, Kind]:
    return (
        _kind(
            numbers[0],
            f"add_up_{name}",
            f"""
            entry += 2;
            binary.add_up(binary.{loss}, totals(result), values, wanted, rows, columns, present);
            """,
            _BINARY,
        ),
        _kind(
            numbers[1],
            f"back_from_{name}",
            f"""
            entry += 4;
            const seed = totals(words[8]);
            binary.back(binary.slope_{loss}, activation(result, 1), values, wanted,
                        seed[0] * number(words, 10), rows, columns, present);
            """,
            _BINARY,
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
        *_of_chunks((204, 205), "binary", "of_shares"),
        element_functions.binary,
        element_functions.binary_slope,
    ),
    LossFunction.BINARY_LOGITS: _Form(
        *_of_chunks((206, 207), "binary_logits", "of_logits"),
        element_functions.binary_logits,
        element_functions.binary_logits_slope,
    ),
}


class _OfElements(MeshOperation):
    """A step that goes over values and what they should be."""

    __slots__ = ()

    values: Block
    targets: Block
    axis: Axis
    features: int
    function: LossFunction

    def step_entry(self, program: ProgramShape, result: Block, *more: int | Block) -> Entry:
        """Return the words that both steps have."""
        padding = program.size(self.axis) * self.values.columns - self.features
        words = (more[0], self.axis.number, *more[1:])
        blocks = result, self.values, self.targets
        columns = self.values.columns
        entry = block_entry(program, self.kind, *blocks, columns=columns, inner=padding, more=words)
        return replace(entry, rows=self.values.rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on, on a PE that has no padding.

        A row has `chunks` of `chunk` elements each, where the kernel computes in chunks.
        """
        sizes = block_sizes(program, self.values, launch)
        chunks = -(-sizes["columns"] // CHUNK)
        return {**sizes, "chunks": chunks, "chunk": -(-sizes["columns"] // chunks)}

    def at_elements(
        self, memories: Memories, function: Callable[[Floats, Floats], Floats]
    ) -> Floats:
        """Return a function of every element and its target."""
        with np.errstate(all="ignore"):
            return function(memories.matrix(self.values), memories.matrix(self.targets))


@dataclass(frozen=True, slots=True)
class AddUpElements(_OfElements):
    """Sum the losses of the elements that a PE has, in f32 and in ascending order from +0."""

    kinds = tuple(form.add_up for form in _FORMS.values())

    total: Block
    """A number."""
    values: Block
    targets: Block
    room: Block
    """A row as long as one of the values, where the kernel needs one."""
    axis: Axis
    """The axis over which the features are blocked."""
    features: int
    """Over all PEs, without padding."""
    function: LossFunction

    @property
    def kind(self) -> Kind:
        """Its kind in the schedule."""
        return _FORMS[self.function].add_up

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return self.step_entry(program, self.total, self.room)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        losses = self.at_elements(memories, _FORMS[self.function].loss)
        losses = memories.without_padding(losses, self.axis, self.features)
        total = np.zeros(losses.shape[:2], np.float32)
        for loss in losses.reshape(*losses.shape[:2], -1).transpose(2, 0, 1):
            total = arithmetic.add(total, loss)
        memories.write(self.total, total)


@dataclass(frozen=True, slots=True)
class BackFromElements(_OfElements):
    """Multiply derivatives by a number and by the gradient of the loss, which every PE has."""

    kinds = tuple(form.back for form in _FORMS.values())

    result: Block
    values: Block
    targets: Block
    seed: Block
    """A number."""
    axis: Axis
    """The axis over which the features are blocked."""
    features: int
    """Over all PEs, without padding."""
    function: LossFunction
    factor: float

    @property
    def kind(self) -> Kind:
        """Its kind in the schedule."""
        return _FORMS[self.function].back

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return self.step_entry(program, self.result, self.seed, *float_words(self.factor))

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        factor = arithmetic.multiply(memories.read(self.seed), np.full((), self.factor, np.float32))
        slopes = self.at_elements(memories, _FORMS[self.function].slope)
        back = arithmetic.multiply(slopes, factor[..., np.newaxis])
        memories.write(self.result, memories.without_padding(back, self.axis, self.features))


class ElementLossLowering(Lowering[graph.ElementLoss]):
    """Add up losses on each PE, then along the axis; every PE has the sum."""

    def relate(self, operation: graph.ElementLoss, relations: Relations) -> None:
        """Let the target lie as the input does."""
        relations.join(operation.input, operation.target)

    def lower(self, operation: graph.ElementLoss, builder: Builder) -> None:
        """Append the steps."""
        _check(operation.reduction)
        values, targets = builder.blocks[operation.input], builder.blocks[operation.target]
        axis, source = builder.layouts[operation.input].axis, builder.tensor(operation.input)
        room = builder.spare(1, values.columns)
        total, features = builder.allocate(operation.result), source.shape[-1]
        function = operation.function
        builder.append(AddUpElements(total, values, targets, room, axis, features, function))
        builder.all_reduce(total, axis)
        if operation.reduction is Reduction.MEAN:
            builder.append(Scale(total, total, 1 / source.num_elements))


class ElementLossGradientLowering(Lowering[graph.ElementLossGradient]):
    """Scale derivatives: no exchange."""

    def relate(self, operation: graph.ElementLossGradient, relations: Relations) -> None:
        """Let all lie alike, but for the gradient of the loss."""
        relations.join(operation.input, operation.target)
        relations.join(operation.input, operation.result.name)

    def scalars(self, operation: graph.ElementLossGradient) -> tuple[str, ...]:
        """Return the gradient of the loss, which every PE needs."""
        return (operation.gradient,)

    def lower(self, operation: graph.ElementLossGradient, builder: Builder) -> None:
        """Append the step."""
        _check(operation.reduction)
        names = operation.input, operation.target, operation.gradient
        values, targets, seed = (builder.blocks[name] for name in names)
        axis, features = builder.layouts[operation.input].axis, operation.result.shape[-1]
        is_mean = operation.reduction is Reduction.MEAN
        function = operation.function
        factor = _FORMS[function].scale / (operation.result.num_elements if is_mean else 1)
        blocks = builder.allocate(operation.result), values, targets, seed
        builder.append(BackFromElements(*blocks, axis, features, function, factor))


def _check(reduction: Reduction) -> None:
    """Refuse what the kernels do not have."""
    if reduction is Reduction.NONE:
        raise UnsupportedOperationError(
            "a loss for each element is not supported; use a sum or mean"
        )


LOWERINGS: Lowerings = {
    graph.ElementLoss: ElementLossLowering(),
    graph.ElementLossGradient: ElementLossGradientLowering(),
}


def _sample(
    build: Callable[[Sizes, LossFunction], MeshOperation], function: LossFunction, *more: str
) -> Sample:
    """Return a sample; rows of a function that is computed in chunks are whole chunks."""
    is_in_chunks = _FORMS[function].is_in_chunks
    whole = grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK))
    return Sample(
        lambda sizes: build(sizes, function),
        rounds=("rows", "rows*chunks") if is_in_chunks else ("rows",),
        lengths=(*more, "chunk" if is_in_chunks else "columns"),
        grid=whole if is_in_chunks else ROWS_AND_INNER,
        is_of_singles=True,
        rows=OF_TRAINING,
    )


def _add_up(sizes: Sizes, function: LossFunction) -> MeshOperation:
    block, room = sizes.block(), sizes.row(arena=Arena.ACTIVATIONS)
    total = Block(Arena.ACTIVATIONS, 0, 1, 1)
    return AddUpElements(total, block, block, room, Axis.X, 4 * sizes.columns, function)


def _back(sizes: Sizes, function: LossFunction) -> MeshOperation:
    block, seed = sizes.block(), Block(Arena.ACTIVATIONS, 0, 1, 1)
    features = 4 * sizes.columns
    return BackFromElements(block, block, block, seed, Axis.X, features, function, 0.5)


SAMPLES = (
    *(_sample(_add_up, function) for function in LossFunction),
    *(_sample(_back, function, "elements") for function in LossFunction),
)
