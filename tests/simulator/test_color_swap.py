"""Colors that change on the way: rule M59."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import DeadlockError, ImageError
from onewafer.geometry import Direction
from onewafer.image import DsdOperation, ScalarType, verify
from onewafer.simulator import ENGINES, Machine
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.reference import ReferenceEngine
from tests.image.builder import make_image
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
    """M59: at each hop into a router that swaps, the color is the other one of its pair."""
    routes, at_pe = {}, color
    for x, is_swapped in enumerate([False, *swaps]):
        way, to = RAMP if x == 0 else WEST, RAMP if x == len(swaps) else EAST
        at_pe ^= is_swapped
        config = switched((way, to), (way, RAMP)) if has_switches else route(way, to)
        routes[x, 0, at_pe] = swapping(config) if is_swapped else config
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
    """M59: unless both axes swap; a swap along y changes nothing along x."""
    routes = {
        (0, 0, 2): swapping(route(RAMP, EAST)),
        (1, 0, 2): swapping(route(WEST, RAMP), ALONG_Y),
    }
    words, _ = received(engine, routes, width=2, color_sent=2, color_read=2, num_words=3)
    assert words == [1, 2, 3]


def test_what_comes_from_the_ramp_is_swapped(engine):
    """M59: with the bit of the ramp; the next router swaps it back."""
    routes = {
        (0, 0, 2): swapping(route(RAMP, RAMP), EVERYWHERE),
        (0, 0, 3): swapping(route(RAMP, EAST), EVERYWHERE),
        (1, 0, 2): swapping(route(WEST, RAMP), EVERYWHERE),
    }
    words, machine = received(engine, routes, width=2, color_sent=2, color_read=2, num_words=3)
    assert words == [1, 2, 3]
    assert machine.statistics().wavelet_hops == 3


def test_the_router_behind_the_link_swaps(engine):
    """M59: the one before it need not know; nor need the other color of the pair."""
    routes = {(0, 0, 2): route(RAMP, EAST), (1, 0, 3): swapping(route(WEST, RAMP))}
    words, _ = received(engine, routes, width=2, color_sent=2, color_read=3, num_words=3)
    assert words == [1, 2, 3]


def test_a_color_that_only_others_come_in_as_waits(engine):
    """M59: color 3 comes in as color 2, for which there is no route."""
    routes = {(0, 0, 3): route(RAMP, EAST), (1, 0, 3): swapping(route(WEST, RAMP))}
    with pytest.raises(DeadlockError, match="color 2"):
        received(engine, routes, width=2, color_sent=3, color_read=3, num_words=3)


def test_a_pair_of_which_one_is_swapped_is_refused():
    """M59: what comes in as color 2 would go to both, which is not simulated."""
    routes = {(0, 0, 2): route(WEST, RAMP), (0, 0, 3): swapping(route(WEST, EAST))}
    image = make_image(WSE2, sender(2, 1), width=2, routes=routes)
    with pytest.raises(ImageError, match="colors 2 and 3 are not swapped alike"):
        verify(image, WSE2)


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
        (1, 0, 2): swapping(route(WEST, RAMP), EVERYWHERE),
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
    configs, chosen = [*image.color_configs], {}
    numbers = image.config_of_color.copy()
    for y, x, color in np.argwhere(numbers >= 0).tolist():
        pair = x, y, color // 2
        if pair not in chosen:
            chosen[pair] = draw(masks)
        configs.append(replace(configs[numbers[y, x, color]], swap_mask=chosen[pair]))
        numbers[y, x, color] = len(configs) - 1
    return architecture, replace(image, color_configs=tuple(configs), config_of_color=numbers)


@settings(LENIENT, max_examples=120)
@given(swapping_programs(), st.sampled_from([None, None, 1, 13]))
def test_engines_agree_on_swapped_colors(program, slices):
    """M59: wherever the wavelets get lost."""
    assert_agreement(*program, slices)


def test_no_swap_on_wse3():
    image = make_image(WSE3, sender(2, 1), routes={(0, 0, 2): swapping(route(RAMP, RAMP))})
    with pytest.raises(ImageError, match="color 2 is swapped; wse3 cannot do that"):
        verify(image, WSE3)
