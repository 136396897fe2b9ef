"""The fabric in flat records: routes, buffers behind links, output queues and channels of all PEs.

Everything is built with whole-array operations; a full wafer takes seconds. The sources of a router
lie side by side, output queues first, and so do their rings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.simulator.fast.fields import (
    ANY_COLOR,
    CHANNEL_CAPACITY,
    CHANNEL_COLOR,
    CHANNEL_PE,
    CHANNEL_QUEUE,
    CHANNEL_READER,
    CHANNEL_RING,
    HOST_QUEUE,
    NONE,
    NUM_CHANNEL_FIELDS,
    NUM_RING_FIELDS,
    NUM_ROUTE_FIELDS,
    NUM_SOURCE_FIELDS,
    PROGRAM_COLORS,
    ROUTE_CHANNEL,
    ROUTE_IS_DEAD,
    ROUTE_RECEIVE,
    ROUTE_TARGETS,
    ROUTE_TRANSMIT,
    SOURCE_CAPACITY,
    SOURCE_LAST_MOVE,
    SOURCE_NUMBER,
    SOURCE_PE,
    SOURCE_PORT,
    SOURCE_REASON,
    SOURCE_RING,
    SOURCE_ROUTE,
    SOURCE_SENDER,
    SOURCE_WRITER,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import ColorConfig, WaferImage
    from onewafer.simulator.fast.tables import ProgramTables

    Integers = NDArray[np.int64]

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


@dataclass(frozen=True, slots=True)
class Fabric:
    """Records of everything that holds wavelets."""

    sources: Integers
    """One for each output queue and link buffer; then the host's queue of every PE."""
    rings: Integers
    channels: Integers
    routes: Integers
    route_of_color: NDArray[np.int32]
    first_source: Integers
    """By PE."""
    num_sources: Integers
    """By PE, without the host's."""
    first_channel: Integers


@dataclass(frozen=True, slots=True)
class _Sources:
    """Columns of sources before they are put in order."""

    pe: Integers
    port: Integers
    number: Integers
    route: Integers
    capacity: Integers
    sender: Integers


def wire(image: WaferImage, tables: ProgramTables, architecture: Architecture) -> Fabric:
    """Return the records of a fabric without wavelets."""
    num_pes = image.width * image.height
    program_of_pe = image.program_of_pe.reshape(-1).astype(np.int64)
    channels, first_channel = _make_channels(program_of_pe, tables, architecture)
    routes, route_pe, route_color = _make_routes(image, program_of_pe, first_channel, tables)
    route_of_color = np.full(image.config_of_color.reshape(num_pes, -1).shape, NONE, np.int32)
    route_of_color[route_pe, route_color] = np.arange(len(routes))

    outputs = _output_queues(program_of_pe, tables, architecture)
    route, direction, receiver = _link_targets(image, routes, route_pe)
    buffers = _link_buffers(
        route_of_color, route_pe[route], route_color[route], direction, receiver, architecture
    )
    columns = _concatenate(outputs, buffers)
    order = np.argsort(columns.pe, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    routes[route, ROUTE_TARGETS + direction] = position[len(outputs.pe) :]

    num_sources = np.bincount(columns.pe, minlength=num_pes)
    first_source = np.cumsum(num_sources) - num_sources
    sources = _make_sources(columns, order, num_pes)
    num_rows = _place_rings(sources[: len(order)], channels)
    return Fabric(
        sources=sources,
        rings=np.zeros((num_rows + 1, NUM_RING_FIELDS), np.int64),
        channels=channels,
        routes=routes,
        route_of_color=route_of_color,
        first_source=first_source,
        num_sources=num_sources,
        first_channel=first_channel,
    )


def _spread(
    program_of_pe: Integers, counts: list[int]
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return, for things of which each PE of a program has `counts[program]`: the PE, the number
    within the PE and the program of each, and the first one of each PE."""  # noqa: D205, D209
    of_pe = np.append(np.array(counts, np.int64), 0)[program_of_pe]
    first = np.cumsum(of_pe) - of_pe
    pe = np.repeat(np.arange(len(program_of_pe)), of_pe)
    number = np.arange(len(pe)) - first[pe]
    return pe, number, program_of_pe[pe], first


def _table(rows: list[list[int]]) -> Integers:
    """Return a matrix whose short rows end in zeros; at least one row and column."""
    matrix = np.zeros((max(1, len(rows)), max(1, *map(len, rows), 1)), np.int64)
    for target, row in zip(matrix, rows, strict=False):
        target[: len(row)] = row
    return matrix


def _make_channels(
    program_of_pe: Integers, tables: ProgramTables, architecture: Architecture
) -> tuple[Integers, Integers]:
    attachments = [layout.attachments for layout in tables.layouts]
    pe, number, program, first = _spread(program_of_pe, [len(a) for a in attachments])
    channels = np.zeros((len(pe) + 1, NUM_CHANNEL_FIELDS), np.int64)[: len(pe)]
    words = _table([[a.words for a in of_program] for of_program in attachments])
    channels[:, CHANNEL_PE] = pe
    colors = _table([[a.color for a in of_program] for of_program in attachments])
    channels[:, CHANNEL_COLOR] = colors[program, number]
    queues = _table([[a.queue for a in of_program] for of_program in attachments])
    channels[:, CHANNEL_QUEUE] = queues[program, number]
    channels[:, CHANNEL_CAPACITY] = words[program, number] + architecture.timing.ramp_cycles
    channels[:, CHANNEL_READER] = NONE
    return channels, first


def _make_routes(
    image: WaferImage, program_of_pe: Integers, first_channel: Integers, tables: ProgramTables
) -> tuple[Integers, Integers, Integers]:
    """Return the routes without their targets, and the PE and color of each."""
    config_of_color = image.config_of_color.reshape(len(program_of_pe), -1)
    pe, color = np.nonzero(config_of_color >= 0)
    config = config_of_color[pe, color]
    masks = np.array([_masks(c) for c in image.color_configs], np.int64).reshape(-1, 2)
    routes = np.full((len(pe), NUM_ROUTE_FIELDS), NONE, np.int64)
    routes[:, ROUTE_RECEIVE] = masks[config, 0]
    routes[:, ROUTE_TRANSMIT] = masks[config, 1]
    to_ramp = routes[:, ROUTE_TRANSMIT] >> Direction.RAMP & 1 == 1
    program = program_of_pe[pe]
    offset = np.full(len(pe), NONE, np.int64)
    has_program = program >= 0
    offset[has_program] = tables.programs[program[has_program], PROGRAM_COLORS + color[has_program]]
    reaches = to_ramp & (offset >= 0)
    routes[:, ROUTE_CHANNEL] = np.where(reaches, first_channel[pe] + offset, NONE)
    routes[:, ROUTE_IS_DEAD] = to_ramp & ~reaches
    return routes, pe, color


def _masks(config: ColorConfig) -> tuple[int, int]:
    position = next(p for p in config.positions if p is not None)
    return position.rx, position.tx


def _link_targets(
    image: WaferImage, routes: Integers, route_pe: Integers
) -> tuple[Integers, Integers, Integers]:
    """Return route, direction and receiving PE of each link a route uses; mark those that leave."""
    found: list[tuple[Integers, Integers, Integers]] = []
    for direction in _LINKS:
        route = np.flatnonzero(routes[:, ROUTE_TRANSMIT] >> direction & 1)
        dx, dy = direction.step
        x, y = route_pe[route] % image.width + dx, route_pe[route] // image.width + dy
        is_inside = (x >= 0) & (x < image.width) & (y >= 0) & (y < image.height)
        routes[route[~is_inside], ROUTE_IS_DEAD] = 1
        receiver = (y * image.width + x)[is_inside]
        found.append((route[is_inside], np.full(len(receiver), int(direction)), receiver))
    route, directions, receiver = (np.concatenate(column) for column in zip(*found, strict=True))
    return route, directions, receiver


def _output_queues(
    program_of_pe: Integers, tables: ProgramTables, architecture: Architecture
) -> _Sources:
    outputs = [list(layout.outputs) for layout in tables.layouts]
    pe, number, program, _ = _spread(program_of_pe, [len(o) for o in outputs])
    queue = _table(outputs)[program, number]
    words = np.array(architecture.output_queue_words, np.int64)[queue]
    return _Sources(
        pe=pe,
        port=np.full(len(pe), int(Direction.RAMP)),
        number=queue,
        route=np.full(len(pe), ANY_COLOR),
        capacity=words + architecture.timing.ramp_cycles,
        sender=np.full(len(pe), NONE),
    )


def _link_buffers(
    route_of_color: NDArray[np.int32],
    sender: Integers,
    color: Integers,
    direction: Integers,
    receiver: Integers,
    architecture: Architecture,
) -> _Sources:
    opposite = np.array([direction.opposite for direction in _LINKS])
    words = architecture.timing.router_buffer_words
    return _Sources(
        pe=receiver,
        port=opposite[direction],
        number=np.zeros(len(receiver), np.int64),
        route=route_of_color[receiver, color].astype(np.int64),
        capacity=np.full(len(receiver), words),
        sender=sender,
    )


def _concatenate(first: _Sources, second: _Sources) -> _Sources:
    return _Sources(
        pe=np.concatenate((first.pe, second.pe)),
        port=np.concatenate((first.port, second.port)),
        number=np.concatenate((first.number, second.number)),
        route=np.concatenate((first.route, second.route)),
        capacity=np.concatenate((first.capacity, second.capacity)),
        sender=np.concatenate((first.sender, second.sender)),
    )


def _make_sources(columns: _Sources, order: Integers, num_pes: int) -> Integers:
    num = len(order)
    sources = np.zeros((num + num_pes, NUM_SOURCE_FIELDS), np.int64)
    sources[:num, SOURCE_PE] = columns.pe[order]
    sources[:num, SOURCE_PORT] = columns.port[order]
    sources[:num, SOURCE_NUMBER] = columns.number[order]
    sources[:num, SOURCE_ROUTE] = columns.route[order]
    sources[:num, SOURCE_CAPACITY] = columns.capacity[order]
    sources[:num, SOURCE_SENDER] = columns.sender[order]
    sources[:num, SOURCE_LAST_MOVE] = -1
    sources[:num, SOURCE_REASON] = NONE
    sources[:num, SOURCE_WRITER] = NONE
    return sources


def make_host_queue(source: Integers, pe: int) -> None:
    """Fill the record of a host's queue that is used for the first time (M72)."""
    source[SOURCE_PE] = pe
    source[SOURCE_PORT] = int(Direction.RAMP)
    source[SOURCE_NUMBER] = HOST_QUEUE
    source[SOURCE_ROUTE] = ANY_COLOR
    source[SOURCE_LAST_MOVE] = -1
    source[SOURCE_REASON] = NONE
    source[SOURCE_WRITER] = NONE


def _place_rings(sources: Integers, channels: Integers) -> int:
    """Give every source and channel its rows; those of a PE lie together. Return their number."""
    owner = np.concatenate((sources[:, SOURCE_PE], channels[:, CHANNEL_PE]))
    words = np.concatenate((sources[:, SOURCE_CAPACITY], channels[:, CHANNEL_CAPACITY]))
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(words[order])
    first = np.empty_like(words)
    first[order] = ends - words[order]
    sources[:, SOURCE_RING] = first[: len(sources)]
    channels[:, CHANNEL_RING] = first[len(sources) :]
    return int(words.sum())
