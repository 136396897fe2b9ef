"""Connect routers, links, buffers and channels by the image's color configurations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.reference.fabric.buffers import LinkBuffer
from onewafer.simulator.reference.fabric.switch import Route, Switch
from onewafer.simulator.state.loading import UNROUTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from onewafer.arch import Timing
    from onewafer.image import WaferImage
    from onewafer.simulator.reference.compute_element.compute_element import ComputeElement
    from onewafer.simulator.reference.fabric.buffers import Channel
    from onewafer.simulator.reference.fabric.router import Router

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


def wire_routers(
    routers: Sequence[Router],
    element_of_pe: Mapping[int, ComputeElement],
    host_channels: Mapping[tuple[int, int], Channel],
    image: WaferImage,
    timing: Timing,
    *,
    changeable: AbstractSet[int] = frozenset(),
) -> None:
    """Fill `switches` and `buffers` of every router; `routers` are in the order of PE indices.

    Routers have `changeable` colors even where the image has no route for them.
    `host_channels` are the channels of the host by (PE, color).
    """
    for router, swaps in zip(routers, image.pair_swaps.reshape(len(routers), -1), strict=True):
        router.swaps = swaps.tolist()
    for index, router in enumerate(routers):
        element = element_of_pe.get(index)
        may_get_queue = element is not None and element.program.reaches_queues
        configs: list[int] = image.config_of_color[router.y, router.x].tolist()
        neighbours = _neighbours(router, routers, image)
        for color, number in enumerate(configs):
            if number < 0 and color not in changeable:
                continue
            config = image.color_configs[number] if number >= 0 else UNROUTED
            make_route = partial(
                _make_route,
                router,
                color,
                neighbours=neighbours,
                find_channel=partial(
                    _find_channel, host_channels.get((index, color)), element, color
                ),
                timing=timing,
            )
            router.switches[color] = Switch(config, make_route, may_get_queue=may_get_queue)


def _find_channel(
    of_host: Channel | None, element: ComputeElement | None, color: int
) -> Channel | None:
    """Return the channel that currently takes wavelets of a color from a ramp (M73, M135)."""
    if of_host is not None or element is None:
        return of_host
    return element.channels.get(color)


def _make_route(
    router: Router,
    color: int,
    receive: int,
    transmit: int,
    *,
    neighbours: Mapping[Direction, Router],
    find_channel: Callable[[], Channel | None],
    timing: Timing,
) -> Route:
    wanted = [direction for direction in _LINKS if transmit >> direction & 1]
    targets = tuple(
        (
            router.links[direction],
            _buffer_behind(
                router,
                neighbours[direction],
                neighbours[direction].color_from(direction.opposite, color),
                direction,
                timing,
            ),
            direction,
        )
        for direction in wanted
        if direction in neighbours
    )
    to_ramp = bool(transmit >> Direction.RAMP & 1)
    channel = find_channel()
    return Route(
        receive=receive,
        transmit=transmit,
        targets=targets,
        channel=channel if to_ramp else None,
        lacks_link=len(targets) < len(wanted),
        lacks_queue=to_ramp and channel is None,
    )


def _buffer_behind(
    sender: Router, receiver: Router, color: int, direction: Direction, timing: Timing
) -> LinkBuffer:
    port = direction.opposite
    buffer = LinkBuffer(port, color, receiver, sender, timing.router_buffer_words)
    return receiver.buffers.setdefault((color, port), buffer)


def _neighbours(
    router: Router, routers: Sequence[Router], image: WaferImage
) -> dict[Direction, Router]:
    """Return the routers behind the links of a router, inside the rectangle."""
    neighbours: dict[Direction, Router] = {}
    for direction in _LINKS:
        dx, dy = direction.step
        x, y = router.x + dx, router.y + dy
        if 0 <= x < image.width and 0 <= y < image.height:
            neighbours[direction] = routers[y * image.width + x]
    return neighbours
