"""Wavelets between the host and the fabric: rules M72, M73 and M74."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import DeadlockError, ImageError, SimulationError
from onewafer.image import DsdOperation, ScalarType, verify
from onewafer.simulator import LoadedProgram, Machine, StopReason
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.state.loading import HOST_STREAM_WORDS, load_state
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    background,
    commands,
    receiver,
    route,
    sender,
)
from tests.simulator.cutting import cutting

IN, OTHER_IN, OUT = 3, 4, 5
MOV32 = DsdOperation.MOV32


def from_host(receive=RAMP, *transmit):
    return replace(route(receive, *(transmit or (RAMP,))), from_host=True)


def to_host(receive=RAMP, *transmit):
    return replace(route(receive, *(transmit or (RAMP,))), to_host=True)


def relay(num_words, *, stream=IN):
    """Return a program that sends the words of a stream of the host back to it, both at once."""
    kernel = Kernel("relay")
    kernel.function("main")
    target = kernel.outgoing(OUT, num_words, queue=3)
    kernel.operate(MOV32, target, src1=kernel.incoming(stream, num_words), config=background(1))
    return kernel.finish()


def machine_of(engine, programs, routes, *, width=1, architecture=WSE3):
    image = make_image(architecture, programs, width=width, routes=routes)
    verify(image, architecture)
    return Machine(image, architecture, engine=engine)


def collect_all(machine, x, y, color, most=None):
    """Return all that a machine sends to the host until it comes to rest."""
    words = []
    while True:
        assert machine.run() is StopReason.QUIESCENT
        taken = machine.collect(x, y, color, most)
        if not taken:
            return words
        words += taken


def test_collect(engine):
    """M73: what a route hands to the ramp of a PE goes to the host, whether it has a program."""
    routes = {(0, 0, OUT): route(RAMP, EAST), (1, 0, OUT): to_host(WEST)}
    machine = machine_of(engine, {(0, 0): sender(OUT, 9)}, routes, width=2)
    machine.launch("main")
    machine.run()
    assert machine.collect(1, 0, OUT, 4) == [1, 2, 3, 4]
    assert machine.collect(1, 0, OUT) == [5, 6, 7, 8, 9]
    assert machine.collect(1, 0, OUT) == []


@pytest.mark.parametrize("most", [None, 1, 100])
def test_sender_waits_for_the_host(engine, most):
    """M73: so many wavelets wait at the PE; the others are held back, and none is lost."""
    num_words = 3 * HOST_STREAM_WORDS + 5
    machine = machine_of(engine, sender(OUT, num_words), {(0, 0, OUT): to_host()})
    machine.launch("main")
    machine.run()
    held = HOST_STREAM_WORDS + WSE3.timing.ramp_cycles
    assert machine.statistics().link_wavelets[0, 0, RAMP] == held
    assert "waits for room in output queue" in machine.find_deadlock()
    assert collect_all(machine, 0, 0, OUT, most) == list(range(1, num_words + 1))
    assert machine.find_deadlock() is None


def test_streams_do_not_wait_for_each_other(engine):
    """M72: a color that is not read yet does not keep another one from entering."""
    routes = {(0, 0, IN): from_host(), (0, 0, OTHER_IN): from_host()}
    machine = machine_of(engine, receiver(IN, 12), routes)
    machine.launch("main")
    machine.inject(0, 0, OTHER_IN, range(50))
    machine.inject(0, 0, IN, range(12))
    machine.run()
    symbol = machine.symbol(0, 0, "received")
    payload = machine.peek(0, 0, symbol.address, symbol.num_bytes)
    assert np.frombuffer(payload, "<u4").tolist() == list(range(12))


def test_rest_is_no_deadlock_where_the_host_streams(engine):
    """M74: what is missing may still come; whoever knows better asks."""
    machine = machine_of(engine, receiver(IN, 5), {(0, 0, IN): from_host()})
    machine.launch("main")
    machine.inject(0, 0, IN, [1, 2])
    assert machine.run() is StopReason.QUIESCENT
    assert "after 2 of 5 elements" in machine.find_deadlock()
    machine.inject(0, 0, IN, [3, 4, 5])
    assert machine.find_deadlock() is None, "not at rest"
    machine.run()
    assert machine.find_deadlock() is None


def test_without_streams_rest_is_a_deadlock(engine):
    """M74: only the host can bring the missing words."""
    machine = machine_of(engine, receiver(IN, 5), {(0, 0, IN): route(RAMP, RAMP)})
    machine.launch("main")
    with pytest.raises(DeadlockError):
        machine.run()


def test_collecting_elsewhere_is_refused(engine):
    machine = machine_of(engine, sender(OUT, 1), {(0, 0, OUT): to_host()})
    with pytest.raises(SimulationError, match="sends nothing of color 4 to the host"):
        machine.collect(0, 0, OTHER_IN)


def test_reading_what_goes_to_the_host_is_refused(engine):
    with pytest.raises(ImageError, match="reads color 5, which its router hands to the host"):
        machine_of(engine, receiver(OUT, 1), {(0, 0, OUT): to_host()})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (from_host(EAST), "no position receives from the ramp"),
        (to_host(RAMP, EAST), "no position sends to the ramp"),
    ],
)
def test_a_stream_without_ramp_breaks_the_contract(config, problem):
    image = make_image(WSE3, sender(OUT, 1), routes={(0, 0, OUT): config})
    with pytest.raises(ImageError, match=problem):
        verify(image, WSE3)


# --- both engines, cut or not ---------------------------------------------------------------------

MAKERS = (
    ReferenceEngine,
    FastEngine,
    cutting(ReferenceEngine, FastEngine),
)
STEPS = st.one_of(
    st.tuples(st.just("inject"), st.sampled_from((IN, OTHER_IN)), st.integers(1, 400)),
    st.tuples(st.just("collect"), st.just(OUT), st.integers(1, 400)),
    st.tuples(st.just("run"), st.just(0), st.integers(1, 60)),
    st.tuples(st.just("rest"), st.just(0), st.just(0)),
)


def play(make, architecture, image, steps):
    """Return what can be seen of a machine to which the host does some things in turn."""
    state = load_state(image, architecture)
    engine = make(LoadedProgram(image, architecture, state))
    engine.run()
    engine.launch("main", ())
    seen = []
    sent = 0
    for step, color, number in steps:
        if step == "inject":
            engine.inject(0, color, range(sent, sent + number))
            sent += number
        elif step == "collect":
            engine.run()
            seen.append(engine.collect(1, color, number))
        else:
            engine.run(max_cycles=number if step == "run" else None)
        seen.append(engine.cycle)
    engine.run()
    statistics = engine.statistics()
    stalls = {r.name: v.tolist() for r, v in statistics.stall_cycles.items()}
    return seen, engine.cycle, engine.find_deadlock(), stalls, statistics.link_wavelets.tolist()


@settings(max_examples=12, deadline=None)
@given(
    architecture=st.sampled_from((WSE2, WSE3)),
    num_words=st.integers(1, 400),
    steps=st.lists(STEPS, max_size=8),
)
def test_engines_agree(architecture, num_words, steps):
    """M2: with the same calls of the host, every engine gives the same words in the same cycles."""
    routes = {
        (0, 0, IN): from_host(),
        (0, 0, OTHER_IN): from_host(),
        (0, 0, OUT): route(RAMP, EAST),
        (1, 0, OUT): to_host(WEST),
    }
    programs = {(0, 0): relay(num_words)}
    image = make_image(architecture, programs, width=2, routes=routes)
    expected, *others = [play(make, architecture, image, steps) for make in MAKERS]
    for other in others:
        assert other == expected


def test_control_wavelets_are_dropped(engine):
    """M73: an output of the host has data only."""
    kernel = Kernel("sender")
    base = kernel.data("sent", ScalarType.U32, [1, commands(0, ignore=False), 2])
    kernel.function("main")
    for i, is_control in enumerate((False, True, False)):
        target = kernel.outgoing(OUT, 1, queue=2 + i % 2, is_control=is_control)
        kernel.operate(MOV32, target, src1=kernel.vector(base + 4 * i, 1))
    machine = machine_of(engine, kernel.finish(), {(0, 0, OUT): to_host()}, architecture=WSE2)
    machine.launch("main")
    machine.run()
    assert machine.statistics().link_wavelets[0, 0, RAMP] == 3
    assert sorted(machine.collect(0, 0, OUT)) == [1, 2]
