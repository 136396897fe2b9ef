"""Gradients of convolutions and pools, in f32; weight gradients accumulate in place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank, row_banks
from onewafer.mesh.feature_maps.convolutions import CONVOLVE, Convolving
from onewafer.mesh.feature_maps.operations import POOL, OverTaps, Pool
from onewafer.mesh.feature_maps.windows import OF_WINDOW, READ_WINDOW, WINDOW, maps_of, window_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.gradients.operations import GRADIENT
from onewafer.mesh.kinds import NUM_PRESENT, Kind, Module
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.sizes import MOST_STRIDE, block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import DataType, Window
    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


_OF_WEIGHTS = replace(OF_WINDOW, title="gradients of weights of single features")


@dataclass(frozen=True, slots=True)
class AddTapProducts(Convolving):
    """Add the gradient of a convolution's weight to the accumulated one.

    `result[t, k, c] += Σₚ input[tap t of p, k] · gradient[p, c]` over the taps inside the feature
    map, with p in ascending order, rounded after each term. Rows of padding become 0, whatever the
    input holds in its padding.
    """

    kinds = (
        Kind(
            230,
            "add_tap_products",
            """
            const operand = @ptrcast([*]element, &model.activations[left]);
            const after = size(words[22]) - 1 - place(words[22]);
            convolve.add_products(gradient(result, columns), activation(right, columns), operand,
                                  columns, inner, num_present(inner, fixed, after), words[21]);
            entry += 2;
            """,
            (CONVOLVE,),
            (READ_WINDOW, GRADIENT, NUM_PRESENT),
            beginning=OF_WINDOW,
        ),
    )

    result: Block
    """A block in the arena of parameter gradients, with the rows of the weight."""
    input: Block
    gradient: Block
    window: Window
    axis: Axis
    """The axis along which blocks of the input's features lie."""
    features: int
    """Features of the input over all PEs, without padding."""
    column: int | None = None
    """As in `Convolving`."""

    @property
    def places(self) -> Block:
        return self.gradient

    @property
    def weights(self) -> Block:
        return self.result

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(
            program,
            self.kind,
            self.taken_weights,
            self.input,
            self.gradient,
            n=program.size(self.axis) * self.input.columns - self.features,
            inner=self.input.columns,
            more=(
                *window_words(self.part, self.samples),
                self.window.kernel_width,
                self.axis.number,
            ),
        )

    def execute(self, memories: Memories) -> None:
        inner, columns = self.input.columns, self.gradient.columns
        window = self.window
        maps = maps_of(memories, self.input, window)
        gradient = memories.view(self.gradient, self.samples, window.num_result_pixels, columns)
        sums = memories.view(self.result, window.num_taps, inner, columns).copy()
        taps, sources = np.array(self.taps), self.part.sources()
        for sample, place in np.ndindex(self.samples, window.num_result_pixels):
            (inside,) = np.nonzero(sources[place] >= 0)
            rows = maps[:, :, sample, sources[place, inside], :, np.newaxis]
            factors = gradient[:, :, sample, place, np.newaxis, np.newaxis]
            taken = sums[:, :, taps[inside]]
            sums[:, :, taps[inside]] = arithmetic.fused_multiply_add(taken, rows, factors)
        is_taken = np.isin(np.arange(window.num_taps), taps)[:, np.newaxis, np.newaxis]
        is_feature = memories.are_features(self.axis, inner, self.features)
        is_kept = is_feature[:, :, np.newaxis, :, np.newaxis] | ~is_taken
        memories.write(self.result, np.where(is_kept, sums, np.float32(0)))


@dataclass(frozen=True, slots=True)
class ConvolutionInputGradient(OverTaps):
    """Compute the partial sums of a convolution's input gradient.

    `result[q, k] = Σ gradient[p, c] · weight[t, k, c]` over all c, and all p and t where q is tap t
    of p. The sum starts at +0 and adds t, and c for each t, in ascending order, rounded after each
    term. Columns that pad the last blocks are +0.
    """

    kinds = (
        Kind(
            231,
            "convolution_input_gradient",
            """
            const axis = words[21];
            const after = size(axis) - 1 - place(axis);
            convolve_input_gradient.run(activation(result, 1), activation(left, 1),
                                        parameter(right, 1), activation(words[22], 1),
                                        columns, inner, fixed, after);
            entry += 2;
            """,
            (
                Module(
                    "convolve_input_gradient",
                    ".window = window, .turned = turned",
                    (WINDOW, Module("turned")),
                ),
            ),
            (READ_WINDOW,),
            beginning=OF_WINDOW,
        ),
    )

    result: Block
    """A row for each pixel."""
    gradient: Block
    weight: Block
    """Weight rows of all taps of the kernel: for each tap, one row for each column of the
    result."""
    piece: Block
    """Scratch for the transposed weights of one tap."""
    window: Window
    axis: Axis
    """The axis along which blocks of the result's columns lie."""
    features: int
    """Columns of the result over all PEs, without padding."""

    @property
    def maps(self) -> Block:
        return self.result

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(
            program,
            self.kind,
            self.result,
            self.gradient,
            self.weight,
            n=program.size(self.axis) * self.result.columns - self.features,
            inner=self.gradient.columns,
            more=(*window_words(self.window, self.samples), self.axis.number, self.piece),
        )

    def execute(self, memories: Memories) -> None:
        columns, inner, window = self.result.columns, self.gradient.columns, self.window
        gradient = memories.view(self.gradient, self.samples, window.num_result_pixels, inner)
        weights = memories.view(self.weight, window.num_taps, columns, inner)
        sums = np.zeros((*gradient.shape[:3], window.num_pixels, columns), np.float32)
        for tap, sources in enumerate(window.sources().T):
            (places,) = np.nonzero(sources >= 0)
            partial = sums[..., sources[places], :]
            for c in range(inner):
                factor = gradient[..., places, c, np.newaxis]
                row = weights[:, :, np.newaxis, np.newaxis, tap, :, c]
                partial = arithmetic.fused_multiply_add(partial, factor, row)
            sums[..., sources[places], :] = partial
        memories.write(self.result, memories.without_padding(sums, self.axis, self.features))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on; PEs with padding finish earlier.

        The weights of each tap that reaches a pixel are transposed: `near` taps with strided
        copies, `far` taps element by element. All taps together reach `pixels` pixels, in `steps`
        vectors.
        """
        inner = self.gradient.columns
        sizes = self.sizes_of_taps(self.result)
        is_near, turns = int(inner <= MOST_STRIDE), sizes["reached"]
        pixels = self.samples * int((self.window.sources() >= 0).sum())
        return {
            **block_sizes(program, self.result, launch),
            **sizes,
            "inner": inner,
            "stride": inner,
            "near": is_near * turns,
            "far": (1 - is_near) * turns,
            "pixels": pixels,
            "steps": pixels * inner,
        }

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds: one for each pixel, tap inside the map and feature."""
        del launch
        columns, sources = self.result.columns, self.window.sources()
        transposed = row_banks(self.piece, self.gradient.columns, program.dtype)
        first = np.arange(self.samples)[:, np.newaxis] * self.window.num_pixels
        pixels = first + sources[sources >= 0]
        begins = bank(self.result.offset + pixels * columns, program.dtype)
        banks: Counter[int] = Counter(begins.reshape(-1).tolist())
        count = sum(times * transposed[found] for found, times in banks.items())
        return Conflicts(count, "fmacs", columns)


@dataclass(frozen=True, slots=True)
class DepthwiseInputGradient(Pool):
    """Compute the input gradient of a depthwise convolution.

    Each sum starts at +0 and adds taps in ascending order, rounded after each term.
    """

    kinds = (
        Kind(
            232,
            "depthwise_input_gradient",
            """
            const weight = @ptrcast([*]element, &model.parameters[round_offset + right]);
            pool.give_back(activation(result, 1), activation(left, 1), weight, columns);
            """,
            (POOL,),
            (READ_WINDOW,),
            beginning=OF_WINDOW,
        ),
    )

    result: Block
    """A row for each pixel."""
    gradient: Block
    weight: Block
    """A row for each tap."""
    window: Window

    @property
    def maps(self) -> Block:
        return self.result

    @property
    def places(self) -> Block:
        return self.gradient

    def entry(self, program: ProgramShape) -> Entry:
        more = window_words(self.window, self.samples)
        return block_entry(program, self.kind, self.result, self.gradient, self.weight, more=more)

    def execute(self, memories: Memories) -> None:
        window, columns = self.window, self.result.columns
        gradient = memories.view(self.gradient, self.samples, window.num_result_pixels, columns)
        weights = memories.matrix(self.weight)
        sums = np.zeros((*gradient.shape[:3], window.num_pixels, columns), np.float32)
        for tap, sources in enumerate(window.sources().T):
            (places,) = np.nonzero(sources >= 0)
            row = weights[:, :, np.newaxis, np.newaxis, tap]
            sums[..., sources[places], :] = arithmetic.fused_multiply_add(
                sums[..., sources[places], :], gradient[..., places, :], row
            )
        memories.write(self.result, sums)

    def dsd_operation(self, dtype: DataType) -> str:
        del dtype
        return "fmacs"


@dataclass(frozen=True, slots=True)
class AddDepthwiseProducts(Pool):
    """Add the gradient of a depthwise convolution's weight to the accumulated one.

    `result[t, c] += Σₚ gradient[p, c] · input[tap t of p, c]` over the taps inside the feature map,
    with p in ascending order; each product and each sum is rounded.
    """

    kinds = (
        Kind(
            235,
            "add_depthwise_products",
            """
            depthwise_weight_gradient.run(
                @ptrcast([*]f32, &model.gradients[round_offset + result]), activation(left, 1),
                activation(right, 1), columns);
            """,
            (
                Module(
                    "depthwise_weight_gradient",
                    ".pool = pool, .functions = functions",
                    (POOL, FUNCTIONS),
                ),
            ),
            (READ_WINDOW,),
            beginning=_OF_WEIGHTS,
        ),
    )

    result: Block
    """A block in the arena of parameter gradients, with a row for each tap."""
    gradient: Block
    input: Block
    window: Window

    @property
    def maps(self) -> Block:
        return self.input

    @property
    def places(self) -> Block:
        return self.gradient

    def entry(self, program: ProgramShape) -> Entry:
        more = window_words(self.window, self.samples)
        return block_entry(program, self.kind, self.result, self.gradient, self.input, more=more)

    def execute(self, memories: Memories) -> None:
        window, maps = self.window, maps_of(memories, self.input, self.window)
        shape = self.samples, window.num_result_pixels, self.result.columns
        gradient = memories.view(self.gradient, *shape)
        sums = memories.matrix(self.result).copy()
        for tap, sources in enumerate(window.sources().T):
            (places,) = np.nonzero(sources >= 0)
            rows = maps[:, :, :, sources[places]]
            products = arithmetic.multiply(gradient[:, :, :, places], rows)
            for product in np.moveaxis(products.reshape(*sums.shape[:2], -1, shape[-1]), 2, 0):
                sums[:, :, tap] = arithmetic.add(sums[:, :, tap], product)
        memories.write(self.result, sums)

    def dsd_operation(self, dtype: DataType) -> str:
        del dtype
        return "fmuls"


@dataclass(frozen=True, slots=True)
class MaxPoolGradient(OverTaps):
    """Give each place's gradient to the pixel that was its maximum; only the sums are rounded.

    Among equal pixels it is the first tap. A sum starts at +0 and adds taps in ascending order.
    """

    kinds = (
        Kind(
            233,
            "max_pool_gradient",
            """
            max_pool_gradient.run(activation(left, 1), result, left, activation(right, 1), right,
                                  activation(words[22], fixed), words[22],
                                  activation(words[21], fixed), rows, columns);
            entry += 2;
            """,
            (
                Module(
                    "max_pool_gradient",
                    ".pool = pool, .functions = functions",
                    (POOL, FUNCTIONS),
                ),
            ),
            (READ_WINDOW,),
            beginning=OF_WINDOW,
        ),
    )

    result: Block
    """A row for each pixel."""
    gradient: Block
    input: Block
    found: Block
    """The maxima, the result of the forward pass."""
    rest: Block
    """Scratch as large as the gradient, for the part that is still to be given."""
    window: Window

    @property
    def maps(self) -> Block:
        return self.result

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(
            program,
            self.kind,
            self.result,
            self.input,
            self.found,
            n=self.gradient.num_elements,
            more=(*window_words(self.window, self.samples), self.gradient, self.rest),
        )

    def execute(self, memories: Memories) -> None:
        window, columns = self.window, self.result.columns
        maps = maps_of(memories, self.input, window)
        shape = self.samples, window.num_result_pixels, columns
        found, gradient = (memories.view(block, *shape) for block in (self.found, self.gradient))
        rest, sums = gradient.copy(), np.zeros(maps.shape, np.float32)
        for sources in window.sources().T:
            (places,) = np.nonzero(sources >= 0)
            at = sources[places]
            values, maxima = (
                arithmetic.add(numbers, np.zeros((), np.float32)).view(np.uint32)
                for numbers in (maps[..., at, :], found[..., places, :])
            )
            left, is_found = rest[..., places, :], values == maxima
            given = np.where(is_found, left, np.float32(0))
            rest[..., places, :] = np.where(is_found, np.float32(0), left)
            sums[..., at, :] = arithmetic.add(sums[..., at, :], given)
        memories.write(self.rest, rest)
        memories.write(self.result, sums)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        sizes = block_sizes(program, self.result, launch) | self.sizes_of_taps(self.result)
        return {**sizes, "places": self.gradient.num_elements}


@dataclass(frozen=True, slots=True)
class RepeatRows(MeshOperation):
    """Copy the row of each sample to all its rows; exact."""

    kinds = (
        Kind(
            234,
            "repeat_rows",
            """
            repeat_rows.run(activation(result, columns), activation(left, columns),
                            words[8], inner, columns);
            entry += 1;
            """,
            (Module("repeat_rows"),),
        ),
    )

    result: Block
    input: Block
    """A block with a row for each sample."""

    @property
    def rows(self) -> int:
        """The number of rows of each sample."""
        return self.result.rows // self.input.rows

    def entry(self, program: ProgramShape) -> Entry:
        more = (self.input.rows,)
        return block_entry(program, self.kind, self.result, self.input, inner=self.rows, more=more)

    def execute(self, memories: Memories) -> None:
        rows = memories.view(self.input, self.input.rows, self.input.columns)
        memories.write(self.result, np.repeat(rows, self.rows, axis=2))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return {**block_sizes(program, self.result, launch), "samples": self.input.rows}
