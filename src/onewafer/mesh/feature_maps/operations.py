"""Pools, depthwise convolutions and scaling of feature maps; each PE has all their pixels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank, count_shared
from onewafer.mesh.elementwise.vectors import FACTORS
from onewafer.mesh.entry import float_words
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
from onewafer.mesh.sizes import block_entry, block_sizes, in_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Window
    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

POOL = Module("pool", f"{ELEMENT}, .window = window", (WINDOW,))


class OverTaps(MeshOperation):
    """An operation that visits the kernel's taps, and for each the places with a tap in the map."""

    __slots__ = ()

    window: Window

    @property
    @abstractmethod
    def maps(self) -> Block:
        """The block with a row for each pixel of the feature maps."""

    @property
    def samples(self) -> int:
        """The number of feature maps."""
        return self.maps.rows // self.window.num_pixels

    def sizes_of_taps(self, block: Block) -> dict[str, int]:
        """Return the sizes that the cost depends on, except those of blocks.

        Of the `taps`, `met` reach a line of the result and `reached` a place; `passes` are the
        reached taps of all feature maps, `lines` the result lines that they reach, and `strip` the
        mean number of places that a tap reaches in a line. A vector has as many elements as `block`
        has columns.
        """
        window, samples = self.window, self.samples
        is_tap = self.taps_by_line()
        lines = samples * int(is_tap.any(axis=2).sum())
        edges, edges_of_rows, met = Edges(), Edges(), 0
        for i in range(window.kernel_height):
            y = i * window.dilation_y - window.top
            first = edges.first(y, window.stride_y)
            end = edges.end(y, window.stride_y, window.height, window.result_height)
            met += window.kernel_width * (end > first)
        for j in range(window.kernel_width):
            x = j * window.dilation_x - window.left
            edges_of_rows.first(x, window.stride_x)
            edges_of_rows.end(x, window.stride_x, window.width, window.result_width)
        reached = int(is_tap.any(axis=(1, 2)).sum())
        return {
            **edges.plus(edges_of_rows, times=window.kernel_height),
            "step": window.stride_x * block.columns,
            "kernel_height": window.kernel_height,
            "taps": window.num_taps,
            "met": met,
            "reached": reached,
            "passes": samples * reached,
            "lines": lines,
            "strip": -(-samples * int(is_tap.sum()) // max(lines, 1)),
        }

    def taps_by_line(self) -> NDArray[np.bool_]:
        """Return the places with each tap in the map, `[taps, lines of the result, places]`."""
        window = self.window
        is_tap = (window.sources() >= 0).T
        return is_tap.reshape(window.num_taps, window.result_height, window.result_width)


class Pool(OverTaps):
    """An operation on each feature alone, in strips of neighbouring pixels of a line."""

    __slots__ = ()

    result: Block

    @property
    @abstractmethod
    def places(self) -> Block:
        """The block with a row for each place of the window."""

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, **self.sizes_of_taps(self.result)}

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the strips whose two sources begin in the same bank.

        There are none if pixels are skipped, or if the result has another type: the strides differ.
        """
        kind = self.dsd_operation(program.dtype)
        if self.window.stride_x > 1 or kind == "fmachs":
            return NO_CONFLICTS
        is_tap = self.taps_by_line()
        taps, lines = np.nonzero(is_tap.any(axis=2))
        first = is_tap.argmax(axis=2)[taps, lines]
        pixels = lines * self.window.result_width + first
        sources = self.window.sources()[pixels, taps]
        maps = np.arange(self.samples)[:, np.newaxis]
        features = np.arange(self.result.columns)
        begins = [
            block.offset + (maps * size + rows)[..., np.newaxis] * self.result.columns + features
            for block, size, rows in (
                (self.places, self.window.num_result_pixels, pixels),
                (self.maps, self.window.num_pixels, sources),
            )
        ]
        left, right = (bank(begin, program.dtype) for begin in begins)
        strip = self.sizes(program, launch)["strip"]
        return Conflicts(int((left == right).sum()), kind, strip)

    @abstractmethod
    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of the kernel's DSD operation."""


class _OfInput(Pool):
    """A pool that reads the pixels of an input and writes the places of a result."""

    __slots__ = ()

    input: Block

    @property
    def maps(self) -> Block:
        return self.input

    @property
    def places(self) -> Block:
        return self.result


@dataclass(frozen=True, slots=True)
class ConvolveDepthwise(_OfInput):
    """Convolve each feature with its own weights: the result is the sum of taps times weights.

    The sum starts at +0 and adds the taps inside the feature map in ascending order, rounded after
    each term.
    """

    kinds = (
        Kind(
            42,
            "depthwise",
            """
            const weight = @ptrcast([*]element, &model.parameters[round_offset + right]);
            pool.weigh(sums(result, 1), activation(left, 1), weight, columns);
            """,
            (POOL,),
            (READ_WINDOW,),
            beginning=WITH_WINDOW,
        ),
    )

    result: Block
    """f32."""
    input: Block
    weight: Block
    """A row for each tap."""
    window: Window

    def entry(self, program: ProgramShape) -> Entry:
        more = window_words(self.window, self.samples)
        return block_entry(program, self.kind, self.result, self.input, self.weight, more=more)

    def execute(self, memories: Memories) -> None:
        maps = maps_of(memories, self.input, self.window).astype(np.float32)
        weights = memories.matrix(self.weight).astype(np.float32)
        shape = (*maps.shape[:3], self.window.num_result_pixels, self.result.columns)
        sums = np.zeros(shape, np.float32)
        for tap, sources in enumerate(self.window.sources().T):
            (pixels,) = np.nonzero(sources >= 0)
            row = weights[:, :, np.newaxis, np.newaxis, tap]
            rows = maps[..., sources[pixels], :]
            sums[..., pixels, :] = accumulate(memories, sums[..., pixels, :], rows, row)
        memories.write(self.result, sums)

    def dsd_operation(self, dtype: DataType) -> str:
        return "fmachs" if dtype is DataType.F16 else "fmacs"


@dataclass(frozen=True, slots=True)
class MaxPool(_OfInput):
    """Take the largest value of each feature over the taps inside the feature map; exact.

    The result is NaN if a value is NaN, and +0 is larger than −0.
    """

    kinds = (
        Kind(
            43,
            "max_pool",
            """
            pool.maximum(activation(result, 1), activation(left, 1), columns);
            """,
            (POOL,),
            (READ_WINDOW,),
            beginning=WITH_WINDOW,
        ),
    )

    result: Block
    input: Block
    window: Window

    def entry(self, program: ProgramShape) -> Entry:
        more = window_words(self.window, self.samples)
        return block_entry(program, self.kind, self.result, self.input, more=more)

    def execute(self, memories: Memories) -> None:
        maps = maps_of(memories, self.input, self.window)
        shape = (*maps.shape[:3], self.window.num_result_pixels, self.result.columns)
        largest = np.full(shape, -np.inf, maps.dtype)
        for sources in self.window.sources().T:
            (pixels,) = np.nonzero(sources >= 0)
            rows = maps[..., sources[pixels], :]
            largest[..., pixels, :] = arithmetic.maximum(largest[..., pixels, :], rows)
        memories.write(self.result, largest)

    def dsd_operation(self, dtype: DataType) -> str:
        return in_type("fmax", dtype)


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(MeshOperation):
    """Add up the rows of each sample in f32, and divide by their number.

    The sum starts at +0 and adds rows in ascending order. Each sum is rounded, so is the product
    with one over the number of rows, and then the result to the program's dtype.
    """

    kinds = (
        Kind(
            39,
            "global_average_pool",
            """
            const samples = words[8];
            global_average_pool.run(activation(result, fixed), sums(words[9], fixed),
                          activation(left, columns), samples, inner, columns, number(words, 10));
            entry += 4;
            """,
            (Module("global_average_pool", ELEMENT),),
        ),
    )

    result: Block
    input: Block
    sums: Block
    """f32, as large as the result; in an f32 program it is the result."""

    @property
    def samples(self) -> int:
        """The number of samples: the rows of the result."""
        return self.result.rows

    @property
    def rows(self) -> int:
        """The number of rows of each sample."""
        return self.input.rows // self.samples

    def entry(self, program: ProgramShape) -> Entry:
        more = (self.samples, self.sums, *float_words(1 / self.rows))
        return block_entry(program, self.kind, self.result, self.input, inner=self.rows, more=more)

    def execute(self, memories: Memories) -> None:
        rows = memories.view(self.input, self.samples, self.rows, self.input.columns)
        sums = np.zeros((*rows.shape[:3], self.input.columns), np.float32)
        for r in range(self.rows):
            sums = arithmetic.add(sums, rows[:, :, :, r].astype(np.float32))
        factor = np.full((), 1 / self.rows, np.float32)
        memories.store(self.result, arithmetic.multiply(sums, factor))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, "samples": self.samples, "rows": self.input.rows}

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same bank as their sums; f16 rows never conflict."""
        del launch
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        count = count_shared(self.input, self.sums, self.input.rows, program.dtype)
        return Conflicts(count, "fadds", self.result.columns)


@dataclass(frozen=True, slots=True)
class ScaleFeatureMaps(MeshOperation):
    """Multiply all rows of each sample by the sample's row of factors, in the program's dtype."""

    kinds = (
        Kind(
            40,
            "scale_feature_maps",
            """
            var at: u16 = 0; // the first element of a map, and of its factors
            var factors_at = right;
            for (@range(u16, words[8])) |_| {
              factors.run(activation(result + at, columns), activation(left + at, columns),
                          activation(factors_at, columns), inner, columns);
              at += inner * columns;
              factors_at += columns;
            }
            entry += 1;
            """,
            (FACTORS,),
        ),
    )

    result: Block
    input: Block
    factors: Block
    """A row for each sample."""

    @property
    def rows(self) -> int:
        """The number of rows of each sample."""
        return self.input.rows // self.factors.rows

    def entry(self, program: ProgramShape) -> Entry:
        blocks, samples = (self.result, self.input, self.factors), self.factors.rows
        return block_entry(program, self.kind, *blocks, inner=self.rows, more=(samples,))

    def execute(self, memories: Memories) -> None:
        samples, columns = self.factors.rows, self.input.columns
        maps = memories.view(self.input, samples, self.rows, columns)
        factors = memories.view(self.factors, samples, 1, columns)
        memories.write(self.result, arithmetic.multiply(maps, factors))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        sizes = block_sizes(program, self.result, launch)
        return {**sizes, "samples": self.factors.rows, "rows": self.input.rows}

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same bank as their factors."""
        del launch
        count = count_shared(self.input, self.factors, self.input.rows, program.dtype)
        return Conflicts(count, in_type("fmul", program.dtype), self.result.columns)
