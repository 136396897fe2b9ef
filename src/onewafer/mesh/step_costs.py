"""The cycles of the kernels under one timing: `kernel_costs`, evaluated once for many programs.

In: counts of instructions by name, and the cycles of each. Out: for each kernel a number of cycles,
and DSD operations whose lengths depend on the program, grouped by equal duration.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.kernel_costs import VectorOperation, kernel_costs

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from onewafer.arch import Timing
    from onewafer.graph import DataType
    from onewafer.mesh.blocks import RowKind
    from onewafer.mesh.kernel_costs import Counts, KernelCosts, Size
    from onewafer.mesh.kinds import Kind

_WITH_SCALAR = frozenset({"fmach", "fmacs", "fmachs"})
"""DSD operations with a third, scalar source."""
_MOST_KNOWN = 4
_MOST_STEPS = 1 << 15
"""The most steps whose cycles are cached: rectangles with equal blocks share them."""
_MOST_CLASSES = 16
"""The most elements of a size that is an array in a cached step."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Elements of a DSD operation per cycle, as a fraction."""

    elements: int
    cycles: int

    @classmethod
    def of(cls, elements_per_cycle: Fraction) -> Rate:
        """Return the rate with this value."""
        return cls(elements_per_cycle.numerator, elements_per_cycle.denominator)

    def busy(self, num_elements: Size) -> Size:
        """Return the cycles of a number of elements, rounded up."""
        return -(-num_elements * self.cycles // self.elements)


@dataclass(frozen=True, slots=True)
class Product:
    """A product of sizes, which a program determines."""

    factor: int
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Product:
        """Return the product with this text in the format of the file.

        >>> Product.parse("2*rows*inner")
        Product(factor=2, names=('rows', 'inner'))
        """
        factor, names = 1, list[str]()
        for part in text.split("*"):
            if part.isdigit():
                factor *= int(part)
            else:
                names.append(part)
        return cls(factor, tuple(names))

    def of(self, sizes: Mapping[str, Size]) -> Size:
        """Return the value for these sizes."""
        if not self.names:
            return self.factor
        value: Size = self.factor
        for name in self.names:
            value = value * sizes[name]
        return value


@dataclass(frozen=True, slots=True)
class _Rates:
    """The rates of a DSD operation."""

    usual: Rate
    of_many: Rate | None
    """The rate for more than one element, if a reduction to a scalar makes it lower."""

    @classmethod
    def of(cls, rate: Fraction, reduction: Fraction | None, stride: int) -> _Rates:
        """Return the rates for a stride, and for the rate of a reduction if it is one."""
        if stride > 1 and rate > 1:
            rate = max(Fraction(1), rate / stride)
        is_slower = reduction is not None and rate > reduction
        return cls(Rate.of(rate), Rate.of(reduction) if reduction and is_slower else None)

    def busy(self, length: Size) -> Size:
        """Return the cycles in which the operation occupies the data path."""
        busy = self.usual.busy(length)
        if self.of_many is None:
            return busy
        slower = self.of_many.busy(length)
        return busy + (length > 1) * (slower - busy)  # one element needs no reduction


@dataclass(frozen=True, slots=True)
class _Busy:
    """DSD operations that occupy the data path equally long."""

    length: Product
    stride: Product
    """The largest stride of the operands."""
    rate: Fraction
    reduction: Fraction | None
    usual: _Rates
    """The rates for a stride that is known without the program."""

    def cycles(self, sizes: Mapping[str, Size]) -> Size:
        """Return the cycles of one such operation."""
        rates = self.usual
        if self.stride.names:
            stride = int(np.max(self.stride.of(sizes)))
            rates = _Rates.of(self.rate, self.reduction, stride)
        return rates.busy(self.length.of(sizes))


@dataclass(frozen=True, slots=True)
class Cycles:
    """The cycles of some instructions, as far as they are known without the program."""

    fixed: int
    busy: tuple[tuple[int, _Busy], ...]
    """The number of DSD operations of each duration."""

    def of(self, sizes: Mapping[str, Size]) -> Size:
        """Return the cycles for these sizes."""
        cycles: Size = self.fixed
        for count, operation in self.busy:
            cycles = cycles + count * operation.cycles(sizes)
        return cycles


class StepCosts:
    """The cycles of all kernels for one dtype under one timing."""

    def __init__(self, timing: Timing, kernels: KernelCosts) -> None:
        self._of_sizes: dict[Hashable, Size] = {}
        """A cache of the cycles of kernels, by kind and sizes."""
        self._timing = timing
        self._kernels = kernels
        self._steps: dict[Kind, tuple[tuple[Product, Cycles], ...]] = {}
        self.launch = self._read(kernels.launch).fixed
        """Cycles of the exported function that starts the state machine."""
        self.below = self._read(kernels.below).fixed
        """Cycles of a comparison in the search for a kind, if the kind is below."""
        self.above = self._read(kernels.above).fixed
        """Cycles of the same comparison, if the kind is not below."""
        self.second_chain = self._read(kernels.second_chain).fixed
        """Cycles between adding a chain and adding a second one."""
        self.link = Rate(timing.link_window_words, timing.link_window_cycles)
        self.rates = {name: Rate.of(rate) for name, rate in timing.elements_per_cycle.items()}
        """Rates of DSD operations on memory."""
        factor = timing.bank_conflict_factor
        self.rates_in_turns = {
            name: Rate.of(rate / factor) for name, rate in timing.elements_per_cycle.items()
        }
        """Rates of DSD operations whose sources begin in the same bank."""

    def of(self, kind: Kind) -> tuple[tuple[Product, Cycles], ...]:
        """Return the loops of a kernel: the number of iterations, and the cycles of one."""
        if kind not in self._steps:
            self._steps[kind] = tuple(
                (Product.parse(rounds), self._read(counts))
                for rounds, counts in self._kernels.of(kind).items()
            )
        return self._steps[kind]

    def cycles(self, kind: Kind, sizes: Mapping[str, Size]) -> Size:
        """Return the cycles of a kernel for these sizes, summed over the kinds of rows."""
        key = _key(kind, sizes)
        if key is None:
            return self._cycles(kind, sizes)
        if key not in self._of_sizes:
            if len(self._of_sizes) >= _MOST_STEPS:
                self._of_sizes.clear()
            cycles = self._cycles(kind, sizes)
            if not isinstance(cycles, int):
                cycles.flags.writeable = False
            self._of_sizes[key] = cycles
        return self._of_sizes[key]

    def _cycles(self, kind: Kind, sizes: Mapping[str, Size]) -> Size:
        cycles: Size = 0
        for rounds, of_round in self.of(kind):
            cycles = cycles + of_all_rows(rounds.of(sizes) * of_round.of(sizes))
        return cycles

    def _read(self, counts: Counts) -> Cycles:
        timing, fixed = self._timing, 0
        operations: Counter[_Busy] = Counter()
        for name, count in counts.items():
            if name == "branch_taken":
                fixed += count * timing.branch_taken_cycles
            elif name == "map_begin":
                fixed += count * timing.map_begin_cycles
            elif name in timing.instruction_cycles:
                fixed += count * timing.instruction_cycles[name]
            else:
                operation = VectorOperation.parse(name)
                fixed += count * self._around(operation)
                operations[self._busy(operation)] += count
        return Cycles(fixed, tuple((count, busy) for busy, count in operations.items()))

    def _around(self, operation: VectorOperation) -> int:
        """Return the cycles before the first element and after the last one."""
        if operation.is_mapped:
            return 0
        timing = self._timing
        scalar = timing.scalar_setup_cycles if operation.name in _WITH_SCALAR else 0
        return timing.memory_setup_cycles + scalar + timing.resume_cycles

    def _busy(self, operation: VectorOperation) -> _Busy:
        stride, timing = Product.parse(operation.stride), self._timing
        rate = timing.elements_per_cycle[operation.name]
        reduction = timing.reduction_elements_per_cycle if operation.is_reduction else None
        usual = _Rates.of(rate, reduction, stride.factor)
        return _Busy(Product.parse(operation.length), stride, rate, reduction, usual)


def _key(kind: Kind, sizes: Mapping[str, Size]) -> Hashable:
    """Return a key for a kind with these sizes; None if the sizes are too large to be cached."""
    parts: list[Hashable] = [kind]
    for name, size in sizes.items():
        parts.append(name)
        if isinstance(size, int):
            parts.append(size)
        elif size.size <= _MOST_CLASSES:
            parts += (size.shape, size.tobytes())
        else:
            return None
    return tuple(parts)


def of_all_rows(cycles: Size) -> Size:
    """Return the sum over the kinds of rows, if the cycles are an array."""
    return cycles if isinstance(cycles, int) else cycles.sum(axis=0)


_known: deque[tuple[Timing, KernelCosts, StepCosts]] = deque(maxlen=_MOST_KNOWN)
"""Recent costs, by identity: a search asks for one machine again and again."""


def step_costs(timing: Timing, dtype: DataType, *, rows: RowKind) -> StepCosts:
    """Return the costs of all kernels under a timing, for a dtype and a kind of rows."""
    kernels = kernel_costs(dtype, rows=rows)
    for of_timing, of_kernels, costs in _known:
        if of_timing is timing and of_kernels is kernels:
            return costs
    costs = StepCosts(timing, kernels)
    _known.append((timing, kernels, costs))
    return costs
