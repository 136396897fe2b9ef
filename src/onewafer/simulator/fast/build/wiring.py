"""The fabric in the arena: the offsets of each PE's parts, and the routes between PEs.

Everything is built with whole-array operations; a full wafer takes seconds. The parts of a block,
each aligned to a cache line, are the header, staged writes to SRAM, the operations, the output
queues, the buffers behind links (by color, then port), the channels, and the routes (for wavelets
from links, then from the PE).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS
from onewafer.simulator.fast.build.tables import fifo_words
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.loading import HOST_STREAM_WORDS, host_streams

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import ColorConfig, WaferImage
    from onewafer.simulator.fast.build.tables import ProgramTables, QueueLayout

    Integers = NDArray[np.int64]
    Masks = NDArray[np.uint8]
    Arena = NDArray[np.int32]

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)
_TO_RAMP = 1 << Direction.RAMP
_ALL_LINKS = _TO_RAMP - 1
_NUM_PORTS = 6
_PAIRED = np.arange(NUM_COLORS) ^ 1
_BITS_OF = np.array([mask.bit_count() for mask in range(16)], np.int64)
_NTH_BIT = np.array(
    [[*(b for b in range(4) if mask >> b & 1), 0, 0, 0, 0][:4] for mask in range(16)], np.int64
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The possible directions of wavelets by the image: direction sets `[num_pes, colors]`."""

    receive: Masks
    transmit: Masks
    incoming: Masks
    """Links from which wavelets can come."""
    swap: Masks
    """Input ports at which wavelets change to the other color of the pair."""
    is_dead: NDArray[np.bool_]
    """True if a wavelet cannot move: no route, out of the rectangle, or the neighbour does not
    receive it."""


@dataclass(frozen=True, slots=True)
class Queues:
    """Output queues or channels of all PEs, in the order of the PEs."""

    pe: Integers
    number: Integers
    """Number of the queue within its PE."""
    queue: Integers
    color: Integers
    capacity: Integers
    distance: Integers
    starts_task: Integers
    has_tags: Integers


@dataclass(frozen=True, slots=True)
class Buffers:
    """Buffers behind links, in the order of PE, color and port."""

    pe: Integers
    number: Integers
    color: Integers
    port: Integers
    sender: Integers


@dataclass(frozen=True, slots=True)
class Routes:
    """Routes of wavelets that come from links, or from the PE, in the order of PE and color."""

    pe: Integers
    color: Integers
    offset: Integers

    def find(self, pe: Integers, color: Integers) -> Integers:
        """Return the offsets of routes; `NO_ROUTE` where there is no route."""
        if not len(self.pe):
            return np.full(len(pe), f.NO_ROUTE, np.int64)
        keys = self.pe * NUM_COLORS + self.color
        wanted = pe * NUM_COLORS + color
        index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[index] == wanted, self.offset[index], f.NO_ROUTE)


@dataclass(frozen=True, slots=True)
class Places:
    """Offsets of the parts of each PE's block, `[num_pes]`."""

    block: Integers
    operations: Integers
    outputs: Integers
    buffers: Integers
    channels: Integers
    routes: Integers
    end: int


@dataclass(frozen=True, slots=True)
class Fabric:
    """All buffers of wavelets, and their offsets."""

    traffic: Traffic
    outputs: Queues
    buffers: Buffers
    channels: Queues
    link_routes: Routes
    ramp_routes: Routes
    places: Places
    num_operations: Integers
    num_sources: Integers
    buffer_words: int
    switches: Routes
    """Rows of `Arrays.switches`, in the order of PE and color."""
    host_channels: Queues
    """Queues of the channels that the host empties (M73)."""
    streams: Routes
    """Host queues of one color, by their number, in the order of PE and color (M72)."""


def lay_out(
    image: WaferImage,
    tables: ProgramTables,
    architecture: Architecture,
    switched: AbstractSet[int] = frozenset(),
    changeable: AbstractSet[int] = frozenset(),
) -> Fabric:
    """Return the layout of the arena; routes of `switched` colors lead to switches.

    For `changeable` colors, all PEs have a switch, and all links a buffer.
    """
    num_pes = image.width * image.height
    program_of_pe = image.program_of_pe.reshape(-1).astype(np.int64)
    sends, receives = (where.reshape(num_pes, -1) for where in host_streams(image))
    traffic = _traffic(image, tables, sorted(switched), sorted(changeable))
    outputs = _queues(program_of_pe, [layout.outputs for layout in tables.layouts])
    is_fixed = outputs.color != f.ANY_COLOR
    entering = color_from(traffic, outputs.pe, outputs.color, Direction.RAMP)
    outputs = replace(outputs, color=np.where(is_fixed, entering, f.ANY_COLOR))
    channels = _queues(program_of_pe, [layout.channels for layout in tables.layouts])
    channel_words = _of_pe(
        program_of_pe, [sum(q.num_words for q in t.channels) for t in tables.layouts]
    )
    host_channels, host_words = _host_channels(
        receives, channel_words, sorted(switched), architecture.timing.ramp_cycles
    )
    buffers = _buffers(traffic.incoming, image.width)
    is_link_route = ~traffic.is_dead & (traffic.receive & traffic.incoming != 0)
    is_ramp_route = ~traffic.is_dead & (traffic.receive & _TO_RAMP != 0)
    num_buffers = np.bincount(buffers.pe, minlength=num_pes)
    num_sources = num_buffers + np.bincount(outputs.pe, minlength=num_pes)
    num_operations = _of_pe(program_of_pe, [len(t.threads) for t in tables.layouts])
    num_link_routes = is_link_route.sum(axis=1)
    buffer_words = fifo_words(architecture.timing.router_buffer_words, has_tags=bool(switched))
    is_switch = np.isin(np.arange(NUM_COLORS), sorted(switched)) & ~traffic.is_dead
    sizes = (
        _lines(f.BLOCK_SOURCES + num_sources + 1 + sends.sum(axis=1))
        + f.NUM_STAGE_WORDS * (num_operations > 0),
        f.NUM_OP_WORDS * num_operations,
        _of_pe(program_of_pe, [sum(q.num_words for q in t.outputs) for t in tables.layouts]),
        buffer_words * num_buffers,
        channel_words + host_words,
        _lines(f.NUM_ROUTE_WORDS * (num_link_routes + is_ramp_route.sum(axis=1))),
    )
    places = _places(sizes)
    return Fabric(
        traffic=traffic,
        outputs=outputs,
        buffers=buffers,
        channels=_joined(channels, host_channels),
        link_routes=_routes(is_link_route, places.routes),
        ramp_routes=_routes(is_ramp_route, places.routes + f.NUM_ROUTE_WORDS * num_link_routes),
        places=places,
        num_operations=num_operations,
        num_sources=num_sources,
        buffer_words=buffer_words,
        switches=_numbered(is_switch),
        host_channels=host_channels,
        streams=_numbered(sends),
    )


def _lines(words: Integers) -> Integers:
    return -(-words // f.LINE_WORDS) * f.LINE_WORDS


def _places(sizes: tuple[Integers, ...]) -> Places:
    """Place the parts of each block in sequence, and the blocks; offset 0 stays unused."""
    num_words = sum(sizes[1:], sizes[0])
    ends = np.cumsum(num_words) + f.LINE_WORDS
    starts = [ends - num_words]
    for size in sizes:
        starts.append(starts[-1] + size)
    return Places(*starts[:-1], end=int(ends[-1]) if len(ends) else f.LINE_WORDS)


def _of_pe(program_of_pe: Integers, of_program: list[int]) -> Integers:
    """Return a per-program number for each PE; 0 where there is no program."""
    return np.append(np.array(of_program, np.int64), 0)[program_of_pe]


def _traffic(
    image: WaferImage, tables: ProgramTables, switched: list[int], changeable: list[int]
) -> Traffic:
    masks = np.array([*map(_masks, image.color_configs), (0, 0)], np.uint8)
    receive = masks[:, 0][image.config_of_color]
    transmit = masks[:, 1][image.config_of_color]
    swap = image.pair_swaps
    transmit[:, :, changeable] = _ALL_LINKS | _TO_RAMP
    incoming = np.zeros_like(transmit)
    is_dead = image.config_of_color < 0
    has_channel = np.append(tables.programs[:, f.PROGRAM_COLORS :] >= 0, [[False] * NUM_COLORS], 0)
    is_taken = has_channel[image.program_of_pe] | host_streams(image)[1]
    is_dead |= (transmit & _TO_RAMP != 0) & ~is_taken
    for direction in _LINKS:
        dx, dy = direction.step
        leaves = transmit >> int(direction) & 1
        from_x, to_x = _shifted(image.width, dx)
        from_y, to_y = _shifted(image.height, dy)
        is_swapped = swap[to_y, to_x] >> int(direction.opposite) & 1
        sent = leaves[from_y, from_x]
        arrives = np.where(is_swapped, sent[:, :, _PAIRED], sent)
        incoming[to_y, to_x] |= arrives << int(direction.opposite)
        edge = leaves != 0
        edge[from_y, from_x] = False
        is_dead |= edge
    # What a switch does not let in it turns away itself.
    is_dead[:, :, switched] = image.config_of_color[:, :, switched] < 0
    is_dead[:, :, changeable] = False
    receive[:, :, switched] = np.where(is_dead[:, :, switched], 0, _ALL_LINKS | _TO_RAMP)
    flat = (image.width * image.height, NUM_COLORS)
    return Traffic(
        *(masks.reshape(flat) for masks in (receive, transmit, incoming, swap)),
        is_dead=is_dead.reshape(flat),
    )


def _shifted(size: int, step: int) -> tuple[slice, slice]:
    """Return the positions whose neighbour in a direction exists, and these neighbours."""
    if step == 0:
        return slice(None), slice(None)
    low, high = slice(0, max(size - 1, 0)), slice(1, None)
    return (low, high) if step > 0 else (high, low)


def _masks(config: ColorConfig) -> tuple[int, int]:
    """Return the union of the directions of all switch positions."""
    receive = transmit = 0
    for position in config.positions:
        if position is not None:
            receive |= position.rx
            transmit |= position.tx
    return receive, transmit


def _queues(program_of_pe: Integers, layouts: list[tuple[QueueLayout, ...]]) -> Queues:
    of_pe = _of_pe(program_of_pe, [len(queues) for queues in layouts])
    first = np.cumsum(of_pe) - of_pe
    pe = np.repeat(np.arange(len(program_of_pe)), of_pe)
    number = np.arange(len(pe)) - first[pe]
    rows = [q for queues in layouts for q in queues]
    starts = np.cumsum([0, *map(len, layouts)])
    index = starts[program_of_pe[pe]] + number
    columns = np.array(
        [(q.queue, q.color, q.capacity, q.distance, q.starts_task, q.has_tags) for q in rows],
        np.int64,
    ).reshape(-1, 6)
    return Queues(pe, number, *columns[index].T)


def _host_channels(
    receives: NDArray[np.bool_], first: Integers, switched: list[int], ramp_cycles: int
) -> tuple[Queues, Integers]:
    """Return the channels that the host empties, and their words in each PE's block.

    These channels follow those of the PE's program, from word `first` on.
    """
    pe, color = np.divmod(np.flatnonzero(receives), NUM_COLORS)
    capacity = HOST_STREAM_WORDS + ramp_cycles
    has_tags = np.isin(color, switched)
    words = np.where(
        has_tags, fifo_words(capacity, has_tags=True), fifo_words(capacity, has_tags=False)
    )
    ends = np.cumsum(words)
    before = ends - words
    distance = first[pe] + before - before[np.searchsorted(pe, pe)]
    nobody, never = np.full(len(pe), f.NONE), np.zeros(len(pe), np.int64)
    depth = np.full(len(pe), capacity)
    channels = Queues(pe, never, nobody, color, depth, distance, never, has_tags.astype(np.int64))
    return channels, np.bincount(pe, words, minlength=len(receives)).astype(np.int64)


def _joined(queues: Queues, more: Queues) -> Queues:
    """Return two lists of queues joined."""
    names = (field.name for field in fields(Queues))
    return Queues(*(np.concatenate((getattr(queues, n), getattr(more, n))) for n in names))


def _numbered(exists: NDArray[np.bool_]) -> Routes:
    pe, color = np.divmod(np.flatnonzero(exists), NUM_COLORS)
    return Routes(pe, color, np.arange(len(pe)))


def _buffers(incoming: Masks, width: int) -> Buffers:
    pair = np.flatnonzero(incoming)
    bits = incoming.reshape(-1)[pair]
    num_ports = _BITS_OF[bits]
    of_pair = np.repeat(np.arange(len(pair)), num_ports)
    nth = np.arange(len(of_pair)) - (np.cumsum(num_ports) - num_ports)[of_pair]
    port = _NTH_BIT[bits[of_pair], nth]
    pe, color = np.divmod(pair[of_pair], NUM_COLORS)
    steps = np.array([dy * width + dx for dx, dy in (d.step for d in _LINKS)], np.int64)
    return Buffers(pe, _number_within(pe), color, port, pe + steps[port])


def _number_within(pe: Integers) -> Integers:
    """Return the running number of each entry within its PE; `pe` is sorted."""
    return np.arange(len(pe)) - np.searchsorted(pe, pe)


def _routes(exists: NDArray[np.bool_], first: Integers) -> Routes:
    pe, color = np.divmod(np.flatnonzero(exists), NUM_COLORS)
    return Routes(pe, color, first[pe] + f.NUM_ROUTE_WORDS * _number_within(pe))


# --- routes --------------------------------------------------------------------------------------


def write_routes(arena: Arena, fabric: Fabric, channel_of: Integers, width: int) -> None:
    """Write all routes; `channel_of` gives the offset of the channel of `pe · colors + color`."""
    buffers = fabric.buffers
    keys = (buffers.pe * NUM_COLORS + buffers.color) * len(_LINKS) + buffers.port
    offsets = fabric.places.buffers[buffers.pe] + fabric.buffer_words * buffers.number
    for kind, more_ports in ((fabric.link_routes, 0), (fabric.ramp_routes, f.RAMP_INPUT)):
        routes = _write_switched_routes(arena, fabric, kind)
        transmit = fabric.traffic.transmit[routes.pe, routes.color]
        count = np.zeros(len(routes.pe), np.int64)
        directions = np.zeros(len(routes.pe), np.int64)
        for direction in _LINKS:
            used = np.flatnonzero(transmit >> int(direction) & 1)
            dx, dy = direction.step
            receiver = routes.pe[used] + dy * width + dx
            color = color_from(fabric.traffic, receiver, routes.color[used], direction.opposite)
            key = (receiver * NUM_COLORS + color) * len(_LINKS) + direction.opposite
            target = offsets[np.searchsorted(keys, key)]
            arena[routes.offset[used] + f.ROUTE_TARGETS + count[used]] = target
            directions[used] |= int(direction) << 3 * count[used]
            count[used] += 1
        used = np.flatnonzero(transmit & _TO_RAMP)
        channel = channel_of[routes.pe[used] * NUM_COLORS + routes.color[used]]
        arena[routes.offset[used] + f.ROUTE_TARGETS + count[used]] = channel
        directions[used] |= int(Direction.RAMP) << 3 * count[used]
        count[used] += 1
        arena[routes.offset + f.ROUTE_PORTS] = transmit.astype(np.int64) | more_ports
        arena[routes.offset + f.ROUTE_NUM_TARGETS] = count
        arena[routes.offset + f.ROUTE_DIRECTIONS] = directions


def _write_switched_routes(arena: Arena, fabric: Fabric, routes: Routes) -> Routes:
    """Point routes of switched colors to their switches; return the other routes."""
    switches = fabric.switches
    is_switched = np.isin(
        routes.pe * NUM_COLORS + routes.color, switches.pe * NUM_COLORS + switches.color
    )
    chosen = routes.offset[is_switched]
    row = switches.find(routes.pe[is_switched], routes.color[is_switched])
    arena[chosen + f.ROUTE_PORTS] = f.IS_SWITCHED
    arena[chosen + f.ROUTE_SWITCH] = row
    rest = ~is_switched
    return Routes(routes.pe[rest], routes.color[rest], routes.offset[rest])


def color_from(traffic: Traffic, pe: Integers, color: Integers, port: Direction) -> Integers:
    """Return the colors of wavelets after they enter PEs by a port (M59)."""
    return color ^ (traffic.swap[pe, color] >> int(port) & 1)


def swapped_ramps(traffic: Traffic) -> NDArray[np.uint32]:
    """Return, by PE, a bit for each color that is swapped at the ramp (M59)."""
    bits = (traffic.swap >> int(Direction.RAMP) & 1).astype(np.uint32)
    return np.bitwise_or.reduce(bits << np.arange(NUM_COLORS, dtype=np.uint32), axis=1)


def find_buffers(fabric: Fabric, pe: Integers, color: Integers, width: int) -> Integers:
    """Return the buffers behind the four links for colors at PEs, `[…, link]`; 0: no buffer."""
    buffers = fabric.buffers
    keys = (buffers.pe * NUM_COLORS + buffers.color) * len(_LINKS) + buffers.port
    offsets = fabric.places.buffers[buffers.pe] + fabric.buffer_words * buffers.number
    found = np.zeros((len(pe), len(_LINKS)), np.int64)
    if not len(keys):
        return found
    for direction in _LINKS:
        dx, dy = direction.step
        x = pe % width + dx
        receiver = pe + dy * width + dx
        is_inside = (x >= 0) & (x < width) & (receiver >= 0)
        is_inside &= receiver < len(fabric.places.block)
        there = np.where(is_inside, receiver, pe)
        behind = color_from(fabric.traffic, there, color, direction.opposite)
        key = (receiver * NUM_COLORS + behind) * len(_LINKS) + direction.opposite
        index = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        is_there = is_inside & (keys[index] == key)
        found[:, direction] = np.where(is_there, offsets[index], 0)
    return found


def find_contention(
    arena: Arena, pe: Integers, route: Integers, switches: Integers, num_pes: int
) -> Integers:
    """Return the PEs in which two sources may need one port, given the route of each source.

    The PEs of `switches` count, too: another source's wavelets may advance a switch.
    """
    ports = np.where(route > f.NO_ROUTE, arena[np.maximum(route, 0) + f.ROUTE_PORTS], 0)
    ports[route == f.ANY_COLOR] = f.ALL_PORTS
    is_contended = np.zeros(num_pes, np.bool_)
    for bit in range(_NUM_PORTS):
        is_contended |= np.bincount(pe[ports >> bit & 1 == 1], minlength=num_pes) > 1
    is_contended[switches] = True
    return np.flatnonzero(is_contended)
