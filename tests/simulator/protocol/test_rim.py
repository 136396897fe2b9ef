"""Routes that leave the rectangle: M57."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.geometry import Direction
from onewafer.simulator.protocol.rim import without_exits
from tests.image.builder import make_image
from tests.simulator.assembly import (
    RAMP,
    boot,
    commands,
    receiver,
    route,
    sender,
    switched,
    talker,
)
from tests.simulator.generation import programs
from tests.simulator.test_engines_agree import LENIENT, assert_agreement

COLOR = 3
WEST, EAST, NORTH, SOUTH = Direction.WEST, Direction.EAST, Direction.NORTH, Direction.SOUTH
LINKS = (WEST, EAST, SOUTH, NORTH)


@pytest.mark.parametrize("direction", LINKS)
def test_what_goes_out_is_gone(engine, direction):
    """M57: any number of wavelets; the sender is done when the last one has left."""
    routes = {(0, 0, COLOR): route(RAMP, direction)}
    run = boot(sender(COLOR, 100), engine=engine, routes=routes).launch()
    assert run.machine.find_leftovers() == []


@pytest.mark.parametrize("direction", [EAST, SOUTH, NORTH])
def test_copies_that_stay_inside_go_on(engine, direction):
    """M57: a PE of the rim takes what it sends on over the rim."""
    programs = {(0, 0): sender(COLOR, 40), (1, 0): receiver(COLOR, 40)}
    routes = {(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(WEST, RAMP, direction)}
    run = boot(programs, engine=engine, width=2, routes=routes).launch()
    assert run.words("received", 1) == run.words("sent", 0)


def test_switch_whose_position_leads_out_turns(engine):
    """M57: a control wavelet that leaves turns the switch, and what comes behind it goes on."""
    ahead = (commands(1),)
    placed = {(0, 0): talker(COLOR, [1, ahead, 2, 3]), (1, 0): receiver(COLOR, 2)}
    config = switched((RAMP, WEST), (RAMP, EAST))
    routes = {(0, 0, COLOR): config, (1, 0, COLOR): route(WEST, RAMP)}
    run = boot(placed, engine=engine, width=2, routes=routes).launch()
    assert run.words("received", 1) == [2, 3]


@st.composite
def programs_that_leave(draw):
    """Draw a program, and let some of its routes lead out besides."""
    architecture, image = draw(programs())
    routes = {}
    for y, x, color in np.argwhere(image.config_of_color >= 0).tolist():
        config = image.color_configs[image.config_of_color[y, x, color]]
        (position,) = config.positions
        xs, ys = range(image.width), range(image.height)
        steps = {d: d.step for d in LINKS}
        inside = {d: x + dx in xs and y + dy in ys for d, (dx, dy) in steps.items()}
        outward = [d for d in LINKS if not inside[d] and draw(st.booleans())]
        sends = [d for d in Direction if position.tx >> d & 1]
        receives = [d for d in Direction if position.rx >> d & 1]
        routes[x, y, color] = route(tuple(receives), *sends, *outward)
    placed = {
        (x, y): image.programs[image.program_of_pe[y, x]]
        for y, x in np.argwhere(image.program_of_pe >= 0).tolist()
    }
    size = {"width": image.width, "height": image.height}
    return architecture, make_image(architecture, placed, **size, routes=routes), image


@settings(LENIENT, max_examples=40)
@given(programs_that_leave())
def test_exits_are_all_that_changes(drawn):
    """M57: without what leads out, the image is what it was."""
    _, image, before = drawn
    inside = without_exits(image)
    for y, x, color in np.argwhere(image.config_of_color >= 0).tolist():
        of_image = [i.color_configs[i.config_of_color[y, x, color]] for i in (inside, before)]
        assert of_image[0].positions == of_image[1].positions
    assert without_exits(before) is before


@settings(LENIENT, max_examples=60)
@given(programs_that_leave(), st.sampled_from([None, None, 1, 13]))
def test_engines_agree_on_what_leaves(drawn, slices):
    """M57: both let it go."""
    architecture, image, _ = drawn
    assert_agreement(architecture, image, slices)
