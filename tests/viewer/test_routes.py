"""What is drawn of a color is what the routers do; folding loses nothing."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.geometry import Direction, Rectangle
from onewafer.image import ColorConfig, RangeFilter, SwitchPosition
from onewafer.viewer import (
    badges_of,
    configured_colors,
    describe_map,
    draw_routes,
    map_color,
)
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    NORTH,
    RAMP,
    SOUTH,
    WEST,
    WSE3,
    Kernel,
    eastward,
    route,
    switched,
)

COLOR = 3
LINKS = (WEST, EAST, SOUTH, NORTH)


def image_of(routes, width, height, *, programmed=None):
    kernel = Kernel("empty.csl")
    kernel.function("main")
    program = kernel.finish()
    places = [(x, y) for y in range(height) for x in range(width)]
    placed = dict.fromkeys(places if programmed is None else programmed, program)
    keyed = {(x, y, COLOR): config for (x, y), config in routes.items()}
    return make_image(WSE3, placed, width=width, height=height, routes=keyed)


directions = st.sets(st.sampled_from(Direction), min_size=1).map(
    lambda found: sum(1 << d for d in found)
)
positions = st.builds(SwitchPosition, rx=directions, tx=directions)
configs = st.lists(positions, min_size=1, max_size=4).map(lambda found: ColorConfig(tuple(found)))


@st.composite
def images(draw):
    width, height = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    few = draw(st.lists(configs, min_size=1, max_size=2))
    choices = st.sampled_from([None, *few])
    drawn = {(x, y): draw(choices) for y in range(height) for x in range(width)}
    return image_of({p: c for p, c in drawn.items() if c is not None}, width, height), drawn


def broken(drawn, place):
    """Return (position, direction) of what a router sends to where no position takes it."""
    found = set()
    for number, position in enumerate(drawn[place].positions if drawn[place] else ()):
        for direction in LINKS:
            dx, dy = direction.step
            there = drawn.get((place[0] + dx, place[1] + dy))
            takes = there and any(p.rx >> direction.opposite & 1 for p in there.positions)
            if position.tx >> direction & 1 and not takes:
                found.add((number, direction))
    return found


@given(images(), st.booleans())
def test_every_cell_is_what_its_router_does(case, folds):
    image, drawn = case
    color_map = map_color(image, COLOR, folds=folds)
    assert sum(map(len, color_map.columns)) == image.width
    assert sum(map(len, color_map.rows)) == image.height
    seen = set()
    for (i, j), cell in color_map.cells.items():
        column, row = color_map.columns[i], color_map.rows[j]
        for x in range(column.first, column.last + 1):
            for y in range(row.first, row.last + 1):
                assert cell.config == drawn[x, y]
                assert cell.breaks == broken(drawn, (x, y))
                seen.add((x, y))
    assert len(seen) == image.width * image.height
    assert color_map.num_breaks == sum(bool(broken(drawn, place)) for place in drawn)
    ET.fromstring(draw_routes(color_map, program="<a> & b"))  # noqa: S314 - our own text


@given(images())
def test_a_part_is_drawn_as_it_is_in_the_whole(case):
    image, _ = case
    whole = map_color(image, COLOR)
    part = map_color(image, COLOR, shown=Rectangle(image.width - 1, 0, 1, image.height))
    for y in range(image.height):
        assert part.cells[0, y] == whole.cells[image.width - 1, y]
    assert (part.num_configured, part.num_breaks) == (whole.num_configured, whole.num_breaks)


def test_a_large_rectangle_folds_into_a_small_picture():
    image = image_of({}, 1, 1)
    between = route(WEST, EAST)
    configured = np.full((500, 700, 24), -1, np.int16)
    configured[:, :, COLOR] = 1
    configured[:, 0, COLOR], configured[:, -1, COLOR] = 0, 2
    large = replace(
        image,
        width=700,
        height=500,
        program_of_pe=np.zeros((500, 700), np.int16),
        color_configs=(route(RAMP, EAST), between, route(WEST, RAMP)),
        config_of_color=configured,
    )
    color_map = map_color(large, COLOR, folds=True)
    assert [str(c) for c in color_map.columns] == ["0", "1–698", "699"]
    assert [str(r) for r in color_map.rows] == ["0–499"]
    assert color_map.is_folded
    text = draw_routes(color_map, program="large")
    assert "alike columns and rows folded" in text
    assert len(text) < 5_000
    assert describe_map(color_map) == (
        "350,000 PEs route it; it enters from 500 ramps; it leaves to 500 ramps"
    )


def test_where_the_host_sends_and_receives_is_said():
    first = replace(route(RAMP, EAST), from_host=True)
    last = replace(route(WEST, RAMP), to_host=True)
    routes = {(0, 0): first, (1, 0): route(WEST, EAST), (2, 0): last}
    assert describe_map(map_color(image_of(routes, 4, 1), COLOR)) == (
        "3 PEs route it; it enters from 1 ramp; it leaves to 1 ramp; "
        "the host sends at 1 PE; the host receives at 1 PE"
    )


def test_one_pe_is_one():
    color_map = map_color(image_of({(0, 0): route(RAMP, RAMP)}, 1, 1), COLOR)
    assert describe_map(color_map) == ("1 PE routes it; it enters from 1 ramp; it leaves to 1 ramp")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (route(WEST, EAST), ()),
        (switched((WEST, EAST), None, (WEST, RAMP), current=2, ring=True), ("2/2↻",)),
        (replace(route(WEST, RAMP), filter=RangeFilter(1, 2), teardown=True), ("T", "F")),
        (replace(route(RAMP, EAST), from_host=True), ("H",)),
        (replace(route(WEST, EAST), swap_mask=1 << EAST), ("X",)),
    ],
)
def test_what_is_special_has_a_badge_and_a_legend(config, expected):
    assert badges_of(config) == expected
    image = image_of({(0, 0): config}, 2, 1, programmed=[(0, 0)])
    text = draw_routes(map_color(image, COLOR), program="special")
    for badge in expected:
        assert f">{badge}</text>" in text
    meanings = {
        "↻": "of how many",
        "T": "teardown",
        "F": "a filter stands",
        "H": "the host",
        "X": "color 2 becomes it from links EAST",
    }
    for sign, meaning in meanings.items():
        assert (meaning in text) == any(badge.endswith(sign) for badge in expected)
    assert "no program" in text


def test_a_color_may_arrive_as_the_other_of_its_pair():
    sending = route(RAMP, EAST)
    image = image_of({(0, 0): sending}, 2, 1)
    assert map_color(image, COLOR).num_breaks == 1
    kernel = Kernel("empty.csl")
    kernel.function("main")
    program = kernel.finish()
    taking = replace(route(WEST, RAMP), swap_mask=1 << WEST)
    routes = {(0, 0, COLOR): sending, (1, 0, COLOR ^ 1): taking}
    image = make_image(WSE3, {(0, 0): program, (1, 0): program}, width=2, routes=routes)
    assert map_color(image, COLOR).num_breaks == 0


def test_colors_have_the_names_of_the_layout():
    image = image_of({(0, 0): route(RAMP, EAST), (1, 0): route(WEST, RAMP)}, 2, 1)
    assert configured_colors(image) == (COLOR,)
    named = replace(image, color_names={"sum": "3", "other": "4"}, colors={"given": "3"})
    assert map_color(named, COLOR).title == "color 3 (given/sum)"
    assert map_color(image, COLOR).title == "color 3"
    assert eastward(COLOR, 0, 1).keys() == {(0, 0, COLOR), (1, 0, COLOR)}
    assert map_color(image, COLOR).num_breaks == 0
