"""The timing of one machine under one profile.

All cycle counts of the simulator and the cost model. The rules that give these numbers a meaning
are in `docs/explanation/machine.md`; each field names its rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles and buffer sizes. Rates are exact fractions, in elements per cycle."""

    hop_cycles: int
    """From leaving one router to being routable at the next (M50)."""
    credit_cycles: int
    """From leaving a router buffer to the sender's knowledge of the free place (M53)."""
    router_buffer_words: int
    """Places per router, color and incoming link (M52)."""
    link_window_words: int
    """A link carries at most this many wavelets in any `link_window_cycles` cycles (M55)."""
    link_window_cycles: int
    ramp_cycles: int
    """Between compute element and router, each way: T_R (M40)."""
    memory_setup_cycles: int
    """From issue of a memory-only DSD operation to its first element (M30)."""
    fabric_setup_cycles: int
    """From issue of a DSD operation with a fabric operand to its first element (M30)."""
    scalar_setup_cycles: int
    """Added when the operation has a third, scalar source (M30)."""
    resume_cycles: int
    """From the end of a synchronous DSD operation to the next instruction (M31)."""
    dispatch_cycles: int
    """From the issue of an asynchronous DSD operation to that on its microthread (M31)."""
    task_start_cycles: int
    """From picking a task to its first instruction (M63)."""
    branch_taken_cycles: int
    """A taken conditional branch; `instruction_cycles["branch"]` is one that is not taken (M21)."""
    timestamp_cycles: int
    """A read of the cycle counter (M22)."""
    timestamp_wait_cycles: int
    """From the issue of such a read to the cycle that it reads (M22)."""
    timestamp_drain_cycles: int
    """From the end of a synchronous DSD operation to the issue of such a read (M22)."""
    instruction_cycles: Mapping[str, int]
    """Main-thread cycles by lower-case name of `image.CostClass` (M20)."""
    elements_per_cycle: Mapping[str, Fraction]
    """Memory-only throughput by lower-case name of `image.DsdOperation` (M32)."""
    reduction_elements_per_cycle: Fraction
    """Throughput of an operation whose destination is one scalar (M32)."""
    bank_conflict_factor: Fraction
    """Slowdown of an operation whose two sources share memory banks (M13)."""
    wrap_cycles: int
    """Added at each end of a row of an operation with two sources in memory (M151)."""
    result_cycles: int
    """From writing an element to reading it in a later operation (M152)."""

    @property
    def map_begin_cycles(self) -> int:
        """Cycles to begin a map loop, which sets up its first operation (M120)."""
        return max(self.memory_setup_cycles, self.instruction_cycles["dsd"])
