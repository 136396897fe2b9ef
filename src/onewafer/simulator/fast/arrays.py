"""All state of a running machine as flat arrays: the one argument of every kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Arrays(NamedTuple):
    """Matrices of records, see `fields`; those of `MachineState` are shared with it."""

    clock: NDArray[np.int64]
    timing: NDArray[np.int64]
    pes: NDArray[np.int64]
    links: NDArray[np.int64]
    sources: NDArray[np.int64]
    active: NDArray[np.int64]
    """Sources with a wavelet, a stretch for each router."""
    rings: NDArray[np.int64]
    channels: NDArray[np.int64]
    routes: NDArray[np.int64]
    route_of_color: NDArray[np.int32]
    """`[num_pes, colors]`"""
    operations: NDArray[np.int64]
    programs: NDArray[np.int64]
    code: NDArray[np.int64]
    patches: NDArray[np.int64]
    dsds: NDArray[np.int64]
    configs: NDArray[np.int64]
    tasks: NDArray[np.int64]
    launches: NDArray[np.int64]
    # what programs see
    memory: NDArray[np.uint8]
    registers: NDArray[np.uint32]
    dsrs: NDArray[np.uint32]
    return_stacks: NDArray[np.int32]
    pending_tasks: NDArray[np.uint32]
    blocked_tasks: NDArray[np.uint32]
    blocked_colors: NDArray[np.uint32]
    blocked_streams: NDArray[np.uint8]
    # the agenda
    wake: NDArray[np.int64]
    """`[2 · num_pes]`: when each router, then each compute element, is looked at."""
    neighbours: NDArray[np.int32]
    """`[2 · num_pes, 2]`: the unit before and behind in the list of a cycle."""
    slots: NDArray[np.int32]
    """`[lists, 2]`: first and last unit."""
    # what lives for one cycle
    routers: NDArray[np.int32]
    elements: NDArray[np.int32]
    candidates: NDArray[np.int64]
    moves: NDArray[np.int64]
    events: NDArray[np.int64]
