"""All state of a running machine as flat arrays: the one argument of every kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import numpy as np

if TYPE_CHECKING:

    def int64(value: object, /) -> int:
        """Return an array element as a 64-bit integer, as kernels compute with it."""
        ...
else:
    from numpy import int64

__all__ = ["Arrays", "int64"]

Vector = Annotated[Any, np.int64, 1]
Matrix = Annotated[Any, np.int64, 2]
Int32Vector = Annotated[Any, np.int32, 1]
Int32Matrix = Annotated[Any, np.int32, 2]
Uint32Vector = Annotated[Any, np.uint32, 1]
Uint32Matrix = Annotated[Any, np.uint32, 2]
Uint32Block = Annotated[Any, np.uint32, 4]
ByteVector = Annotated[Any, np.uint8, 1]
ByteMatrix = Annotated[Any, np.uint8, 2]
"""Arrays by element type and number of dimensions."""


class Arrays(NamedTuple):
    """Matrices of records, see `fields`; those of `MachineState` are shared with it."""

    arena: Int32Vector
    """`[words]`: a block for each PE with all state that the loop accesses for every wavelet."""
    clock: Vector
    timing: Vector
    pes: Matrix
    fifos: Matrix
    operations: Matrix
    links: Matrix
    ramp_routes: Int32Matrix
    """`[num_pes or 0, colors]`: route of the wavelets that a PE sends by a queue that has any
    color."""
    swapped_ramps: Uint32Vector
    """A bit for each color that a PE's router swaps at the ramp (M59)."""
    programs: Matrix
    code: Matrix
    patches: Vector
    dsds: Matrix
    configs: Matrix
    tasks: Matrix
    ways: Matrix
    """The channels that may have control wavelets, program by program."""
    switches: Matrix
    rings: Matrix
    launches: Matrix
    # what programs see: see `simulator.state`
    memory: ByteMatrix
    registers: Uint32Matrix
    dsrs: Uint32Block
    return_stacks: Int32Matrix
    pending_tasks: Uint32Vector
    blocked_tasks: Uint32Vector
    blocked_colors: Uint32Vector
    torn_colors: Uint32Vector
    queue_colors: ByteMatrix
    queue_flushes: Uint32Vector
    rotation_counts: Uint32Matrix
    fifo_lengths: Uint32Matrix
    control_masks: ByteVector
    unmasked_exceptions: ByteVector
    blocked_streams: ByteVector
    # the agenda
    wheel: Int32Matrix
    """`[slots, places]`: blocks of the PEs to visit in a window, list after list."""
    wheel_counts: Matrix
    """`[lists, slots]`: length of each list."""
    lists: Matrix
    """`[lists, fields]`: first place and owner of each list."""
    blocks: Int32Vector
    """`[num_pes]`: offset of each PE's block."""
    heap: Int32Vector
    """PEs of the share with a wake-up beyond the wheel's range, phase by phase."""
    heap_places: Int32Vector
    """`[num_pes]`: index of each PE in its heap; 0: absent."""
    heap_cycles: Vector
    """`[num_pes]`: wake-up cycle of each PE in a heap."""
    candidates: Vector
    """The competing sources of one router in one cycle."""
    events: Matrix
    signals: Vector
    """The threads' messages to each other, see `signals`."""


DTYPES: dict[str, tuple[type[np.generic], int]] = {
    name: hint.__metadata__ for name, hint in get_type_hints(Arrays, include_extras=True).items()
}
"""Element type and number of dimensions of each array."""
