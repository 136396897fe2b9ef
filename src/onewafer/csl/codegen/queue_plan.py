"""The choice of queues for fabric DSDs without one.

In: the descriptors of an instance and the queues that it initialises. Out: the same descriptors,
all with a queue. On a machine whose DSDs tie queues to colors (WSE-2) the SDK asks for a queue only
where an operation is asynchronous, and does not define the queue of other operations. Here it is

* the queue that the program names for the color, so that wavelets keep their order; * else one that
the program does not name, for each color its own, the lowest number first; if there are fewer than
colors, colors share them, for synchronous operations run one at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.image import DsdKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.arch import Architecture
    from onewafer.image import DsdDescriptor, QueueBinding


def choose_queues(
    descriptors: Sequence[DsdDescriptor],
    bindings: Iterable[QueueBinding],
    architecture: Architecture,
    *,
    uses_memcpy: bool,
) -> tuple[DsdDescriptor, ...]:
    """Return the descriptors of an instance with a queue in each fabric descriptor."""
    named = [(b.is_input, b.color, b.queue) for b in bindings]
    named += [(_is_input(d), d.color, d.queue) for d in descriptors if d.kind.is_fabric]
    queues: dict[tuple[bool, int], int] = {}
    for is_input in (False, True):
        words, reserved = (
            (architecture.input_queue_words, architecture.reserved_input_queues)
            if is_input
            else (architecture.output_queue_words, architecture.reserved_output_queues)
        )
        here = [(color, queue) for side, color, queue in named if side is is_input]
        usable = [q for q in range(len(words)) if not (uses_memcpy and q in reserved)]
        for color, queue in _queue_of_color(here, usable).items():
            queues[is_input, color] = queue
    return tuple(
        replace(d, queue=queues[_is_input(d), d.color]) if d.kind.is_fabric and d.queue < 0 else d
        for d in descriptors
    )


def _queue_of_color(named: Sequence[tuple[int, int]], usable: Sequence[int]) -> dict[int, int]:
    """Return a queue for each color of one side; −1 in `named` asks for a choice."""
    chosen: dict[int, int] = {}
    for color, queue in named:
        if queue >= 0:
            chosen.setdefault(color, queue)
    taken = {queue for _, queue in named}
    free = [queue for queue in usable if queue not in taken] or usable
    without = sorted({color for color, _ in named} - chosen.keys())
    return chosen | {color: free[i % len(free)] for i, color in enumerate(without)}


def _is_input(descriptor: DsdDescriptor) -> bool:
    return descriptor.kind is DsdKind.FABIN
