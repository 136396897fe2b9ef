"""Colors that change on the way: rule M59."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import ImageError
from onewafer.geometry import Direction
from onewafer.image import make_image, verify
from onewafer.simulator import ENGINES, Machine
from onewafer.simulator.selection import select_engine
from tests.simulator.assembly import EAST, RAMP, WEST, WSE2, WSE3, receiver, route, sender, switched

ALONG_X = 1 << EAST | 1 << WEST
ALONG_Y = 1 << Direction.NORTH | 1 << Direction.SOUTH


def swapping(config, mask=ALONG_X):
    return replace(config, swap_mask=mask)


def received(engine, routes, *, width, color_sent, color_read, num_words):
    """Send words from the first PE of a row to the last one; return them and the machine."""
    programs = {
        (0, 0): sender(color_sent, num_words),
        (width - 1, 0): receiver(color_read, num_words),
    }
    image = make_image(WSE2, programs, width=width, routes=routes)
    verify(image, WSE2)
    machine = Machine(image, WSE2, engine=engine)
    machine.launch("main")
    machine.run()
    symbol = machine.symbol(width - 1, 0, "received")
    payload = machine.peek(width - 1, 0, symbol.address, symbol.num_bytes)
    return np.frombuffer(payload, "<u4").tolist(), machine


@settings(max_examples=15, deadline=None)
@given(
    swaps=st.lists(st.booleans(), min_size=1, max_size=5),
    color=st.integers(0, 9),
    num_words=st.integers(1, 30),
    has_switches=st.booleans(),
)
def test_swapped_colors(swaps, color, num_words, has_switches):
    """M59: at each hop out of a router that swaps, the color is the other one of its pair."""
    routes, at_pe = {}, color
    for x, is_swapped in enumerate(swaps):
        way = RAMP if x == 0 else WEST
        config = switched((way, EAST), (way, RAMP)) if has_switches else route(way, EAST)
        routes[x, 0, at_pe] = swapping(config) if is_swapped else config
        at_pe ^= is_swapped
    routes[len(swaps), 0, at_pe] = route(WEST, RAMP)
    cycles = set()
    for engine in sorted(ENGINES):
        words, machine = received(
            engine,
            routes,
            width=len(swaps) + 1,
            color_sent=color,
            color_read=at_pe,
            num_words=num_words,
        )
        assert words == list(range(1, num_words + 1))
        assert machine.statistics().wavelet_hops == num_words * len(swaps)
        cycles.add(machine.cycle)
    assert len(cycles) == 1


def test_the_ramp_keeps_the_color(engine):
    """M59: only links change it; a swap along y changes nothing along x."""
    routes = {
        (0, 0, 2): swapping(route(RAMP, EAST), ALONG_Y),
        (1, 0, 2): swapping(route(WEST, RAMP)),
    }
    words, _ = received(engine, routes, width=2, color_sent=2, color_read=2, num_words=3)
    assert words == [1, 2, 3]


def test_what_comes_from_the_ramp_is_swapped():
    """M59: with the bit of the ramp; the link swaps it back."""
    everywhere = ALONG_X | ALONG_Y | 1 << RAMP
    routes = {
        (0, 0, 2): swapping(route(RAMP, RAMP), everywhere),
        (0, 0, 3): swapping(route(RAMP, EAST), everywhere),
        (1, 0, 2): swapping(route(WEST, RAMP), everywhere),
    }
    words, machine = received("reference", routes, width=2, color_sent=2, color_read=2, num_words=3)
    assert words == [1, 2, 3]
    assert machine.statistics().wavelet_hops == 3


def test_the_fast_engine_leaves_swapped_ramps_to_the_reference():
    image = make_image(WSE2, sender(2, 1), routes={(0, 0, 2): swapping(route(RAMP, RAMP), 0x1F)})
    assert select_engine("fast", image).name == "reference"


def test_no_swap_on_wse3():
    image = make_image(WSE3, sender(2, 1), routes={(0, 0, 2): swapping(route(RAMP, RAMP))})
    with pytest.raises(ImageError, match="color 2 is swapped; wse3 cannot do that"):
        verify(image, WSE3)
