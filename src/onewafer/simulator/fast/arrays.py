"""All state of a running machine as flat arrays: the one argument of every kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    Matrix = Any
    """An array of the dtype and shape that `building` gives it."""

    def int64(value: object, /) -> int:
        """Return a number of an array as kernels compute with it."""
        ...
else:
    from numpy import int64

__all__ = ["Arrays", "int64"]


class Arrays(NamedTuple):
    """Matrices of records, see `fields`; those of `MachineState` are shared with it."""

    arena: Matrix
    """`[words]`, int32: a block for each PE, in it all that the loop touches for every wavelet."""
    clock: Matrix
    timing: Matrix
    pes: Matrix
    fifos: Matrix
    operations: Matrix
    links: Matrix
    ramp_routes: Matrix
    """`[num_pes or 0, colors]`: route of the wavelets that a PE sends by a queue that has any
    color."""
    swapped_ramps: Matrix
    """A bit for each color that a PE's own router makes the other one of its pair (M59)."""
    programs: Matrix
    code: Matrix
    patches: Matrix
    dsds: Matrix
    configs: Matrix
    tasks: Matrix
    ways: Matrix
    """The channels by which control wavelets may come, program by program."""
    switches: Matrix
    rings: Matrix
    launches: Matrix
    # what programs see
    memory: Matrix
    registers: Matrix
    dsrs: Matrix
    return_stacks: Matrix
    pending_tasks: Matrix
    blocked_tasks: Matrix
    blocked_colors: Matrix
    torn_colors: Matrix
    queue_colors: Matrix
    queue_flushes: Matrix
    rotation_counts: Matrix
    fifo_lengths: Matrix
    control_masks: Matrix
    unmasked_exceptions: Matrix
    blocked_streams: Matrix
    # the agenda
    wheel: Matrix
    """`[slots, places]`: blocks of the PEs to look at in a window, list after list."""
    wheel_counts: Matrix
    """`[lists, slots]`: how long each list is."""
    lists: Matrix
    """`[lists, fields]`: where each list is, and whose."""
    blocks: Matrix
    """`[num_pes]`: offset of each PE's block."""
    heap: Matrix
    """PEs of the share that are woken later than the wheel reaches, phase by phase."""
    heap_places: Matrix
    """`[num_pes]`: where each PE is in its heap; 0: not there."""
    heap_cycles: Matrix
    """`[num_pes]`: when it is woken."""
    candidates: Matrix
    """The contenders in one PE in one cycle."""
    events: Matrix
    signals: Matrix
    """The threads' messages to each other, see `signals`."""


DTYPES: dict[str, tuple[type[np.generic], int]] = {
    **dict.fromkeys(Arrays._fields, (np.int64, 2)),
    "arena": (np.int32, 1),
    "clock": (np.int64, 1),
    "timing": (np.int64, 1),
    "ramp_routes": (np.int32, 2),
    "swapped_ramps": (np.uint32, 1),
    "patches": (np.int64, 1),
    "memory": (np.uint8, 2),
    "registers": (np.uint32, 2),
    "dsrs": (np.uint32, 4),
    "return_stacks": (np.int32, 2),
    "pending_tasks": (np.uint32, 1),
    "blocked_tasks": (np.uint32, 1),
    "blocked_colors": (np.uint32, 1),
    "torn_colors": (np.uint32, 1),
    "queue_colors": (np.uint8, 2),
    "queue_flushes": (np.uint32, 1),
    "rotation_counts": (np.uint32, 2),
    "fifo_lengths": (np.uint32, 2),
    "control_masks": (np.uint8, 1),
    "unmasked_exceptions": (np.uint8, 1),
    "blocked_streams": (np.uint8, 1),
    "wheel": (np.int32, 2),
    "wheel_counts": (np.int64, 2),
    "blocks": (np.int32, 1),
    "heap": (np.int32, 1),
    "heap_places": (np.int32, 1),
    "heap_cycles": (np.int64, 1),
    "candidates": (np.int64, 1),
    "signals": (np.int64, 1),
}
"""Element type and number of dimensions of each array."""
