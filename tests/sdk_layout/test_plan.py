"""Plans by property: whatever is connected arrives, and no color has two drivers at a PE."""

from collections import Counter

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import HostError
from onewafer.geometry import Direction
from onewafer.host import IntVector
from onewafer.sdk_layout import Edge, Route, RoutingPosition
from onewafer.sdk_layout.code_region import CodeRegion
from onewafer.sdk_layout.fabric_plan import make_plan
from onewafer.sdk_layout.link import make_connection, make_stream

WSE2, WSE3 = load_architecture("wse2"), load_architecture("wse3")
CELL = 6
"""Regions are at most half as wide, so that there is a way around each."""
RAMP = 1 << Direction.RAMP
FROM_RAMP = RoutingPosition().set_input([Route.RAMP])
TO_RAMP = RoutingPosition().set_output([Route.RAMP])


@st.composite
def layouts(draw, *, max_side=3, max_links=8):
    """Return regions in cells of a grid and links between their ports."""
    cells = draw(st.lists(st.integers(0, 8), min_size=1, max_size=6, unique=True))
    regions = [_draw_region(draw, number, cell, max_side) for number, cell in enumerate(cells)]
    links = []
    for number in range(draw(st.integers(1, max_links))):
        kind = draw(st.sampled_from(("connection", "input", "output")))
        tx = rx = None
        if kind != "input":
            tx = _draw_port(draw, regions, f"tx{number}", is_input=False)
        if kind != "output":
            others = [region for region in regions if tx is None or region is not tx.region]
            rx = _draw_port(draw, others or regions, f"rx{number}", is_input=True)
        if tx is not None and rx is not None and tx.region is rx.region:  # one color, used twice
            tx.region.ports = tx.region.ports[:-2]
            continue
        try:
            match kind:
                case "connection":
                    links.append(make_connection(tx, rx))
                case _:
                    port = tx or rx
                    links.append(make_stream(port, None, is_input=port.is_input))
        except HostError:  # sides of different lengths, or too long for a stream
            for port in filter(None, (tx, rx)):
                port.region.ports.remove(port)
    assume(links)
    return regions, links


def _draw_region(draw, number, cell, max_side):
    width, height = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    region = CodeRegion("pe.csl", f"r{number}", width, height)
    x, y = (cell % 3) * CELL, (cell // 3) * CELL
    region.place(x + draw(st.integers(1, 2)), y + draw(st.integers(1, 2)))
    return region


def _draw_port(draw, regions, name, *, is_input):
    region = draw(st.sampled_from(regions))
    create = region.create_input_port if is_input else region.create_output_port
    routes = [TO_RAMP if is_input else FROM_RAMP]
    return create(region.color(name), draw(st.sampled_from(Edge)), routes, 4)


def routes_of(plan):
    """Return {(color, PE): positions}; fail if a color has two configurations at a PE."""
    settings = [
        ((plan.value(color), pe), positions)
        for link in plan.routed
        for color in [link.link.ports[0].color]
        for pe, positions in link.hops()
    ]
    twice = [key for key, count in Counter(key for key, _ in settings).items() if count > 1]
    assert not twice
    return dict(settings)


def follow(routes, color, pe):
    """Return the PE where a color that PE `pe` sends from its ramp arrives at a ramp."""
    came = RAMP
    while True:
        (position,) = routes[color, pe]
        assert position.rx == came
        if position.tx == RAMP:
            return pe
        (direction,) = [d for d in Direction if position.tx == 1 << d]
        pe = (pe[0] + direction.step[0], pe[1] + direction.step[1])
        came = 1 << direction.opposite


def check(plan):
    routes = routes_of(plan)
    for routed in plan.routed:
        color = plan.value(routed.link.ports[0].color)
        for lane in routed.lanes:
            assert follow(routes, color, lane[0]) == lane[-1]
        for port, end in ((routed.link.tx, 0), (routed.link.rx, -1)):
            if port is not None:
                place = port.region.rectangle
                pes = [(place.x + x, place.y + y) for x, y in port.strip.pes()]
                assert [lane[end] for lane in routed.lanes] == pes
        assert all(0 <= x < plan.width and 0 <= y < plan.height for x, y in lane)
    io_pes = [routed.io_pe for routed in plan.routed if routed.io_pe is not None]
    assert len(set(io_pes)) == len(io_pes)
    code = [pe for region in plan.regions for pe in region.rectangle.pes()]
    assert not set(io_pes).intersection(code)


@given(layouts(max_side=1))
def test_single_lanes_always_arrive(layout):
    """Each link has a color of its own, so there is a way for each."""
    check(make_plan(*layout, WSE3))


@given(layouts())
def test_lanes_arrive_where_there_is_a_plan(layout):
    """Lanes of one color cannot cross, so that some layouts have none; it says so."""
    try:
        plan = make_plan(*layout, WSE2)
    except HostError as error:
        event("refused")
        assert "lanes cannot cross" in str(error) or "has no path" in str(error)  # noqa: PT017
        return
    check(plan)


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 4), st.sampled_from(Edge))
def test_sides_that_face_each_other_are_connected(lanes, shift, gap, edge):
    """Straight if they are in line, however near."""
    is_upright = edge in (Edge.LEFT, Edge.RIGHT)
    size = (1, lanes) if is_upright else (lanes, 1)
    first, second = CodeRegion("pe.csl", "first", *size), CodeRegion("pe.csl", "second", *size)
    # Lanes that are shifted need as many rows between them.
    distance = 1 + gap + shift
    first.place(12, 12)
    dx, dy = edge.direction.step
    second.place(12 + dx * distance + shift * abs(dy), 12 + dy * distance + shift * abs(dx))
    facing = {
        Edge.LEFT: Edge.RIGHT,
        Edge.RIGHT: Edge.LEFT,
        Edge.TOP: Edge.BOTTOM,
        Edge.BOTTOM: Edge.TOP,
    }
    tx = first.create_output_port(first.color("tx"), edge, [FROM_RAMP], lanes)
    rx = second.create_input_port(second.color("rx"), facing[edge], [TO_RAMP], lanes)
    plan = make_plan([first, second], [make_connection(tx, rx)], WSE3)
    check(plan)
    if not shift:
        assert {len(lane) for lane in plan.routed[0].lanes} == {distance + 1}


@pytest.mark.parametrize(("gap", "fits"), [(30, True), (12, False)])
def test_many_lanes_shift_if_there_are_columns_for_them(gap, fits):
    """In one column only the last lane that is above a free row can go down: 29 need as many."""
    sides = [CodeRegion("pe.csl", name, 1, 29) for name in ("west", "east")]
    sides[0].place(1, 1)
    sides[1].place(2 + gap, 2)
    tx = sides[0].create_output_port(sides[0].color("tx"), Edge.RIGHT, [FROM_RAMP], 29)
    rx = sides[1].create_input_port(sides[1].color("rx"), Edge.LEFT, [TO_RAMP], 29)
    if fits:
        check(make_plan(sides, [make_connection(tx, rx)], WSE3))
    else:
        with pytest.raises(HostError, match="leave more free PEs between the regions"):
            make_plan(sides, [make_connection(tx, rx)], WSE3)


def test_a_color_of_two_links_is_one_color():
    """A chain of three regions in which the middle one receives and sends the same name."""
    regions = [CodeRegion("pe.csl", name, 1, 1) for name in ("a", "b", "c")]
    for number, region in enumerate(regions):
        region.place(3 * number, 0)
    a, b, c = regions
    first = make_connection(
        a.create_output_port(a.color("tx"), Edge.RIGHT, [FROM_RAMP], 1),
        b.create_input_port(b.color("rx"), Edge.LEFT, [TO_RAMP], 1),
    )
    second = make_connection(
        b.create_output_port(b.color("tx"), Edge.RIGHT, [FROM_RAMP], 1),
        c.create_input_port(c.color("rx"), Edge.LEFT, [TO_RAMP], 1),
    )
    plan = make_plan(regions, [first, second], WSE3)
    assert plan.values["a_tx"] == plan.values["b_rx"]
    assert plan.values["b_tx"] == plan.values["c_rx"] != plan.values["a_tx"]
    check(plan)


def test_switches_get_switchable_colors():
    region = CodeRegion("pe.csl", "r", 2, 1)
    plain = [region.color(f"plain{n}") for n in range(10)]
    switched = region.color("switched")
    for color in plain:
        region.set_param_all(color)
    west = RoutingPosition().set_input([Route.WEST])
    first, second = west, RoutingPosition().set_input([Route.WEST])
    region.paint_all(switched, [first.set_output([Route.RAMP]), second.set_output([Route.EAST])])
    values = make_plan([region], [], WSE3).values
    assert values["r_switched"] in WSE3.switchable_colors
    assert len(set(values.values())) == 11


def test_the_place_of_a_stream_can_be_chosen():
    region = CodeRegion("pe.csl", "r", 1, 1)
    region.place(2, 2)
    port = region.create_input_port(region.color("rx"), Edge.LEFT, [TO_RAMP], 1)
    plan = make_plan([region], [make_stream(port, (5, 4), is_input=True)], WSE3)
    assert plan.routed[0].io_pe == (5, 4)
    check(plan)
    for pe, message in (((2, 2), "belongs to a code region"), ((762, 0), "is outside the fabric")):
        with pytest.raises(HostError, match=message):
            make_plan([region], [make_stream(port, pe, is_input=True)], WSE3)


def test_too_many_colors_are_refused():
    region = CodeRegion("pe.csl", "r", 1, 1)
    for number in range(25):
        region.set_param_all(region.color(f"c{number}"))
    with pytest.raises(HostError, match="none of the 24 colors of wse3 is left"):
        make_plan([region], [], WSE3)


def test_fixed_values_are_kept_and_may_not_clash():
    region = CodeRegion("pe.csl", "r", 1, 1)
    a, b = region.color("a", 7), region.color("b")
    region.set_param_all(a)
    region.set_param_all(b)
    assert make_plan([region], [], WSE3).values == {"r_a": 7, "r_b": 0}
    region.set_param(IntVector(0, 0), "c", region.color("c", 7))
    with pytest.raises(HostError, match=r"both have the value 7 and meet at PE \(0, 0\)"):
        make_plan([region], [], WSE3)
