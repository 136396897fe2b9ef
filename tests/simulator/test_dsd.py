"""DSD operations and the data path: M12, M30–M39."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest

from onewafer.errors import HazardError, SimulationError
from onewafer.image import (
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Opcode,
    OperandMode,
    ScalarType,
    TaskKind,
    operand,
)
from onewafer.simulator import Checking, Machine, StallReason
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.trace import EventKind
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    MAIN,
    RAMP,
    SILICON,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    Pointer,
    Register,
    background,
    boot,
    eastward,
    receiver,
    route,
    sender,
)

MOV32 = DsdOperation.MOV32
T = WSE3.timing


def one_operation(engine, kind, *, n, architecture=WSE3, stride=1, has_scalar=False):
    """Run one memory-only operation; return set-up, duration and resumption in cycles."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U16, num_elements=max(1, 4 * n * abs(stride)))
    kernel.function("main")
    vector = kernel.vector(base, n, stride)
    other = kernel.vector(base + 4, n, stride)  # in other banks (M13)
    scalar = kernel.immediate(ScalarType.F32, 2.0) if has_scalar else None
    has_two = kind not in (DsdOperation.MOV16, MOV32)
    encoded = kernel.load(vector, other if has_two else None, vector)
    kernel.emit(Opcode.TIMESTAMP_CONTROL, imm=1)
    kernel.operate_loaded(kind, *encoded, scalar=scalar)
    run = boot(kernel.finish(), engine=engine, architecture=architecture).launch()
    (start,) = run.cycles(EventKind.DSD_START)
    (end,) = run.cycles(EventKind.DSD_END)
    (resumed,) = run.cycles(EventKind.STREAM_UNBLOCKED)
    (task,) = run.cycles(EventKind.TASK_START)
    cost = architecture.timing.instruction_cycles
    before = (4 + has_scalar) * cost["integer"] + (2 + has_two) * cost["dsr_load"]
    return start - task - before - cost["control"], end - start, resumed - end


@pytest.mark.parametrize(
    ("kind", "n", "cycles"),
    [
        (DsdOperation.MOV16, 64, 8),
        (MOV32, 64, 16),
        (DsdOperation.FADDH, 64, 16),
        (DsdOperation.FADDH, 65, 17),
        (DsdOperation.FADDS, 64, 32),
    ],
)
def test_memory_operation_time(engine, kind, n, cycles):
    """M30–M32: an operation waits for its DSRs, and holds the main thread for its elements."""
    wait = T.instruction_cycles["dsr_wait_1"]  # an instruction lies between
    assert one_operation(engine, kind, n=n) == (wait, cycles, 0)


def test_scalar_operand_delays_nothing(engine):
    """M30, M32: an f32 multiply-add with a scalar source takes a cycle an element."""
    assert one_operation(engine, DsdOperation.FMACS, n=10, has_scalar=True) == (2, 10, 0)
    assert one_operation(engine, DsdOperation.FMACS, n=10, architecture=WSE2, has_scalar=True) == (
        (2, 10, 0)
    )


@pytest.mark.parametrize("between", range(4))
def test_operation_waits_for_the_load_of_its_dsr(engine, between):
    """M30: four cycles from the load of a DSR to the operation, whatever issues in between."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U16, num_elements=8)
    kernel.function("main")
    vector = kernel.vector(base, 8)
    encoded = kernel.load(vector, None, vector)
    for _ in range(between):
        kernel.emit(Opcode.TIMESTAMP_CONTROL, imm=0)
    kernel.operate_loaded(DsdOperation.MOV16, *encoded)
    run = boot(kernel.finish(), engine=engine).launch()
    (task,) = run.cycles(EventKind.TASK_START)
    (start,) = run.cycles(EventKind.DSD_START)
    cost = T.instruction_cycles
    last_load = task + 2 * cost["integer"] + cost["dsr_load"]
    assert start - last_load == 4


def test_silicon_rates_are_exact_fractions(engine):
    """M32: 4.82 elements a cycle, rounded up once an operation."""
    _, cycles, resume = one_operation(engine, DsdOperation.MOV16, n=1000, architecture=SILICON)
    assert (cycles, resume) == (ceil(1000 / 4.82), 11)


@pytest.mark.parametrize(("stride", "cycles"), [(1, 8), (2, 16), (-4, 32), (8, 64), (16, 64)])
def test_strides_slow_down(engine, stride, cycles):
    """M32: 8/stride elements a cycle, at least one."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U16, num_elements=2048)
    kernel.function("main")
    first = base if stride > 0 else base + 2048
    kernel.operate(
        DsdOperation.MOV16, kernel.vector(base, 64), src1=kernel.vector(first, 64, stride)
    )
    assert boot(kernel.finish(), engine=engine).launch().duration() == cycles


@pytest.mark.parametrize("kind", [DsdOperation.ADD16, DsdOperation.FADDS])
def test_reduction(engine, kind):
    """M32, M37: a scalar destination takes the running result, two cycles an element."""
    element = ScalarType.F32 if kind is DsdOperation.FADDS else ScalarType.U16
    kernel = Kernel()
    base = kernel.data("x", element, range(1, 11))
    result = kernel.data("result", element, [0])
    kernel.function("main")
    start = kernel.immediate(element, 100)
    kernel.operate(
        kind,
        Pointer(kernel.immediate(ScalarType.U16, result)),
        Register(start),
        kernel.vector(base, 10),
    )
    run = boot(kernel.finish(), engine=engine).launch()
    expected = 155 if element is ScalarType.U16 else 0x431B_0000  # 155.0
    assert run.words("result", num_bytes=element.num_bytes) == [expected]
    assert run.duration() == 20


def test_asynchronous_issue(engine):
    """M31: the main thread goes on one issue slot later."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=400)
    kernel.function("main")
    vector = kernel.vector(base, 400)
    encoded = kernel.load(vector, None, vector)
    kernel.emit(Opcode.TIMESTAMP_CONTROL, imm=0)
    kernel.operate_loaded(MOV32, *encoded, config=background(3))
    run = boot(kernel.finish(), engine=engine).launch()
    (start,) = run.cycles(EventKind.DSD_START, subject=3)
    (unblocked,) = run.cycles(EventKind.STREAM_UNBLOCKED)
    assert unblocked == start - T.dispatch_cycles + T.instruction_cycles["dsd"]
    assert run.duration(thread=3) == 100
    assert run.machine.cycle == start + 100


def test_memory_operation_is_atomic_at_its_start(engine):
    """M12: a store after the first element does not reach the operation."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, [5] * 400)
    copy = kernel.data("copy", ScalarType.U32, num_elements=400)
    kernel.function("main")
    last = kernel.immediate(ScalarType.U16, base + 4 * 399)
    target, source = kernel.vector(copy, 400), kernel.vector(base, 400)
    kernel.operate(MOV32, target, src1=source, config=background(3))
    kernel.spin(1)
    kernel.emit(Opcode.STORE, ScalarType.U32, ra=last, rb=last)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("copy") == [5] * 400
    assert run.words("x")[-1] == base + 4 * 399


def test_one_hop_of_eight_words(engine):
    """M30, M33, M40: 7 cycles to the first wavelet, 19 to the end (ALCF-CS3, SDK on WSE-3)."""
    programs = {(0, 0): sender(3, 8), (1, 0): receiver(3, 8)}
    run = boot(programs, engine=engine, width=2, routes=eastward(3, 0, 1)).launch()
    (started,) = run.cycles(EventKind.DSD_START, 0)
    waited = T.instruction_cycles["dsr_wait_0"]  # inside of what is measured
    issued = started - T.dispatch_cycles - waited
    assert run.cycles(EventKind.HOP, 0)[0] - issued == 7
    (ended,) = run.cycles(EventKind.DSD_END, 1)
    assert ended - issued == 19
    assert run.words("received", 1) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("rate", "cycles"), [("1", 1), ("1/2", 2), ("2", 1)])
def test_fabric_multiply_accumulate_rate(engine, rate, cycles):
    """M33: an element keeps the data path as long as its rate says, at least for a cycle."""
    rates = {**T.elements_per_cycle, "fmacs": Fraction(rate)}
    architecture = replace(WSE3, timing=replace(T, elements_per_cycle=rates))
    kernel = Kernel()
    base = kernel.data("sum", ScalarType.F32, num_elements=20)
    kernel.function("main")
    factor = kernel.immediate(ScalarType.F32, 1.0)
    vector = kernel.vector(base, 20)
    kernel.operate(DsdOperation.FMACS, vector, vector, kernel.incoming(3, 20), factor)
    programs = {(0, 0): sender(3, 20), (1, 0): kernel.finish()}
    run = boot(
        programs, engine=engine, architecture=architecture, width=2, routes=eastward(3, 0, 1)
    ).launch()
    assert run.duration(1) == 20 * cycles


def two_streams(engine, *configs, num_words=40, memory_words=0):
    """Send on two microthreads, east and west; then maybe copy memory on the main thread."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=max(num_words, memory_words) + 1)
    kernel.function("main")
    source = kernel.vector(base, num_words)
    copied = kernel.vector(base, memory_words) if memory_words else None
    for i, config in enumerate(configs):
        target = kernel.outgoing(i, num_words, queue=2 + i)
        kernel.operate(MOV32, target, src1=source, config=config)
    if copied is not None:
        other = kernel.vector(base + 4, memory_words)  # in other banks (M13)
        kernel.operate(DsdOperation.FADDS, copied, copied, other)
    middle = kernel.finish()
    programs = {(1, 0): middle, (2, 0): receiver(0, num_words), (0, 0): receiver(1, num_words)}
    routes = {
        (1, 0, 0): route(RAMP, EAST),
        (2, 0, 0): route(WEST, RAMP),
        (1, 0, 1): route(RAMP, WEST),
        (0, 0, 1): route(EAST, RAMP),
    }
    if len(configs) == 1:
        del programs[0, 0], routes[1, 0, 1], routes[0, 0, 1]
    return boot(programs, engine=engine, width=3, routes=routes).launch()


def test_microthreads_share_the_data_path(engine):
    """M34: two senders take turns, each at half the rate."""
    run = two_streams(engine, background(1), background(2))
    starts = [run.cycles(EventKind.DSD_START, 1, subject=i)[0] for i in (1, 2)]
    ends = [run.cycles(EventKind.DSD_END, 1, subject=i)[0] for i in (1, 2)]
    assert max(ends) - min(starts) == 80
    assert starts[1] - starts[0] < 20
    assert abs(ends[1] - ends[0]) <= starts[1] - starts[0] + 1
    assert run.machine.statistics().stall_cycles[StallReason.DATA_PATH][0, 1] > 30


def test_memory_operations_take_turns_too(engine):
    """M34: one that joins is served at once, then every second cycle."""

    def span(first_words, second_words):
        kernel = Kernel()
        base = kernel.data("x", ScalarType.F32, num_elements=401)
        kernel.function("main")
        for thread, num_words in ((1, first_words), (2, second_words)):
            vector, other = kernel.vector(base, num_words), kernel.vector(base + 4, num_words)
            kernel.operate(DsdOperation.FADDS, vector, vector, other, config=background(thread))
        run = boot(kernel.finish(), engine=engine).launch()
        kinds = EventKind.DSD_START, EventKind.DSD_END
        return [run.cycles(kind, subject=thread)[0] for thread in (1, 2) for kind in kinds]

    start, _, undisturbed, _ = span(2, 2)
    assert span(400, 400) == [start, start + 400 - (undisturbed - start), undisturbed, start + 400]


def test_main_thread_ranks_above_low_priority(engine):
    """M34: a low priority microthread waits for the main thread's operation."""
    run = two_streams(engine, background(1), memory_words=200)
    assert run.duration(1) == 100
    assert run.cycles(EventKind.DSD_END, 1, subject=1) > run.cycles(
        EventKind.DSD_END, 1, subject=MAIN
    )


def test_high_priority_interleaves(engine):
    """M34: an element of a high priority microthread takes its cycles from the main thread."""
    num_words = 30
    slow = Kernel("slow sender")
    base = slow.data("x", ScalarType.F32, num_elements=num_words)
    slow.function("main")
    one = slow.immediate(ScalarType.F32, 1.0)
    vector = slow.vector(base, num_words)
    slow.operate(DsdOperation.FMACS, slow.outgoing(3, num_words), vector, vector, one)
    kernel = Kernel()
    base = kernel.data("x", ScalarType.F32, num_elements=401)
    kernel.function("main")
    other = kernel.vector(base + 4, 400)  # in other banks (M13)
    target, copied = kernel.vector(base, num_words), kernel.vector(base, 400)
    source = kernel.incoming(3, num_words)
    kernel.operate(MOV32, target, src1=source, config=background(1, priority=2))
    kernel.operate(DsdOperation.FADDS, copied, copied, other)
    programs = {(0, 0): slow.finish(), (1, 0): kernel.finish()}
    run = boot(programs, engine=engine, width=2, routes=eastward(3, 0, 1)).launch()
    assert run.duration(1, thread=1) == 2 * num_words - 1
    (main,), (other_start,) = (
        run.cycles(EventKind.DSD_START, 1, subject=thread) for thread in (MAIN, 1)
    )
    before = -(-(main - other_start) // 2)  # elements, one every second cycle
    assert run.duration(1, thread=MAIN) == 200 + num_words - before


def test_high_priority_takes_every_cycle_it_can(engine):
    """M34: a sender that is never held up leaves nothing to the main thread."""
    run = two_streams(engine, background(1, priority=2), memory_words=200)
    assert run.duration(1, thread=1) == 40
    assert run.cycles(EventKind.DSD_START, 1, subject=MAIN) == run.cycles(
        EventKind.DSD_END, 1, subject=1
    )


@pytest.mark.parametrize(("extent", "length"), [(1, 5), (7, 5)])
def test_length_rule(engine, extent, length):
    """M35: the source decides; the destination's extent does not count."""
    programs = {(0, 0): sender(3, 5, extent=extent), (1, 0): receiver(3, length)}
    run = boot(programs, engine=engine, width=2, routes=eastward(3, 0, 1)).launch()
    assert run.words("received", 1) == [1, 2, 3, 4, 5]


def test_scalar_source_takes_length_of_destination(engine):
    """M35: scalars have no extent."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=5)
    kernel.function("main")
    value = kernel.immediate(ScalarType.U32, 9)
    kernel.operate(MOV32, kernel.vector(base, 3), src1=Register(value))
    assert boot(kernel.finish(), engine=engine).launch().words("x") == [9, 9, 9, 0, 0]


@pytest.mark.parametrize("config", [None, background(3, activate=9)])
def test_operation_without_elements_does_nothing(engine, config):
    """M35: nor does it wait; an operation on the same queue may follow at once."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, [7, 7, 7])
    kernel.make_log()
    kernel.function("main")
    value = Register(kernel.immediate(ScalarType.U32, 9))
    kernel.operate(MOV32, kernel.vector(base, 0), src1=value)
    kernel.operate(MOV32, kernel.vector(base, 3), src1=kernel.vector(base, 0))
    place = Pointer(kernel.immediate(ScalarType.U16, base))
    kernel.operate(DsdOperation.FADDS, place, value, kernel.vector(base, 0))
    kernel.operate(MOV32, kernel.vector(base, 3), src1=kernel.incoming(3, 0), config=config)
    kernel.operate(MOV32, kernel.outgoing(3, 0), src1=value, config=config)
    kernel.log(1)
    if config is not None:
        kernel.emit(Opcode.RETURN)
        kernel.label("done")
        kernel.log(2)
        kernel.task(TaskKind.LOCAL, 9, "done")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.END_TASK if config is not None else Opcode.RETURN)
    run = boot(kernel.build(), engine=engine).launch()
    assert run.log()[:2] == [1, 2][: 1 + (config is not None)]
    assert run.words("x") == [7, 7, 7]


def test_time_of_an_operation_without_elements(engine):
    """M35: the wait for its DSRs, and one cycle of the data path."""
    assert one_operation(engine, MOV32, n=0) == (T.instruction_cycles["dsr_wait_1"], 1, 0)


def test_aliasing_is_sequential(engine):
    """M36: x[i + 1] = x[i + 1] + x[i] is a prefix sum."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U16, [1, 1, 1, 1, 1])
    kernel.function("main")
    ahead, behind = kernel.vector(base + 2, 4), kernel.vector(base, 4)
    kernel.operate(DsdOperation.ADD16, ahead, ahead, behind)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("x", num_bytes=2) == [1, 2, 3, 4, 5]


def test_mem4d_order(engine):
    """M36: the last loop is the fastest; a zero stride accumulates."""
    kernel = Kernel()
    matrix = kernel.data("matrix", ScalarType.U16, range(6))
    transposed = kernel.data("transposed", ScalarType.U16, num_elements=6)
    sums = kernel.data("sums", ScalarType.U16, num_elements=3)
    kernel.function("main")
    columns = kernel.block(matrix, (3, 2), (1, 3))
    kernel.operate(DsdOperation.MOV16, kernel.vector(transposed, 6), src1=columns)
    accumulator, rows = kernel.block(sums, (2, 3), (0, 1)), kernel.vector(matrix, 6)
    kernel.operate(DsdOperation.ADD16, accumulator, accumulator, rows)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("transposed", num_bytes=2) == [0, 3, 1, 4, 2, 5]
    assert run.words("sums", num_bytes=2) == [3, 5, 7]


def test_operands_are_copied_at_issue(engine):
    """M37: loading the DSR or the register again changes nothing for a live operation."""
    kernel = Kernel()
    base = kernel.data("sent", ScalarType.U32, [1, 2, 3, 4])
    other = kernel.data("other", ScalarType.U32, [9, 9, 9, 9])
    kernel.function("main")
    first, second = kernel.vector(base, 4), kernel.vector(other, 4)
    dest, _, source = kernel.load(kernel.outgoing(3, 4), None, first)
    kernel.operate_loaded(MOV32, dest, 0, source, config=background(2))
    kernel.emit(Opcode.DSR_LOAD, rd=source, ra=second.pair)
    programs = {(0, 0): kernel.finish(), (1, 0): receiver(3, 4)}
    run = boot(programs, engine=engine, width=2, routes=eastward(3, 0, 1)).launch()
    assert run.words("received", 1) == [1, 2, 3, 4]


def test_busy_microthread_stalls_issue(engine):
    """M38: the second operation of a microthread is issued when the first is over."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=400)
    kernel.function("main")
    vector = kernel.vector(base, 400)
    for _ in range(2):
        kernel.operate(MOV32, vector, src1=vector, config=background(3))
    run = boot(kernel.finish(), engine=engine).launch()
    starts, ends = (run.cycles(kind) for kind in (EventKind.DSD_START, EventKind.DSD_END))
    assert starts[1] == ends[0] + T.dispatch_cycles
    stalls = run.machine.statistics().stall_cycles[StallReason.MICROTHREAD_BUSY]
    loads = 2 + T.instruction_cycles["dsr_wait_0"]
    assert stalls.sum() == ends[0] - (starts[0] - T.dispatch_cycles + 1) - loads


def _busy_program(num_operations, *, thread=3):
    kernel = Kernel(f"busy{num_operations}")
    base = kernel.data("x", ScalarType.U32, num_elements=40)
    kernel.function("main")
    vector = kernel.vector(base, 40)
    for line in range(num_operations):
        kernel.operate(MOV32, vector, src1=vector, config=background(thread), line=line + 1)
    return kernel.finish()


def test_issues_on_a_busy_microthread_are_counted_by_place(engine):
    """M38: how often, and on which PE first; a PE that has none does not count."""
    programs = {(0, 0): _busy_program(1), (1, 0): _busy_program(3), (2, 0): _busy_program(2)}
    programs[3, 0] = programs[1, 0]
    run = boot(programs, engine=engine, width=4).launch().launch()
    lines = {}
    for finding in run.machine.findings():
        program = run.machine.image.programs[finding.program]
        line = program.locations[finding.pc].line
        lines[program.name, line] = finding.num_times, finding.first_pe
        assert finding.kind is FindingKind.BUSY_MICROTHREAD
        assert 0 < finding.first_cycle < run.machine.cycle
    assert lines == {("busy3", 2): (4, 1), ("busy3", 3): (4, 1), ("busy2", 2): (2, 2)}


def test_strict_machine_refuses_a_busy_microthread(engine):
    """M38: the error names both operations, the PE and the cycle of the issue."""
    image = make_image(WSE3, _busy_program(2, thread=5))
    machine = Machine(image, WSE3, engine=engine, checking=Checking(is_strict=True))
    machine.launch("main")
    with pytest.raises(HazardError) as caught:
        machine.run()
    text = str(caught.value)
    assert text.startswith(f"PE (0, 0) at cycle {caught.value.place.cycle}: a DSD operation is ")
    assert "issued on microthread 5, on which @mov32 still runs (kernel.csl:1:3)" in text
    assert text.endswith("at kernel.csl:2:3")


def test_store_and_forward_relay(engine):
    """M39, M63: 16 cycles and one a wavelet for each stage (ALCF-CS3: 16.1 N + 1.001 N B)."""
    num_stages, num_words = 5, 24

    def stage(x):
        kernel = Kernel(f"stage{x}")
        base = kernel.data("buffer", ScalarType.U32, num_elements=num_words)
        kernel.function("main")
        buffer = kernel.vector(base, num_words)
        source = kernel.incoming(x % 2, num_words, queue=2)
        target = kernel.outgoing((x + 1) % 2, num_words, queue=2)
        kernel.operate(MOV32, buffer, src1=source, config=background(1, activate=9))
        kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        kernel.emit(Opcode.END_TASK)
        kernel.label("forward")
        kernel.operate(MOV32, target, src1=buffer, config=background(2))
        kernel.emit(Opcode.END_TASK)
        kernel.task(TaskKind.LOCAL, 9, "forward")
        return kernel.build()

    programs = {(x, 0): stage(x) for x in range(1, num_stages + 1)}
    programs[0, 0] = sender(1, num_words)
    programs[num_stages + 1, 0] = receiver((num_stages + 1) % 2, num_words)
    routes = {(x, 0, (x + 1) % 2): route(RAMP, EAST) for x in range(num_stages + 1)} | {
        (x, 0, x % 2): route(WEST, RAMP) for x in range(1, num_stages + 2)
    }
    run = boot(programs, engine=engine, width=num_stages + 2, routes=routes).launch()
    ends = [run.cycles(EventKind.DSD_END, x, subject=1)[0] for x in range(1, num_stages + 1)]
    assert [b - a for a, b in pairwise(ends)] == [num_words + 16] * 4
    assert run.words("received", num_stages + 1) == list(range(1, num_words + 1))


@pytest.mark.parametrize("stride", [1, -1])
def test_constant_dsd_is_loaded_in_one_instruction(engine, stride):
    """M20: as a load from registers, which had to be filled before."""

    def run(*, is_constant):
        kernel = Kernel()
        kernel.data("x", ScalarType.U16, [1, 2, 3])
        y = kernel.data("y", ScalarType.U16, [0, 0, 0])
        kernel.function("main")
        base = y - 6 if stride > 0 else y - 2
        memory = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
        if is_constant:
            dest = kernel.dsr_load_constant(OperandMode.DSR_DEST, 3, memory, base=y, extent=3)
            source = kernel.dsr_load_constant(
                OperandMode.DSR_SRC1, 3, memory, base=base, extent=3, stride=stride
            )
        else:
            pairs = (
                kernel.dsd_value(memory, base=y, extent=3),
                kernel.dsd_value(memory, base=base, extent=3, stride=stride),
            )
            dest = kernel.dsr_load(OperandMode.DSR_DEST, 3, pairs[0])
            source = kernel.dsr_load(OperandMode.DSR_SRC1, 3, pairs[1])
        kernel.operate_loaded(DsdOperation.MOV16, dest, 0, source)
        return boot(kernel.finish(), engine=engine).launch()

    constant, loaded = run(is_constant=True), run(is_constant=False)
    assert constant.words("y", num_bytes=2) == [1, 2, 3][::stride] == loaded.words("y", num_bytes=2)
    immediate = T.instruction_cycles["integer"]
    assert loaded.machine.cycle - constant.machine.cycle == 4 * immediate


def test_dsr_that_was_never_loaded_stops(engine):
    """A DSR holds no DSD until it is loaded."""
    kernel = Kernel()
    kernel.data("x", ScalarType.U16, [0])
    kernel.function("main")
    dest, source = operand(OperandMode.DSR_DEST, 3), operand(OperandMode.DSR_SRC1, 3)
    kernel.operate_loaded(MOV32, dest, 0, source, line=12)
    with pytest.raises(SimulationError, match=r"never loaded with a DSD.*\n  at kernel.csl:12:3"):
        boot(kernel.finish(), engine=engine).launch()
