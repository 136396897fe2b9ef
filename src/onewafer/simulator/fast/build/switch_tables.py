"""The switches of a wafer: the switched colors, and the initial state of their routers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS, CounterFilter, DsdKind, RangeFilter
from onewafer.simulator.arithmetic.filters import filter_at_load
from onewafer.simulator.arithmetic.registers import (
    NUM_WAYS,
    is_valid,
    pops_of,
    receive_of,
    transmit_of,
    ways_at_load,
)
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.loading import UNROUTED, fabric_color

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import ColorConfig, WaferImage
    from onewafer.simulator.fast.state.arrays import Arrays

    Integers = NDArray[np.int64]

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


def find_switched_colors(image: WaferImage, architecture: Architecture) -> frozenset[int]:
    """Return the colors that have switches or filters, or carry control wavelets, at some PE."""
    needs = [
        len(c.positions) > 1 or c.teardown or c.filter is not None for c in image.color_configs
    ]
    is_switched = np.array([*needs, False])[image.config_of_color]
    colors = {color for color in range(NUM_COLORS) if is_switched[:, :, color].any()}
    for program in image.programs:
        colors |= {
            fabric_color(dsd, program, architecture)
            for dsd in program.dsds
            if dsd.kind is DsdKind.FABOUT
            and (dsd.is_control or dsd.keeps_control or dsd.advances_switch)
        }
    if any(config.swap_mask for config in image.color_configs):
        colors |= {color ^ 1 for color in colors - {f.NONE}}
    return frozenset(colors - {f.NONE})


def make_switches(
    image: WaferImage,
    places: tuple[Integers, Integers],
    channel: Integers,
    buffers: Integers,
    routes: tuple[Integers, Integers],
) -> Integers:
    """Return the switches of the PEs and colors in `places`.

    `buffers` are `[switches, link]`, and `routes` those of wavelets from links and from the PE.
    """
    pe, color = places
    of_config = _rows_at_load(image)
    config_of_color = image.config_of_color.reshape(-1, NUM_COLORS)
    switches = of_config[config_of_color[pe, color]]
    switches[:, f.SWITCH_PE] = pe
    switches[:, f.SWITCH_COLOR] = color
    switches[:, f.SWITCH_CHANNEL] = channel
    switches[:, f.SWITCH_BUFFERS : f.SWITCH_BUFFERS + len(_LINKS)] = buffers
    switches[:, f.SWITCH_LINK_ROUTE], switches[:, f.SWITCH_RAMP_ROUTE] = routes
    return np.concatenate((switches, np.zeros((1, f.NUM_SWITCH_FIELDS), np.int64)))


def find_turned(s: Arrays, image: WaferImage) -> Integers:
    """Return the rows of the switches that differ from their state at load."""
    rows = s.switches[:-1]
    config_of_color = image.config_of_color.reshape(-1, NUM_COLORS)
    of_config = _rows_at_load(image)
    loaded = of_config[config_of_color[rows[:, f.SWITCH_PE], rows[:, f.SWITCH_COLOR]]]
    fields = [field.place for field in f.SWITCH_KEPT]
    return np.flatnonzero((rows[:, fields] != loaded[:, fields]).any(axis=1))


def derive_sets(row: MutableSequence[int]) -> None:
    """Derive the direction sets and opcodes of a switch from its positions and pop mode."""
    row[f.SWITCH_POPS] = pops_of(row[f.SWITCH_POP_MODE])
    for number in range(NUM_WAYS):
        way = row[f.SWITCH_WAYS + number]
        row[f.SWITCH_SETS + 2 * number] = receive_of(way) if is_valid(way) else f.NONE
        row[f.SWITCH_SETS + 2 * number + 1] = transmit_of(way) if is_valid(way) else 0


def _rows_at_load(image: WaferImage) -> Integers:
    """Return a switch for each configuration, the one of unconfigured colors last."""
    return np.array([_row(config) for config in (*image.color_configs, UNROUTED)], np.int64)


def _row(config: ColorConfig) -> list[int]:
    row = [0] * f.NUM_SWITCH_FIELDS
    row[f.SWITCH_POSITION] = config.current_position
    row[f.SWITCH_IS_TORN] = int(config.teardown)
    row[f.SWITCH_CHANGED] = f.NEVER
    row[f.SWITCH_NUM_POSITIONS] = NUM_WAYS
    row[f.SWITCH_IS_RING] = int(config.ring_mode)
    row[f.SWITCH_POP_MODE] = int(config.pop_mode)
    row[f.SWITCH_SWAPS] = config.swap_mask
    row[f.SWITCH_WAYS : f.SWITCH_WAYS + NUM_WAYS] = ways_at_load(config.positions)
    derive_sets(row)
    match config.filter:
        case None:
            pass
        case RangeFilter(minimum, maximum):
            row[f.SWITCH_FILTER] = f.RANGE_FILTER
            row[f.SWITCH_MINIMUM], row[f.SWITCH_MAXIMUM] = minimum, maximum
        case CounterFilter() as filter_:
            row[f.SWITCH_FILTER] = f.COUNTER_FILTER
            counts = filter_at_load(filter_)
            (
                row[f.SWITCH_COUNTER],
                row[f.SWITCH_LIMIT],
                row[f.SWITCH_PASSING],
                row[f.SWITCH_THEN],
            ) = counts
            row[f.SWITCH_COUNTS_DATA] = int(filter_.counts_data)
            row[f.SWITCH_COUNTS_CONTROL] = int(filter_.counts_control)
            row[f.SWITCH_FILTERS_CONTROL] = int(filter_.filters_control)
    return row
