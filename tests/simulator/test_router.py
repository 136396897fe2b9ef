"""Ramp, queues, routers and links: M40–M44, M50–M57."""

from dataclasses import replace

import pytest

from onewafer.errors import DeadlockError, HazardError, ImageError, SimulationError
from onewafer.image import DsdOperation, Opcode, ScalarType, TaskKind
from onewafer.simulator import Machine, StallReason
from onewafer.trace import EventKind
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    NORTH,
    RAMP,
    SILICON,
    SOUTH,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    Register,
    background,
    boot,
    eastward,
    receiver,
    route,
    sender,
)

COLOR = 3
MOV16, MOV32 = DsdOperation.MOV16, DsdOperation.MOV32


def point_to_point(engine, num_words, *, distance=1, architecture=WSE3, queues=(2, 2)):
    """Send words along a row; return the run."""
    programs = {
        (0, 0): sender(COLOR, num_words, queue=queues[0]),
        (distance, 0): receiver(COLOR, num_words, queue=queues[1]),
    }
    return boot(
        programs,
        engine=engine,
        architecture=architecture,
        width=distance + 1,
        routes=eastward(COLOR, 0, distance),
    ).launch()


@pytest.mark.parametrize(
    ("architecture", "queue"),
    [(WSE2, q) for q in range(1, 6)] + [(WSE3, q) for q in range(2, 8)],
)
def test_full_rate_through_every_queue(engine, architecture, queue):
    """M41: the ramp's own places make up for its latency."""
    run = point_to_point(engine, 64, architecture=architecture, queues=(queue, queue))
    assert run.duration(0) == 64
    assert run.duration(1) == 64


def test_row_broadcast(engine):
    """M40, M51: B + P + 2 T_R (NOWR, WSE-2)."""
    num_pes, num_words = 12, 20
    programs = {(x, 0): receiver(COLOR, num_words) for x in range(1, num_pes)}
    programs[0, 0] = sender(COLOR, num_words)
    routes = {(x, 0, COLOR): route(WEST, EAST, RAMP) for x in range(1, num_pes - 1)}
    routes |= {(0, 0, COLOR): route(RAMP, EAST), (num_pes - 1, 0, COLOR): route(WEST, RAMP)}
    run = boot(programs, engine=engine, architecture=WSE2, width=num_pes, routes=routes).launch()
    (started,) = run.cycles(EventKind.DSD_START, 0)
    (ended,) = run.cycles(EventKind.DSD_END, num_pes - 1)
    assert ended - started == num_words + num_pes + 2 * WSE2.timing.ramp_cycles
    for x in range(1, num_pes):
        assert run.words("received", x) == list(range(1, num_words + 1))


def test_chain_reduce(engine):
    """M33, M40: B + (2 T_R + 2)(P − 1) (NOWR, WSE-2)."""
    num_pes, num_words = 6, 32

    def link(x):
        kernel = Kernel(f"pe{x}")
        base = kernel.data("x", ScalarType.U16, [x + 1] * num_words)
        kernel.function("main")
        own = kernel.vector(base, num_words)
        source = kernel.incoming(x % 2, num_words, queue=2)
        target = own if x == num_pes - 1 else kernel.outgoing((x + 1) % 2, num_words, queue=3)
        kernel.operate(DsdOperation.ADD16, target, source, own)
        return kernel.finish()

    first = Kernel("pe0")
    base = first.data("x", ScalarType.U16, [1] * num_words)
    first.function("main")
    first.operate(MOV16, first.outgoing(1, num_words), src1=first.vector(base, num_words))
    programs = {(x, 0): link(x) for x in range(1, num_pes)} | {(0, 0): first.finish()}
    routes = {(x, 0, (x + 1) % 2): route(RAMP, EAST) for x in range(num_pes - 1)}
    routes |= {(x, 0, x % 2): route(WEST, RAMP) for x in range(1, num_pes)}
    run = boot(programs, engine=engine, architecture=WSE2, width=num_pes, routes=routes).launch()
    (started,) = run.cycles(EventKind.DSD_START, 0)
    (ended,) = run.cycles(EventKind.DSD_END, num_pes - 1)
    assert ended - started == num_words + (2 * WSE2.timing.ramp_cycles + 2) * (num_pes - 1)
    assert run.words("x", num_pes - 1, num_bytes=2) == [21] * num_words


def test_ramp_carries_one_wavelet_a_cycle(engine):
    """M42: what the PE sends and what the host injects share the way to the router."""
    routes = eastward(COLOR, 0, 1) | {(0, 0, 4): route(RAMP, RAMP)}
    kernel = Kernel("reader")
    base = kernel.data("sent", ScalarType.U32, range(40))
    looped = kernel.data("looped", ScalarType.U32, num_elements=40)
    kernel.function("main")
    kernel.operate(MOV32, kernel.outgoing(COLOR, 40), src1=kernel.vector(base, 40))
    kernel.operate(MOV32, kernel.vector(looped, 40), src1=kernel.incoming(4, 40, queue=3))
    programs = {(0, 0): kernel.finish(), (1, 0): receiver(COLOR, 40)}
    run = boot(programs, engine=engine, width=2, routes=routes)
    run.machine.inject(0, 0, 4, range(40))
    run.launch()
    left = run.cycles(EventKind.HOP, 0) + run.cycles(EventKind.RAMP_ARRIVAL, 0)
    assert len(set(left)) == len(left) == 80
    assert run.words("looped") == list(range(40))


def test_output_queue_keeps_order_across_colors(engine):
    """M42: a wavelet that cannot move holds up what was written behind it, of any color."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, [7])
    kernel.function("main")
    source = kernel.vector(base, 1)
    for color in (COLOR, 4):
        kernel.operate(MOV32, kernel.outgoing(color, 1, queue=2), src1=source)
    programs = {(0, 0): kernel.finish(), (1, 0): receiver(4, 1)}
    routes = eastward(4, 0, 1) | {(0, 0, COLOR): route(WEST, EAST)}
    run = boot(programs, engine=engine, architecture=WSE2, width=2, routes=routes)
    with pytest.raises(DeadlockError, match="color 3 from RAMP: the route does not receive from"):
        run.launch()


def test_color_of_a_data_task_needs_no_queue(engine):
    """M43: on the WSE-2 a color that starts a data task has a channel of its own."""
    kernel = Kernel()
    kernel.make_log()
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.label("taken")
    word = kernel.register()
    kernel.log_register(word)
    kernel.emit(Opcode.END_TASK)
    kernel.task(
        TaskKind.DATA, COLOR, "taken", argument_registers=(word,), argument_types=(ScalarType.U16,)
    )
    programs = {(0, 0): sender(COLOR, 6), (1, 0): kernel.build()}
    run = boot(
        programs, engine=engine, architecture=WSE2, width=2, routes=eastward(COLOR, 0, 1)
    ).launch()
    assert run.log(1) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (None, "input queue 2 serves no color; on wse3 write @initialize_queue"),
        (9, "has color 3, but its input queue 2 is initialised for color 9"),
    ],
)
@pytest.mark.parametrize("is_used", [False, True])
def test_unbound_queue_stops(engine, bound, message, is_used):
    """M43: on the WSE-3 an operation needs an initialised queue; an unused DSD does not."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, [0])
    kernel.function("main")
    target, source = kernel.vector(base, 1), kernel.incoming(COLOR, 1)
    kernel._queues.clear()
    if bound is not None:
        kernel.queue(2, color=bound, is_input=True)
    if is_used:
        kernel.operate(MOV32, target, src1=source, line=8)
    run = boot(kernel.finish(), engine=engine)
    if is_used:
        with pytest.raises(SimulationError, match=rf"{message}[\s\S]*kernel.csl:8:3"):
            run.launch()
    else:
        run.launch()


@pytest.mark.parametrize(
    ("is_input", "use"), [(True, "reads color 3"), (False, "writes to output queue 2")]
)
def test_two_users_of_a_queue_are_a_hazard(engine, is_input, use):
    """M45: the message names both operations."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=40)
    kernel.function("main")
    vector = kernel.vector(base, 40)
    fabric = kernel.incoming(COLOR, 40) if is_input else kernel.outgoing(COLOR, 40)
    for line, thread in ((5, 1), (6, 2)):
        dest, source = (vector, fabric) if is_input else (fabric, vector)
        kernel.operate(MOV32, dest, src1=source, config=background(thread), line=line)
    run = boot(kernel.finish(), engine=engine, routes={(0, 0, COLOR): route(RAMP, RAMP)})
    with pytest.raises(HazardError) as caught:
        run.launch()
    message = str(caught.value)
    assert f"@mov32 still {use} (kernel.csl:5:3) while a second operation" in message
    assert message.endswith("at kernel.csl:6:3")


def test_color_with_two_queues_is_refused(engine):
    """M45: it would be undefined which of them a wavelet goes to."""
    kernel = Kernel()
    kernel.data("x", ScalarType.U32, [0])
    kernel.function("main")
    kernel.incoming(COLOR, 1, queue=2)
    kernel.incoming(COLOR, 1, queue=4)
    with pytest.raises(ImageError, match="color 3 is bound to input queues 2 and 4"):
        Machine(make_image(WSE3, kernel.finish()), WSE3, engine=engine)


def test_half_wavelets(engine):
    """M44: 16-bit operands use the low half, and write zero to the high half."""

    def copies(name, kind, element, values):
        kernel = Kernel(name)
        base = kernel.data(name, element, values)
        kernel.function("main")
        return kernel, kernel.vector(base, len(values)), kind

    out, source, _ = copies("sent", MOV32, ScalarType.U32, [0xAAAA_0001, 0xBBBB_0002])
    out.operate(MOV32, out.outgoing(COLOR, 2), src1=source)
    middle, halves, _ = copies("halves", MOV16, ScalarType.U16, [0, 0])
    middle.operate(MOV16, halves, src1=middle.incoming(COLOR, 2))
    middle.operate(MOV16, middle.outgoing(4, 2, queue=3), src1=halves)
    last, words, _ = copies("words", MOV32, ScalarType.U32, [9, 9])
    last.operate(MOV32, words, src1=last.incoming(4, 2))
    programs = {(0, 0): out.finish(), (1, 0): middle.finish(), (2, 0): last.finish()}
    routes = eastward(COLOR, 0, 1) | eastward(4, 1, 2)
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert run.words("halves", 1, num_bytes=2) == [1, 2]
    assert run.words("words", 2) == [1, 2]


def test_negative_halves_leave_the_high_half_zero(engine):
    """M44: the sign of a 16-bit register does not reach the high half."""
    kernel = Kernel("sender")
    kernel.function("main")
    minus_one = Register(kernel.immediate(ScalarType.I16, -1))
    kernel.operate(MOV16, kernel.outgoing(COLOR, 1), src1=minus_one)
    programs = {(0, 0): kernel.finish(), (1, 0): receiver(COLOR, 1)}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.words("received", 1) == [0xFFFF]


def test_ramp_is_shared_with_the_host(engine):
    """M42, M72: host wavelets take the ramp in turns with those of the PE, which come first."""
    programs = {(1, 0): sender(COLOR, 20), (0, 0): receiver(COLOR, 20), (2, 0): receiver(4, 20)}
    routes = {
        (1, 0, COLOR): route(RAMP, WEST),
        (0, 0, COLOR): route(EAST, RAMP),
        **eastward(4, 1, 2),
    }
    first = boot(programs, engine=engine, width=3, routes=routes)
    first.machine.launch("main")
    first.machine.run(max_cycles=30)
    cycle = first.cycles(EventKind.HOP, 1)[0]

    run = boot(programs, engine=engine, width=3, routes=routes)
    run.machine.launch("main")
    run.machine.run(max_cycles=cycle)
    run.machine.inject(1, 0, 4, range(20))
    run.machine.run()
    hops = [(e.cycle, e.subject) for e in run.recorder.events(EventKind.HOP) if e.x == 1]
    assert hops == [(cycle + i, COLOR if i % 2 == 0 else 4) for i in range(40)]


def test_host_comes_after_the_queues_of_the_pe(engine):
    """M54, M72: of two wavelets of one color that were never served, the PE's goes first."""
    programs = {(0, 0): sender(COLOR, 3), (1, 0): receiver(COLOR, 6)}
    routes = eastward(COLOR, 0, 1)
    first = boot(programs, engine=engine, width=2, routes=routes)
    first.machine.launch("main")
    first.machine.run(max_cycles=20)

    run = boot(programs, engine=engine, width=2, routes=routes)
    run.machine.launch("main")
    run.machine.run(max_cycles=first.cycles(EventKind.HOP)[0])
    run.machine.inject(0, 0, COLOR, [101, 102, 103])
    run.machine.run()
    assert run.words("received", 1) == [1, 101, 2, 102, 3, 103]


@pytest.mark.parametrize(("architecture", "hop"), [(WSE2, 1), (WSE3, 2)])
def test_hop_latency(engine, architecture, hop):
    """M50: published cycles for every hop."""
    arrivals = [
        point_to_point(engine, 1, distance=d, architecture=architecture).cycles(
            EventKind.RAMP_ARRIVAL, d
        )[0]
        for d in (1, 2, 5)
    ]
    assert [arrival - arrivals[0] for arrival in arrivals] == [0, hop, 4 * hop]


def test_hops_in_all_directions(engine):
    """M50: north, south and west are as quick as east."""
    cycles = []
    for receive, transmit, start, end in [
        (WEST, EAST, (0, 0), (1, 0)),
        (EAST, WEST, (1, 0), (0, 0)),
        (NORTH, SOUTH, (0, 0), (0, 1)),
        (SOUTH, NORTH, (0, 1), (0, 0)),
    ]:
        routes = {(*start, COLOR): route(RAMP, transmit), (*end, COLOR): route(receive, RAMP)}
        programs = {start: sender(COLOR, 2), end: receiver(COLOR, 2)}
        run = boot(programs, engine=engine, width=2, height=2, routes=routes).launch()
        assert run.words("received", *end) == [1, 2]
        cycles.append(run.machine.cycle)
    assert len(set(cycles)) == 1


def test_multicast_waits_for_all(engine):
    """M51: a copy leaves only when every direction can take it."""
    num_words = 60
    slow = Kernel("slow")
    base = slow.data("received", ScalarType.U32, num_elements=num_words)
    slow.function("main")
    slow.spin(100)
    slow.operate(MOV32, slow.vector(base, num_words), src1=slow.incoming(COLOR, num_words))
    programs = {
        (1, 0): sender(COLOR, num_words),
        (0, 0): receiver(COLOR, num_words),
        (2, 0): slow.finish(),
    }
    routes = {
        (1, 0, COLOR): route(RAMP, EAST, WEST),
        (0, 0, COLOR): route(EAST, RAMP),
        (2, 0, COLOR): route(WEST, RAMP),
    }
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert run.words("received", 0) == run.words("received", 2) == list(range(1, num_words + 1))
    early = [c for c in run.cycles(EventKind.HOP, 1) if c < run.cycles(EventKind.DSD_START, 2)[0]]
    held = WSE3.timing.router_buffer_words + WSE3.input_queue_words[2] + WSE3.timing.ramp_cycles
    assert len(early) == 2 * held
    assert run.machine.statistics().stall_cycles[StallReason.NO_CREDIT][0, 1] > 100


@pytest.mark.parametrize("distance", [1, 3])
def test_backpressure_fills_buffers(engine, distance):
    """M41, M52: the wavelets that the fabric holds when no PE reads, exactly."""
    idle = Kernel("idle")
    idle.data("x", ScalarType.U32, [0])
    idle.function("main")
    idle.incoming(COLOR, 1)
    programs = {(0, 0): sender(COLOR, 100), (distance, 0): idle.finish()}
    run = boot(programs, engine=engine, width=distance + 1, routes=eastward(COLOR, 0, distance))
    with pytest.raises(DeadlockError, match="the input queue of the PE is full, and the program"):
        run.launch()
    ramp = WSE3.timing.ramp_cycles
    held = WSE3.output_queue_words[2] + WSE3.input_queue_words[2] + 2 * ramp
    held += distance * WSE3.timing.router_buffer_words
    assert run.machine.statistics().dsd_elements[0, 0] == held


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 8])
def test_full_rate_needs_credits(engine, depth):
    """M53: a place comes back after hop + credit = 4 cycles, so a burst is as long as the depth."""
    timing = replace(WSE3.timing, router_buffer_words=depth)
    run = point_to_point(engine, 40, distance=3, architecture=replace(WSE3, timing=timing))
    cycles = run.cycles(EventKind.RAMP_ARRIVAL, 3)
    burst = min(depth, 4)
    assert [c - cycles[0] for c in cycles] == [4 * (i // burst) + i % burst for i in range(40)]


def test_arbitration_is_fair(engine):
    """M54: two colors that want one link take turns, and it is never idle."""
    num_words = 80
    kernel = Kernel("reader")
    first = kernel.data("first", ScalarType.U32, num_elements=num_words)
    second = kernel.data("second", ScalarType.U32, num_elements=num_words)
    kernel.function("main")
    for i, address in enumerate((first, second)):
        kernel.operate(
            MOV32,
            kernel.vector(address, num_words),
            src1=kernel.incoming(i, num_words, queue=2 + i),
            config=background(i),
        )
    programs = {(0, 0): sender(0, num_words), (1, 0): sender(1, num_words), (2, 0): kernel.finish()}
    routes = eastward(0, 0, 2) | eastward(1, 1, 2)
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    hops = [(e.cycle, e.subject) for e in run.recorder.events(EventKind.HOP) if e.x == 1]
    start = next(cycle for cycle, color in hops if color == 0)
    contended = [color for cycle, color in hops if cycle >= start][:100]
    assert contended in ([0, 1] * 50, [1, 0] * 50)
    cycles = [cycle for cycle, _ in hops]
    assert cycles[-1] - cycles[0] == len(cycles) - 1
    assert run.words("first", 2) == run.words("second", 2) == list(range(1, num_words + 1))


def test_silicon_link_rate(engine):
    """M55: 8 wavelets in 9 cycles."""
    run = point_to_point(engine, 80, architecture=SILICON)
    cycles = run.cycles(EventKind.HOP, 0)
    assert [cycle - cycles[0] for cycle in cycles] == [i + i // 8 for i in range(80)]


def test_merge_keeps_order(engine):
    """M56: two senders of one color; each sender's order is kept."""
    num_words = 30

    def numbered(start):
        kernel = Kernel("sender")
        base = kernel.data("sent", ScalarType.U32, range(start, start + num_words))
        kernel.function("main")
        source = kernel.vector(base, num_words)
        kernel.operate(MOV32, kernel.outgoing(COLOR, num_words), src1=source)
        return kernel.finish()

    programs = {
        (0, 0): numbered(0),
        (2, 0): numbered(1000),
        (1, 0): receiver(COLOR, 2 * num_words),
    }
    routes = {
        (0, 0, COLOR): route(RAMP, EAST),
        (2, 0, COLOR): route(RAMP, WEST),
        (1, 0, COLOR): route((WEST, EAST), RAMP),
    }
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    received = run.words("received", 1)
    assert [w for w in received if w < 1000] == list(range(num_words))
    assert [w for w in received if w >= 1000] == list(range(1000, 1000 + num_words))
    assert {w < 1000 for w in received[:4]} == {True, False}


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({(0, 0, COLOR): route(RAMP, EAST)}, "the router has no route for the color"),
        (
            {(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(NORTH, RAMP)},
            "the route does not receive from WEST",
        ),
        (
            {(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(WEST, RAMP)},
            "which has no queue for the color",
        ),
    ],
)
def test_unroutable_wavelet_waits(engine, routes, message):
    """M57: wherever nothing will take it, and the report says why."""
    idle = Kernel("idle")
    idle.data("x", ScalarType.U32, [0])
    idle.function("main")
    programs = {(0, 0): sender(COLOR, 100), (1, 0): idle.finish()}
    with pytest.raises(DeadlockError, match=message):
        boot(programs, engine=engine, width=2, routes=routes).launch()


def test_loopback(engine):
    """M51: a route from the ramp to the ramp of the same PE."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, [5, 6, 7])
    back = kernel.data("back", ScalarType.U32, num_elements=3)
    kernel.function("main")
    target, source = kernel.outgoing(COLOR, 3), kernel.vector(base, 3)
    kernel.operate(MOV32, target, src1=source, config=background(1))
    kernel.operate(MOV32, kernel.vector(back, 3), src1=kernel.incoming(COLOR, 3))
    run = boot(kernel.finish(), engine=engine, routes={(0, 0, COLOR): route(RAMP, RAMP)}).launch()
    assert run.words("back") == [5, 6, 7]


@pytest.mark.parametrize("num_sent", [1, 5, 12])
def test_what_nobody_took_is_counted(engine, num_sent):
    """M83: what arrived and what is held up behind it, with the reason and the next step."""
    deaf = Kernel("deaf")
    deaf.queue(2, color=COLOR, is_input=True)
    deaf.function("main")
    programs = {(0, 0): sender(COLOR, num_sent), (1, 0): deaf.finish()}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    leftovers = run.machine.find_leftovers()
    assert sum(leftover.num_wavelets for leftover in leftovers) == num_sent
    assert {leftover.color for leftover in leftovers} == {COLOR}
    arrived, *held = leftovers
    assert arrived.has_arrived
    assert "at PE (1, 0)" in arrived.text
    assert "no data task and no fabin DSD of the program has the color" in arrived.text
    capacity = WSE3.input_queue_words[2] + WSE3.timing.ramp_cycles
    assert arrived.num_wavelets == min(num_sent, capacity)
    assert [leftover.has_arrived for leftover in held] == [False] * (num_sent > capacity)
    run.machine.inject(1, 0, COLOR, [])
    assert run.machine.find_leftovers() == []
