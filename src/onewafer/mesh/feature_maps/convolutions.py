"""Convolutions over feature maps; each PE has all pixels of its features."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh.banks import bank, row_banks
from onewafer.mesh.feature_maps.windows import (
    READ_WINDOW,
    WINDOW,
    WITH_WINDOW,
    Edges,
    accumulate,
    maps_of,
    window_words,
)
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Window
    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


CONVOLVE = Module("convolve", f"{ELEMENT}, .window = window", (WINDOW,))


class Convolving(MeshOperation):
    """An operation that visits the taps inside the feature map, line by line.

    If the taps of a kernel are not neighbours in a line (dilation), it uses one column of the
    kernel.
    """

    __slots__ = ()

    input: Block
    window: Window
    column: int | None
    """The only kernel column that is used; None: all columns, which are neighbours."""

    @property
    @abstractmethod
    def places(self) -> Block:
        """The block with a row for each place of the window."""

    @property
    @abstractmethod
    def weights(self) -> Block:
        """Weight rows of all taps of the kernel: for each tap, one row for each input column."""

    @property
    def samples(self) -> int:
        """The number of feature maps."""
        return self.input.rows // self.window.num_pixels

    @property
    def part(self) -> Window:
        """The window of the taps in use: the whole kernel, or one column of it."""
        window = self.window
        if self.column is None:
            return window
        shift = self.column * window.dilation_x
        return replace(
            window,
            kernel_width=1,
            left=window.left - shift,
            right=window.right - window.dilation_x * (window.kernel_width - 1) + shift,
            dilation_x=1,
        )

    @property
    def taps(self) -> range:
        """The indices in the whole kernel of the taps in use."""
        if self.column is None:
            return range(self.window.num_taps)
        return range(self.column, self.window.num_taps, self.window.kernel_width)

    @property
    def taken_weights(self) -> Block:
        """The weights, beginning at those of the first tap in use."""
        first = self.taps.start * self.input.columns * self.places.columns
        return replace(self.weights, offset=self.weights.offset + first)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on; PEs with padding finish earlier.

        `begun` is 1 if any pixel has a tap inside the feature map. The kernel then visits the
        `height` lines and `pixels` that may have taps, the `lines` of their taps inside the map,
        and `steps` multiply-add vectors.
        """
        part, samples = self.part, self.samples
        taps = (part.kernel_height, part.kernel_width)
        is_tap = part.sources().reshape(part.result_height, part.result_width, *taps) >= 0
        edges, edges_of_lines = Edges(), Edges()
        below = part.dilation_y * (part.kernel_height - 1) - part.top
        first_y = edges.first(below, part.stride_y)
        end_y = edges.end(-part.top, part.stride_y, part.height, part.result_height)
        first_x = edges.first(part.kernel_width - 1 - part.left, part.stride_x)
        end_x = edges.end(-part.left, part.stride_x, part.width, part.result_width)
        begun = int(end_y > first_y and end_x > first_x)
        height, width = begun * (end_y - first_y), begun * (end_x - first_x)
        for line in range(first_y, first_y + height):
            y = line * part.stride_y - part.top
            edges_of_lines.first(y, part.dilation_y)
            edges_of_lines.end(y, part.dilation_y, part.height, part.kernel_height)
        return {
            **block_sizes(program, self.places, launch),
            **edges.plus(edges_of_lines, times=samples),
            "begun": begun,
            "samples": samples * begun,
            "height": samples * height,
            "pixels": samples * height * width,
            "lines": samples * int(is_tap.any(axis=3).sum()),
            "steps": samples * int(is_tap.sum()) * self.input.columns,
        }

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds: one for each pixel, tap inside the map and row of its weight.

        In f16 the two sources have different strides, and never conflict.
        """
        del launch
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        inner, columns = self.input.columns, self.places.columns
        weights = np.zeros((len(self.taps), 4), np.int64)
        for index, tap in enumerate(self.taps):
            first = self.weights.offset + tap * inner * columns
            rows = row_banks(replace(self.weights, offset=first), inner, program.dtype)
            weights[index, [*rows]] = [*rows.values()]
        is_tap = np.tile(self.part.sources() >= 0, (self.samples, 1))
        pixels = self.places.offset + np.arange(len(is_tap)) * columns
        count = (is_tap @ weights)[np.arange(len(is_tap)), bank(pixels, program.dtype)].sum()
        return Conflicts(int(count), "fmacs", columns)


@dataclass(frozen=True, slots=True)
class Convolve(Convolving):
    """Compute the partial sums of a convolution on each PE.

    `result[p, c] = Σₜ Σₖ input[tap t of p, k] · weight[t, k, c]` over the taps inside the feature
    map. The sum starts at +0 and adds taps, and k for each tap, in ascending order, rounded after
    each term like `Matmul`. Columns that pad the last blocks are +0. A kernel whose taps are not
    neighbours in a line takes one operation for each kernel column, added to the result in order.
    """

    kinds = (
        Kind(
            41,
            "convolve",
            """
            const operand = @ptrcast([*]element, &model.activations[left]);
            const axis = words[21];
            const after = size(axis) - 1 - place(axis);
            const line = words[22];
            const adds = words[23];
            entry += 3;
            const places = window.samples * window.result_height * window.result_width;
            convolve.run(sums(result, places * columns), parameter(right, columns), operand,
                         columns, inner, line, adds, fixed, after);
            """,
            (CONVOLVE,),
            (READ_WINDOW,),
            beginning=WITH_WINDOW,
        ),
    )

    result: Block
    """f32, the rows of all feature maps."""
    input: Block
    weight: Block
    """Weight rows of all taps of the kernel: for each tap, one row for each input column."""
    window: Window
    axis: Axis
    """The axis along which blocks of the result's columns lie."""
    features: int
    """Columns of the result over all PEs, without padding."""
    column: int | None = None
    """As in `Convolving`; every column but the first adds to the result."""

    @property
    def places(self) -> Block:
        return self.result

    @property
    def weights(self) -> Block:
        return self.weight

    def entry(self, program: ProgramShape) -> Entry:
        inner, columns = self.input.columns, self.result.columns
        return block_entry(
            program,
            self.kind,
            self.result,
            self.input,
            self.taken_weights,
            n=program.size(self.axis) * columns - self.features,
            inner=inner,
            more=(
                *window_words(self.part, self.samples),
                self.axis.number,
                self.window.kernel_width,
                int(bool(self.column)),
            ),
        )

    def execute(self, memories: Memories) -> None:
        inner, columns = self.input.columns, self.result.columns
        maps = maps_of(memories, self.input, self.window).astype(np.float32)
        weights = memories.view(self.weight, self.window.num_taps, inner, columns)
        weights = weights.astype(np.float32)
        shape = (*maps.shape[:3], self.window.num_result_pixels, columns)
        sums = np.zeros(shape, np.float32)
        if self.column:
            sums[...] = memories.matrix(self.result).reshape(shape)
        for tap, sources in zip(self.taps, self.part.sources().T, strict=True):
            (pixels,) = np.nonzero(sources >= 0)
            rows, partial = maps[..., sources[pixels], :], sums[..., pixels, :]
            for k in range(inner):
                column = rows[..., k, np.newaxis]
                row = weights[:, :, np.newaxis, np.newaxis, tap, k]
                partial = accumulate(memories, partial, column, row)
            sums[..., pixels, :] = partial
        memories.write(self.result, memories.without_padding(sums, self.axis, self.features))
