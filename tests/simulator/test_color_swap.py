"""Colors that change on the way: rule M59."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import ImageError
from onewafer.geometry import Direction
from onewafer.image import DsdOperation, ScalarType, make_image, verify
from onewafer.simulator import ENGINES, Machine
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.reference import ReferenceEngine
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    background,
    receiver,
    route,
    sender,
    switched,
)
from tests.simulator.cutting import cutting
from tests.simulator.feature_generation import feature_programs
from tests.simulator.generation import programs
from tests.simulator.test_engines_agree import LENIENT, assert_agreement, observe

ALONG_X = 1 << EAST | 1 << WEST
ALONG_Y = 1 << Direction.NORTH | 1 << Direction.SOUTH
EVERYWHERE = ALONG_X | ALONG_Y | 1 << RAMP


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


def test_what_comes_from_the_ramp_is_swapped(engine):
    """M59: with the bit of the ramp; the link swaps it back."""
    routes = {
        (0, 0, 2): swapping(route(RAMP, RAMP), EVERYWHERE),
        (0, 0, 3): swapping(route(RAMP, EAST), EVERYWHERE),
        (1, 0, 2): swapping(route(WEST, RAMP), EVERYWHERE),
    }
    words, machine = received(engine, routes, width=2, color_sent=2, color_read=2, num_words=3)
    assert words == [1, 2, 3]
    assert machine.statistics().wavelet_hops == 3


def test_each_router_swaps_for_itself(engine):
    """M59: neither the other color of the pair nor the router behind the link need do so."""
    routes = {
        (0, 0, 2): swapping(route(RAMP, EAST)),
        (0, 0, 3): route(RAMP, EAST),
        (1, 0, 3): route(WEST, RAMP),
    }
    words, _ = received(engine, routes, width=2, color_sent=2, color_read=3, num_words=3)
    assert words == [1, 2, 3]
    words, _ = received(engine, routes, width=2, color_sent=3, color_read=3, num_words=3)
    assert words == [1, 2, 3]


def meeting():
    """Return an image in which two colors leave one router as the same one."""
    kernel = Kernel("both")
    base = kernel.data("sent", ScalarType.F32, [1.0] * 20)
    kernel.function("main")
    for thread, color in ((1, 2), (2, 3)):
        kernel.operate(
            DsdOperation.MOV32,
            kernel.outgoing(color, 10, queue=1 + thread),
            src1=kernel.vector(base, 10),
            config=background(thread),
        )
    routes = {
        (0, 0, 2): swapping(route(RAMP, EAST)),
        (0, 0, 3): route(RAMP, EAST),
        (1, 0, 3): route(WEST, RAMP),
    }
    placed = {(0, 0): kernel.finish(), (1, 0): receiver(3, 20)}
    return WSE2, make_image(WSE2, placed, width=2, routes=routes)


def test_two_colors_can_become_one():
    """M54, M59: they take turns on the link, and one buffer has both."""
    assert_agreement(*meeting())
    assert observe(FastEngine, meeting()[1], WSE2)["error"] is None


@pytest.mark.parametrize("makers", [(FastEngine, ReferenceEngine), (FastEngine,)])
def test_swapped_colors_are_kept_in_a_checkpoint(makers):
    """M59: what waits behind the ramp or a link has the color that it has there."""
    kernel = Kernel("mixed")
    base = kernel.data("sent", ScalarType.F32, [1.0] * 8)
    kernel.function("main")
    for color in (2, 4, 2):
        kernel.operate(
            DsdOperation.MOV32, kernel.outgoing(color, 8, queue=2), src1=kernel.vector(base, 8)
        )
    routes = {
        (0, 0, 2): swapping(route(RAMP, RAMP), EVERYWHERE),
        (0, 0, 3): swapping(route(RAMP, EAST), EVERYWHERE),
        (0, 0, 4): route(RAMP, EAST),
        (1, 0, 2): route(WEST, RAMP),
        (1, 0, 4): route(WEST, RAMP),
    }
    taking = Kernel("taking")
    taking.function("main")
    vectors = [
        taking.vector(taking.data(f"color {c}", ScalarType.F32, [0.0] * n), n)
        for c, n in ((2, 16), (4, 8))
    ]
    for vector, (color, count) in zip(vectors, ((2, 16), (4, 8)), strict=True):
        taken = taking.incoming(color, count, queue=color)
        taking.operate(DsdOperation.MOV32, vector, src1=taken, config=background(color))
    placed = {(0, 0): kernel.finish(), (1, 0): taking.finish()}
    image = make_image(WSE2, placed, width=2, routes=routes)
    assert observe(FastEngine, image, WSE2)["error"] is None
    assert_agreement(WSE2, image, make=cutting(*makers))


def test_what_the_host_sends_is_swapped(engine):
    """M59, M72: it comes from the ramp, too."""
    routes = {
        (0, 0, 2): swapping(route(RAMP, RAMP), EVERYWHERE),
        (0, 0, 3): swapping(route(RAMP, EAST), EVERYWHERE),
        (1, 0, 2): swapping(route(WEST, RAMP), EVERYWHERE),
    }
    image = make_image(WSE2, {(1, 0): receiver(2, 3)}, width=2, routes=routes)
    machine = Machine(image, WSE2, engine=engine)
    machine.inject(0, 0, 2, [7, 8, 9])
    machine.launch("main")
    machine.run()
    symbol = machine.symbol(1, 0, "received")
    payload = machine.peek(1, 0, symbol.address, symbol.num_bytes)
    assert np.frombuffer(payload, "<u4").tolist() == [7, 8, 9]


@st.composite
def swapping_programs(draw):
    """Draw a program of the WSE-2 whose routers swap what they will."""
    made = st.one_of(programs(), feature_programs()).filter(lambda p: p[0].has_color_swap)
    architecture, image = draw(made)
    masks = st.sampled_from((0, 0, 0, ALONG_X, ALONG_Y, EVERYWHERE, EVERYWHERE))
    configs = tuple(replace(config, swap_mask=draw(masks)) for config in image.color_configs)
    return architecture, replace(image, color_configs=configs)


@settings(LENIENT, max_examples=120)
@given(swapping_programs(), st.sampled_from([None, None, 1, 13]))
def test_engines_agree_on_swapped_colors(program, slices):
    """M59: wherever the wavelets get lost."""
    assert_agreement(*program, slices)


def test_no_swap_on_wse3():
    image = make_image(WSE3, sender(2, 1), routes={(0, 0, 2): swapping(route(RAMP, RAMP))})
    with pytest.raises(ImageError, match="color 2 is swapped; wse3 cannot do that"):
        verify(image, WSE3)
