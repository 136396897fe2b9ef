"""All state of a running machine as flat arrays: the one argument of every kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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

    clock: Matrix
    timing: Matrix
    pes: Matrix
    links: Matrix
    sources: Matrix
    active: Matrix
    """Sources with a wavelet, a stretch for each router."""
    rings: Matrix
    channels: Matrix
    routes: Matrix
    route_of_color: Matrix
    """`[num_pes, colors]`"""
    operations: Matrix
    programs: Matrix
    code: Matrix
    patches: Matrix
    dsds: Matrix
    configs: Matrix
    tasks: Matrix
    launches: Matrix
    # what programs see
    memory: Matrix
    registers: Matrix
    dsrs: Matrix
    return_stacks: Matrix
    pending_tasks: Matrix
    blocked_tasks: Matrix
    blocked_colors: Matrix
    blocked_streams: Matrix
    # the agenda
    wake: Matrix
    """`[2 · num_pes]`: when each router, then each compute element, is looked at."""
    neighbours: Matrix
    """`[2 · num_pes, 2]`: the unit before and behind in the list of a cycle."""
    slots: Matrix
    """`[lists, 2]`: first and last unit."""
    # what lives for one cycle
    routers: Matrix
    elements: Matrix
    candidates: Matrix
    moves: Matrix
    events: Matrix
