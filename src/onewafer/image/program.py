"""The program of one PE: the tile program and its tables.

In: nothing. Out: frozen values that the compiler builds once per distinct instance and the
simulator reads. Unknown here: where on the fabric the program runs; values that differ between
PEs of one instance are in `patches`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from onewafer.image.register_addresses import ALL_MASKED
from onewafer.image.scalar import ScalarType

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DsdKind(IntEnum):
    """The kind of operand that a data structure descriptor describes."""

    MEM1D = 0
    MEM4D = 1
    FABIN = 2
    FABOUT = 3
    FIFO = 4

    @property
    def is_fabric(self) -> bool:
        """True if it describes wavelets."""
        return self in (DsdKind.FABIN, DsdKind.FABOUT)


@dataclass(frozen=True, slots=True)
class DsdDescriptor:
    """The compile-time part of a DSD value (see `instruction`)."""

    kind: DsdKind
    color: int = -1
    """FABIN and FABOUT; −1: that of the queue, where a queue serves one color (M43)."""
    queue: int = -1
    """Input queue (FABIN) or output queue (FABOUT)."""
    is_control: bool = False
    """FABOUT: send control wavelets."""
    extents: tuple[int, ...] = ()
    """MEM4D: outermost first."""
    strides: tuple[int, ...] = ()
    """MEM4D: elements, outermost first; the last loop runs fastest."""
    fifo: int = -1
    """FIFO: index into `TileProgram.fifos`."""
    has_index: bool = False
    """FABOUT: the base address of its value is the high half of each wavelet (M46)."""
    clears: int = -1
    """FABOUT: source, 0 or 1, whose memory an operation zeroes at its end (M47); −1: none."""
    keeps_control: bool = False
    """FABIN, FABOUT: control wavelets are kept in memory as marked words (M48)."""
    advances_switch: bool = False
    """FABOUT: the last wavelet of an operation turns the switch of the sender (M49)."""
    drops_data: bool = False
    """FABIN: control wavelets are the elements, data wavelets are dropped (M99)."""
    packs: bool = False
    """FABIN, FABOUT: two elements of 16 bits share a wavelet (M150)."""


TEARDOWN_TASK = 29
"""The local task that starts when a color is torn down (M130 in `docs/explanation/machine.md`)."""
MAX_MEM4D_LOOPS = 4
"""Loops of a MEM4D descriptor."""
NO_TASK = -1
MAX_ROTATION_LIMIT = (1 << 31) - 1
"""The largest limit of a rotation; how far the machine counts is not published."""


@dataclass(frozen=True, slots=True)
class DsdConfig:
    """The configuration struct of an asynchronous DSD operation."""

    microthread: int
    activate: int = NO_TASK
    """Local task id to activate on completion."""
    unblock: int = NO_TASK
    """`channel()` to unblock on completion."""
    priority: int = 0
    """0 low, 1 medium, 2 high."""
    ends_on_control: bool = False
    """A control wavelet ends the operation (M98)."""
    control_activate: int = NO_TASK
    """Local task id to activate as well, if a control wavelet ends it."""
    control_unblock: int = NO_TASK
    """`channel()` to unblock as well, if a control wavelet ends it."""


class FifoAction(IntEnum):
    """The action of an operation on an empty or a full FIFO (M115)."""

    TEST_OR_SUSPEND = 0
    """A synchronous operation ends and reports it; an asynchronous one waits."""
    TERMINATE = 1
    SUSPEND = 2
    FAULT = 3
    """Stop the simulation."""


@dataclass(frozen=True, slots=True)
class FifoBuffer:
    """A FIFO: memory that DSD operations use as a ring of elements."""

    address: int
    num_bytes: int
    activate_push: int = NO_TASK
    """Local task id to activate by the first push after an operation met an empty FIFO (M113)."""
    activate_pop: int = NO_TASK
    """Local task id to activate by the first pop after an operation met a full FIFO."""
    empty_action: FifoAction = FifoAction.TEST_OR_SUSPEND
    full_action: FifoAction = FifoAction.TEST_OR_SUSPEND


class TaskKind(IntEnum):
    """The event that starts a task."""

    LOCAL = 0
    DATA = 1
    CONTROL = 2


@dataclass(frozen=True, slots=True)
class Task:
    """A task bound to an id. A started data task finds its wavelet in `argument_registers`."""

    kind: TaskKind
    task_id: int
    """LOCAL: 0–30; DATA: color (WSE-2) or input queue (WSE-3); CONTROL: 0–63."""
    entry: int
    """Program counter of the first instruction."""
    name: str
    argument_registers: tuple[int, ...] = ()
    """DATA: () nothing, (r,) whole wavelet in the argument's type, (lo, hi) its two halves."""
    argument_types: tuple[ScalarType, ...] = ()
    is_blocked: bool = False
    """Blocked at start-up."""
    is_active: bool = False
    """LOCAL: activated at start-up."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A control task that starts instead of a data task after every `limit` starts (M142)."""

    task_id: int
    """Id of the data task."""
    alternate: int
    """Entry (id) of the control task."""
    limit: int
    """Number of starts of the data task before the control task starts."""
    initial: int = 0
    """Number of starts that are counted when the program is loaded."""


@dataclass(frozen=True, slots=True)
class QueueBinding:
    """A queue that is attached to a color at start-up."""

    queue: int
    color: int
    is_input: bool
    control_offset: int = 0
    """Number added to the entries of control wavelets that come through the queue (M145)."""


class SymbolKind(IntEnum):
    """The kind of thing that a name stands for."""

    VARIABLE = 0
    FUNCTION = 1


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named thing in a tile program (module-qualified below the entry module: `module.name`)."""

    name: str
    kind: SymbolKind
    address: int
    """VARIABLE: byte address. FUNCTION: program counter."""
    num_bytes: int
    element: ScalarType | None = None
    """VARIABLE: element type; None for DSDs and pointers-to-arrays."""
    argument_registers: tuple[int, ...] = ()
    """FUNCTION: where a launch puts its scalar arguments."""
    argument_types: tuple[ScalarType, ...] = ()
    is_undefined: bool = False
    """VARIABLE: declared without a value, so that its initial data mean nothing."""
    is_wide: bool = False
    """VARIABLE: each number of the program is two of `element`."""


REGISTER_BYTES = 4
"""Size of a frame slot in PE memory."""


class SectionKind(IntEnum):
    """The contents of a stretch of PE memory."""

    RUNTIME = 0
    """Reserved for memcpy and start-up."""
    CODE = 1
    DATA = 2
    STACK = 3
    """Frame slots of the functions."""


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch `[address, address + num_bytes)` of PE memory."""

    kind: SectionKind
    address: int
    num_bytes: int


class PatchTarget(IntEnum):
    """The part of the program that a patch overwrites."""

    IMMEDIATE = 0
    """`code[location, Field.IMM]`."""
    DATA = 1
    """The 32-bit or narrower datum at byte address `location`."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A value that differs between the PEs of one tile program."""

    target: PatchTarget
    location: int
    element: ScalarType
    values: NDArray[np.int32]
    """Canonical register words, one per PE of the program, PEs in `[y, x]` row-major order."""


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """The source place of an instruction, for listings, traps and deadlock reports."""

    path: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class TileProgram:
    """One distinct PE program. `name` is its entry file and the params that decided it."""

    name: str
    code: NDArray[np.int32]
    """`[num_instructions, 8]`, see `instruction`."""
    locations: tuple[SourceLocation | None, ...]
    """One per instruction."""
    num_registers: int
    """Including register 0."""
    data: NDArray[np.uint8]
    """Initial contents of the DATA sections, from `data_address` on."""
    data_address: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    tasks: tuple[Task, ...] = ()
    queues: tuple[QueueBinding, ...] = ()
    blocked_channels: tuple[int, ...] = ()
    """`channel()`s blocked at start-up beyond the tasks' own flags."""
    unblocked_channels: tuple[int, ...] = ()
    """Data `channel()`s without a data task that start unblocked, for control tasks."""
    dsds: tuple[DsdDescriptor, ...] = ()
    configs: tuple[DsdConfig, ...] = ()
    fifos: tuple[FifoBuffer, ...] = ()
    messages: tuple[str, ...] = ()
    """Texts of TRAP."""
    exports: dict[str, str] = field(default_factory=dict[str, str])
    """Host-visible name → symbol name."""
    patches: tuple[Patch, ...] = ()
    addressed: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """`[num_instructions]`: number of the symbol whose address is the immediate, −1: none. Empty in
    programs that are written by hand."""
    reaches_registers: bool = False
    """True if loads and stores may address registers of the router (M131)."""
    reaches_queues: bool = False
    """True if it writes to the registers of its queues (M134)."""
    pointers: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    """`[n, 2]`: byte addresses of initial data that hold addresses, and the symbols' numbers."""
    rotations: tuple[Rotation, ...] = ()
    """At most as many as the machine has counters for."""
    control_mask: int = 0
    """Initial mask that is combined with the entry of kept control wavelets (M143)."""
    unmasks_exceptions: bool = False
    """True if floating-point exceptions outside of the mask stop the program (M147)."""
    exception_mask: int = ALL_MASKED
    """Initial mask of the exceptions that do not stop the program."""
    loaded_dsrs: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    """`[n, 3]`: DSRs that are loaded at the start: `operand()`, and the two words of the DSR."""
    half: ScalarType = ScalarType.F16
    """The 16-bit float of the program, in which DSD operations on `f16` compute (M148)."""
