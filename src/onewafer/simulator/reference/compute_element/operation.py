"""A DSD operation in flight, and how long its elements take (M13, M30–M37)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from onewafer.errors import SimulationError
from onewafer.image import DSD_OPERATIONS, DsdConfig, DsdOperation, FifoAction
from onewafer.simulator.arithmetic.control import ADVANCE_MARK
from onewafer.simulator.arithmetic.outputs import ADVANCES, NUM_PACKED
from onewafer.simulator.arithmetic.undefined import carry_of
from onewafer.simulator.protocol.messages import UNPACKED_OPERAND
from onewafer.simulator.reference.compute_element.fifo import Fifo, FifoOperand
from onewafer.simulator.reference.compute_element.operand import (
    ENDLESS,
    BlockOperand,
    InputOperand,
    Operand,
    OutputOperand,
    PointerOperand,
    ScalarOperand,
    VectorOperand,
    count_wraps,
    share_banks,
)
from onewafer.simulator.reference.fabric.units import NEVER
from onewafer.simulator.state.schema import MAIN_THREAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.arch import Timing
    from onewafer.simulator.state.statistics import StallReason

_RANK_OF_PRIORITY = (0, 2, 3)
_MAIN_RANK = 1


class Operation:
    """Operands, progress and thread of one DSD operation."""

    __slots__ = (
        "accumulator",
        "config",
        "dest",
        "element",
        "element_cycles",
        "fifo_dest",
        "fifo_sources",
        "finish_at",
        "has_started",
        "inputs",
        "is_fabric",
        "is_packed",
        "is_prepared",
        "is_stepwise",
        "kind",
        "last_served",
        "length",
        "next_element",
        "output",
        "pc",
        "rank",
        "reason",
        "remaining",
        "scalar",
        "shares_banks",
        "src0",
        "src1",
        "start",
        "thread",
        "waiting_since",
    )

    def __init__(
        self,
        kind: DsdOperation,
        element: Callable[[int, int, int], int],
        operands: tuple[Operand, Operand, Operand],
        scalar: int,
        *,
        config: DsdConfig | None,
        pc: int,
        length: int | None = None,
    ) -> None:
        """Take the length from the operands (M35, M149), unless it is given."""
        self.kind = kind
        self.element = element
        self.length = _length_of(*operands) if length is None else length
        self.dest, self.src0, self.src1 = operands if self.length else _NOTHING
        self.scalar = scalar
        self.config = config
        self.pc = pc
        self.thread = MAIN_THREAD if config is None else config.microthread
        self.rank = _MAIN_RANK if config is None else _RANK_OF_PRIORITY[config.priority]
        self.inputs = [
            source for source in (self.src0, self.src1) if isinstance(source, InputOperand)
        ]
        self.output = self.dest if isinstance(self.dest, OutputOperand) else None
        self.fifo_sources = [
            source for source in (self.src0, self.src1) if isinstance(source, FifoOperand)
        ]
        self.fifo_dest = self.dest if isinstance(self.dest, FifoOperand) else None
        self.is_fabric = bool(self.inputs) or self.output is not None
        self.is_stepwise = self.is_fabric or bool(self.fifo_sources) or self.fifo_dest is not None
        """True if elements are executed one at a time (M33, M111)."""
        fabric = [*self.inputs, *filter(None, (self.output,))]
        self.is_packed = any(operand.is_packed for operand in fabric)
        """True if two elements at a time are executed: those that share wavelets (M150)."""
        has_fifo = bool(self.fifo_sources) or self.fifo_dest is not None
        if self.is_packed and (has_fifo or not all(operand.is_packed for operand in fabric)):
            raise SimulationError(UNPACKED_OPERAND)
        self.shares_banks = False
        """True if its sources conflict at memory banks (M13)."""
        self.is_prepared = False
        """True if a map loop has set it up before it issues (M122)."""
        self.accumulator = self._find_accumulator()
        self.next_element = 0
        self.start = 0
        self.remaining = 0
        """Memory-only: data path cycles."""
        self.element_cycles = 1
        """Stepwise: data path cycles of a step: one element, or the elements of a wavelet."""
        self.has_started = False
        self.last_served = -1
        self.finish_at = NEVER
        self.reason: StallReason | None = None
        self.waiting_since = 0
        """First cycle of the current stall."""

    @property
    def is_endless(self) -> bool:
        """True if the operation never ends by itself (M35)."""
        return self.is_fabric and self.length == ENDLESS

    @property
    def is_complete(self) -> bool:
        """True if the last element has been executed."""
        return self.next_element == self.length and not self.is_endless

    @property
    def is_all_or_nothing(self) -> bool:
        """True if only the last element reaches the destination: a FIFO may end it (M112)."""
        is_scalar = isinstance(self.dest, PointerOperand)
        return is_scalar and self.config is None and bool(self.fifo_sources)

    @property
    def is_reduction(self) -> bool:
        """True if several elements go into one scalar."""
        return isinstance(self.dest, PointerOperand) and self.length > 1

    @property
    def ends_on_control(self) -> bool:
        """True if a control wavelet ends the operation (M98)."""
        return self.config is not None and self.config.ends_on_control

    @property
    def lacking_fifo(self) -> Fifo | None:
        """The FIFO that is empty (a source) or full (M111), or None."""
        for source in self.fifo_sources:
            if not source.fifo.count:
                return source.fifo
        dest = self.fifo_dest
        if dest is None or any(source.fifo is dest.fifo for source in self.fifo_sources):
            return None
        return dest.fifo if dest.fifo.is_full(dest.num_bytes) else None

    def gives_up(self, action: FifoAction) -> bool:
        """Tell whether the operation ends instead of waiting for a FIFO (M112, M115)."""
        is_tested = action is FifoAction.TEST_OR_SUSPEND and self.config is None
        return is_tested or action is FifoAction.TERMINATE

    def clear_source(self) -> None:
        """Zero the source of a finished operation whose destination requests it (M47).

        Each element was read before, so its address is valid.
        """
        if self.output is None or self.output.cleared_source < 0:
            return
        source = (self.src0, self.src1)[self.output.cleared_source]
        if isinstance(source, VectorOperand | BlockOperand):
            for k in range(self.length):
                source.write(k, 0)

    def step(self) -> int:
        """Read, compute and write the next element, or two (M36, M150); return their number."""
        first = self.next_element
        self._step_element()
        if self.is_packed and not self.is_complete:
            self._step_element()
        if self.output is not None and self.output.flags & ADVANCES and self.is_complete:
            self.output.written |= ADVANCE_MARK
        return max(1, self.next_element - first)

    def _step_element(self) -> None:
        k = self.next_element
        a, b = self.src0.read(k), self.src1.read(k)
        word = self.element(a, b, self.scalar)
        if not self.is_all_or_nothing or k + 1 == self.length:
            self.dest.write(k, word)
        if self.accumulator is not None:
            self.accumulator.write(k, word)
        if all(source.is_progress for source in self.inputs):
            self.next_element = k + 1
            self._carry(a, b)

    def perform(self) -> None:
        """Execute every element."""
        element = self.element
        read0, read1, write = self.src0.read, self.src1.read, self.dest.write
        accumulate = None if self.accumulator is None else self.accumulator.write
        for k in range(self.length):
            a, b = read0(k), read1(k)
            word = element(a, b, self.scalar)
            write(k, word)
            if accumulate is not None:
                accumulate(k, word)
            self._carry(a, b)

    def is_held_by(self, threads: int) -> bool:
        """Tell whether the operation is held by one of the blocked microthreads (M146)."""
        return bool(threads >> self.thread & 1) and (self.is_stepwise or not self.has_started)

    def _carry(self, a: int, b: int) -> None:
        """Keep the carry of an addition for the next element (M140)."""
        if self.kind is DsdOperation.ADDC16:
            self.scalar = carry_of(a, b, self.scalar)

    def _find_accumulator(self) -> ScalarOperand | None:
        """Return the register source that a reduction replaces by its running result (M37)."""
        info = DSD_OPERATIONS[self.kind]
        if not self.is_reduction or info.src0 is None:
            return None
        scalars = [source for source in (self.src0, self.src1) if isinstance(source, ScalarOperand)]
        return scalars[0] if scalars else None


class OperationTiming:
    """Computes durations of operations; caches their rates."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._rates: dict[tuple[DsdOperation, int, bool], Fraction] = {}

    def prepare(self, operation: Operation, cycle: int, *, has_scalar: bool) -> None:
        """Set start and durations of an operation that issues in `cycle` (M13, M30–M33, M151)."""
        timing = self._timing
        is_fabric = operation.is_fabric
        setup = timing.fabric_setup_cycles if is_fabric else timing.memory_setup_cycles
        if has_scalar:
            setup += timing.scalar_setup_cycles
        operation.waiting_since = cycle
        dispatch = 0 if operation.config is None else timing.dispatch_cycles
        operation.start = cycle + dispatch + (0 if operation.is_prepared else setup)
        operands = (operation.dest, operation.src0, operation.src1)
        stride = max(abs(operand.stride) for operand in operands)
        rate = self._rate(operation.kind, stride, is_reduction=operation.is_reduction)
        operation.shares_banks = share_banks(operation.src0, operation.src1)
        if operation.shares_banks:
            rate /= timing.bank_conflict_factor
        num_elements = NUM_PACKED if operation.is_packed else 1
        cycles = _ceil_div(num_elements * rate.denominator, rate.numerator)
        operation.element_cycles = max(1, cycles)
        cycles = _ceil_div(operation.length * rate.denominator, rate.numerator)
        cycles += timing.wrap_cycles * count_wraps(operation.src0, operation.src1, operation.length)
        operation.remaining = max(1, cycles)  # also of an operation of no elements (M35)

    def _rate(self, kind: DsdOperation, stride: int, *, is_reduction: bool) -> Fraction:
        key = (kind, stride, is_reduction)
        rate = self._rates.get(key)
        if rate is None:
            rate = self._timing.elements_per_cycle[kind.name.lower()]
            if is_reduction:
                rate = min(rate, self._timing.reduction_elements_per_cycle)
            if stride > 1 and rate > 1:
                rate = max(Fraction(1), rate / stride)
            self._rates[key] = rate
        return rate


_NOTHING = (ScalarOperand(0), ScalarOperand(0), ScalarOperand(0))
"""The operands of an operation without elements, which neither waits for others nor blocks them
(M35)."""


def _length_of(dest: Operand, src0: Operand, src1: Operand) -> int:
    """Return the extent of the first operand that has one, else 1 (M35, M149)."""
    into = dest.fifo.extent(is_written=True) if isinstance(dest, FifoOperand) else dest.extent
    extents = (src0.extent, src1.extent, into)
    return next((extent for extent in extents if extent is not None), 1)


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
