"""Data of switched colors that asks no switch: routes settle, and control wavelets unsettle them.

Both engines agree on these programs, with and without a recorder; and here they do so on the fast
engine's short way, which the tests make sure of.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.image import DsdConfig, DsdOperation, ScalarType
from onewafer.simulator import LoadedProgram
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.loading import load_state
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE3,
    Kernel,
    commands,
    route,
    switched,
    talker,
)
from tests.simulator.test_engines_agree import LENIENT, assert_agreement

COLOR = 3
ADVANCE, TEARDOWN = 1, 3
TURN = (commands(ADVANCE),)
DELIVERED = (commands(0, ignore=False, entry=40),)


def reader(num_words, *, num_operations=1, ends_on_control=False):
    """Return a program that receives words in several operations of equal length."""
    kernel = Kernel("reader")
    base = kernel.data("received", ScalarType.U32, [0] * (num_words * num_operations))
    kernel.function("main")
    for number in range(num_operations):
        vector = kernel.vector(base + 4 * number * num_words, num_words)
        config = DsdConfig(number, ends_on_control=True) if ends_on_control else None
        source = kernel.incoming(COLOR, num_words)
        kernel.operate(DsdOperation.MOV32, vector, src1=source, config=config)
    return kernel.finish()


def line(script, *, switch, readers):
    """Return three PEs in a row: the first sends, the second has a switch, both others read."""
    placed = {(0, 0): talker(COLOR, script)}
    placed |= {(x, 0): program for x, program in readers.items()}
    routes = {
        (0, 0, COLOR): route(RAMP, EAST),
        (1, 0, COLOR): switch,
        (2, 0, COLOR): route(WEST, RAMP),
    }
    return WSE3, make_image(WSE3, placed, width=3, routes=routes)


TURNS = switched((WEST, RAMP), (WEST, EAST), ring=True)


def run(image, *, until=None):
    engine = FastEngine(LoadedProgram(image, WSE3, load_state(image, WSE3), None))
    engine.run()
    engine.launch("main", ())
    engine.run(max_cycles=until)
    return engine._arrays  # what is tested here cannot be seen from outside


def ports(s, pe, field):
    """Return the ports of a route of the color at a PE."""
    row = (s.switches[:-1, f.SWITCH_PE] == pe) & (s.switches[:-1, f.SWITCH_COLOR] == COLOR)
    (offset,) = s.switches[:-1][row][:, field]
    assert s.arena[offset + f.ROUTE_PORTS] & f.IS_SWITCHED
    return int(s.arena[offset + f.ROUTE_PORTS])


def test_data_settles_the_routes_that_it_goes_by():
    _, image = line([1, 2, 3], switch=TURNS, readers={1: reader(3)})
    s = run(image)
    assert ports(s, 0, f.SWITCH_RAMP_ROUTE) & f.IS_SETTLED
    assert ports(s, 1, f.SWITCH_LINK_ROUTE) & f.IS_SETTLED
    assert not ports(s, 2, f.SWITCH_LINK_ROUTE) & f.IS_SETTLED  # nothing came so far


def test_a_switch_that_turns_unsettles_its_routes_and_no_other():
    _, image = line([1, 2, 3, TURN], switch=TURNS, readers={1: reader(3)})
    s = run(image)
    assert ports(s, 0, f.SWITCH_RAMP_ROUTE) & f.IS_SETTLED
    assert ports(s, 1, f.SWITCH_LINK_ROUTE) == f.IS_SWITCHED


def test_no_fifo_holds_marked_wavelets_when_they_are_gone():
    script = [1, TURN, 2, 3, TURN, 4]
    _, image = line(script, switch=TURNS, readers={1: reader(2), 2: reader(2)})
    s = run(image)
    shapes = s.arena[s.fifos[s.fifos[:, f.FIFOS_OFFSET] > 0, f.FIFOS_OFFSET] + f.FIFO_SHAPE]
    assert (shapes & f.HAS_TAGS).any()
    assert not (shapes & f.HOLDS_MARKED).any()


@pytest.mark.parametrize("ends_on_control", [False, True])
def test_operations_are_watched_only_where_control_wavelets_end_them(ends_on_control):
    program = reader(3, ends_on_control=ends_on_control)
    _, image = line([1, 2, 3], switch=TURNS, readers={1: program})
    s = run(image)
    steps = s.arena[s.operations[s.operations[:, f.OPS_OFFSET] > 0, f.OPS_OFFSET] + f.OP_STEPS]
    assert bool((steps & f.WATCHED).any()) == ends_on_control


@pytest.mark.parametrize(
    "script",
    [
        [1, TURN, 2, TURN, 3, TURN, 4, TURN],
        [1, TURN, TURN, 2, 3, TURN, 4],
        [1, 2, DELIVERED, 3, 4],
        [DELIVERED, 1, 2, 3, 4],
        [1, 2, (commands(TEARDOWN),), 3],
    ],
)
@pytest.mark.parametrize("slices", [None, 1, 5])
def test_scripts_agree(script, slices):
    """Among them those in which operations take control wavelets (M95)."""
    readers = {1: reader(1, num_operations=3), 2: reader(1, num_operations=3)}
    assert_agreement(*line(script, switch=TURNS, readers=readers), slices)


WORDS = st.one_of(st.integers(0, 9), st.sampled_from([TURN, TURN, DELIVERED]))
SCRIPTS = st.lists(WORDS, min_size=1, max_size=12)
POSITIONS = st.sampled_from([(WEST, RAMP), (WEST, EAST), (RAMP, EAST), None])


@st.composite
def switched_lines(draw):
    """Return a line whose second PE reads what passes, or sends on the same color."""
    positions = draw(st.lists(POSITIONS, max_size=3))
    first = draw(st.sampled_from([(WEST, RAMP), (RAMP, EAST)]))
    switch = switched(first, *positions, ring=draw(st.booleans()))
    readers = {x: reader(draw(st.integers(1, 4)), num_operations=2) for x in (1, 2)}
    if draw(st.booleans()):
        readers[1] = talker(COLOR, draw(SCRIPTS))
    return line(draw(SCRIPTS), switch=switch, readers=readers)


@LENIENT
@given(switched_lines(), st.sampled_from([None, None, 3]))
def test_generated_lines_agree(program, slices):
    assert_agreement(*program, slices)
