"""Tasks and the picker: M60–M65."""

import pytest

from onewafer.errors import DeadlockError
from onewafer.image import (
    ChannelKind,
    DsdOperation,
    Opcode,
    ScalarType,
    SourceLocation,
    TaskKind,
    channel,
)
from onewafer.simulator import StallReason, describe_merged
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    WSE2,
    WSE3,
    Kernel,
    background,
    boot,
    eastward,
    receiver,
    sender,
)

COLOR = 3
MOV32 = DsdOperation.MOV32


def tasks(bodies, **options):
    """Return a program of local tasks that log their id first; `options` go to each binding."""
    kernel = Kernel()
    kernel.make_log()
    for task_id, body in bodies.items():
        kernel.label(f"task{task_id}")
        kernel.log(task_id)
        body(kernel)
        kernel.emit(Opcode.END_TASK)
        flags = {name: task_id in ids for name, ids in options.items()}
        kernel.task(TaskKind.LOCAL, task_id, f"task{task_id}", **flags)
    return kernel


def emits(*steps):
    """Return a task body of one-operand instructions."""

    def body(kernel):
        for opcode, immediate in steps:
            kernel.emit(opcode, imm=immediate)

    return body


def test_tasks_run_to_completion(engine):
    """M60: an activated task waits for the end of the running one."""

    def first(kernel):
        kernel.emit(Opcode.ACTIVATE, imm=9)
        kernel.log(100)

    run = boot(tasks({8: first, 9: emits()}, is_active={8}).build(), engine=engine)
    run.machine.run()
    assert run.log() == [8, 100, 9]


def test_activation_is_a_flag(engine):
    """M61: two activations before the start are one."""
    body = emits((Opcode.ACTIVATE, 9), (Opcode.ACTIVATE, 9))
    run = boot(tasks({8: body, 9: emits()}, is_active={8}).build(), engine=engine)
    run.machine.run()
    assert run.log() == [8, 9]


def twice_active():
    """Return a program that activates task 9 three times before it begins."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=40)
    kernel.function("main")
    vector = kernel.vector(base, 8)
    for line, condition in ((2, 0), (3, kernel.immediate(ScalarType.U16, 1))):
        where = SourceLocation("kernel.csl", line, 1)
        kernel.emit(Opcode.ACTIVATE, imm=9, rc=condition, location=where)
    kernel.operate(MOV32, vector, src1=vector, config=background(1, activate=9), line=4)
    kernel.operate(MOV32, kernel.vector(base, 40), src1=kernel.vector(base, 40), line=5)
    kernel.emit(Opcode.RETURN)
    kernel.label("again")
    kernel.task(TaskKind.LOCAL, 9, "again")
    kernel.emit(Opcode.END_TASK)
    return kernel.build()


def test_activations_of_an_active_task_are_found(engine):
    """M61: by place, with the first cycle and PE; the first activation is none of them."""
    run = boot({(0, 0): (program := twice_active()), (1, 0): program}, engine=engine, width=2)
    with pytest.raises(DeadlockError) as caught:
        run.launch()
    second, end = run.machine.findings()
    assert [program.locations[found.pc].line for found in (second, end)] == [3, 4]
    for found in (second, end):
        assert found.kind is FindingKind.MERGED_ACTIVATION
        assert (found.num_times, found.first_pe) == (2, 0)
    assert end.first_cycle == min(run.cycles(EventKind.DSD_END))
    assert second.first_cycle < end.first_cycle
    assert (
        f"found task 'again' (id 9) active, 2 times, first in cycle {second.first_cycle} on PE "
        "(0, 0); also activated by the @activate at kernel.csl:2:1 or the end of the operation at "
        "kernel.csl:4:3" in str(caught.value)
    )
    assert "unless the task that does so was activated twice" in str(caught.value)


def test_the_start_of_a_program_activates_tasks_too(engine):
    bodies = {8: emits((Opcode.ACTIVATE, 9)), 9: emits()}
    run = boot(tasks(bodies, is_active={8, 9}).build(), engine=engine)
    run.machine.run()
    (text,) = describe_merged(run.machine.image, run.machine.findings())
    assert "found task 'task9' (id 9) active, once, first" in text
    assert text.endswith("; also activated by @activate in a comptime block")


def test_blocked_task_waits(engine):
    """M61: a blocked task keeps its activation and starts when it is unblocked."""
    local = ChannelKind.LOCAL_TASK
    bodies = {
        8: emits((Opcode.ACTIVATE, 10), (Opcode.ACTIVATE, 9)),
        9: emits((Opcode.UNBLOCK, channel(local, 10)), (Opcode.BLOCK, channel(local, 11))),
        10: emits((Opcode.ACTIVATE, 11)),
        11: emits(),
    }
    run = boot(tasks(bodies, is_active={8}, is_blocked={10}).build(), engine=engine)
    run.machine.run()
    assert run.log() == [8, 9, 10]


def test_picker_goes_round(engine):
    """M62: upwards from the last id, a launched function after 30."""
    bodies = {task_id: emits((Opcode.ACTIVATE, task_id)) for task_id in (8, 17, 26)}
    kernel = tasks(bodies, is_active={8, 17, 26})
    kernel.function("main")
    kernel.log(31)
    run = boot(kernel.finish(), engine=engine)
    run.machine.launch("main")
    run.machine.run(max_cycles=300)
    assert run.log()[:9] == [8, 17, 26, 31, 8, 17, 26, 8, 17]


def test_task_start_latency(engine):
    """M63: 3 cycles from the end of one task to the first instruction of the next."""
    kernel = Kernel()
    kernel.data("x", ScalarType.U16, [0])
    for task_id in (8, 9):
        kernel.label(f"task{task_id}")
        kernel.emit(Opcode.END_TASK)
        kernel.task(TaskKind.LOCAL, task_id, f"task{task_id}", is_active=True)
    run = boot(kernel.build(), engine=engine)
    run.machine.run()
    timing = WSE3.timing
    first, second = run.cycles(EventKind.TASK_START)
    assert first == timing.task_start_cycles
    assert second - first == timing.instruction_cycles["end_task"] + timing.task_start_cycles


def data_task(architecture, *, is_blocked=False, types=(ScalarType.U16, ScalarType.U16)):
    """Return an unfinished program with a data task that logs its arguments."""
    kernel = Kernel("data task")
    kernel.make_log(64)
    kernel.queue(2, color=COLOR, is_input=True)
    kernel.label("taken")
    registers = tuple(kernel.register() for _ in types)
    for register in registers:
        kernel.log_register(register)
    kernel.emit(Opcode.END_TASK)
    task_id = COLOR if architecture is WSE2 else 2
    kernel.task(
        TaskKind.DATA,
        task_id,
        "taken",
        argument_registers=registers,
        argument_types=types,
        is_blocked=is_blocked,
    )
    return kernel


@pytest.mark.parametrize("architecture", [WSE2, WSE3])
def test_blocked_data_task_holds_back_its_sender(engine, architecture):
    """M64: a wavelet leaves its channel only when the task starts."""
    kernel = data_task(architecture, is_blocked=True)
    kernel.function("main")
    kernel.spin(50)
    kind = ChannelKind.COLOR if architecture is WSE2 else ChannelKind.INPUT_QUEUE
    kernel.emit(Opcode.UNBLOCK, imm=channel(kind, COLOR if architecture is WSE2 else 2))
    programs = {(0, 0): sender(COLOR, 30), (1, 0): kernel.finish()}
    run = boot(
        programs, engine=engine, architecture=architecture, width=2, routes=eastward(COLOR, 0, 1)
    ).launch()
    assert run.log(1) == [half for i in range(1, 31) for half in (i, 0)]
    starts = run.cycles(EventKind.TASK_START, 1)
    assert starts[1] - starts[0] > 50 * WSE3.timing.branch_taken_cycles
    stalls = run.machine.statistics().stall_cycles
    assert stalls[StallReason.OUTPUT_FULL][0, 0] > 100


def test_whole_wavelet_argument(engine):
    """M64: a one-argument task gets the wavelet in the argument's type."""
    kernel = data_task(WSE3, types=(ScalarType.I16,))
    kernel.function("main")
    programs = {(0, 0): sender(COLOR, 3), (1, 0): kernel.finish()}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.log(1) == [1, 2, 3]


def test_operation_reads_before_data_task(engine):
    """M65: while an operation reads the channel, the data task is not ready."""
    kernel = data_task(WSE3, types=(ScalarType.U16,))
    base = kernel.data("received", ScalarType.U32, num_elements=5)
    kernel.function("main")
    kernel.operate(
        MOV32, kernel.vector(base, 5), src1=kernel.incoming(COLOR, 5), config=background(1)
    )
    programs = {(0, 0): sender(COLOR, 8), (1, 0): kernel.finish()}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.words("received", 1) == [1, 2, 3, 4, 5]
    assert run.log(1) == [6, 7, 8]


def test_completion_unblocks_and_activates(engine):
    """M39: what an asynchronous operation does at its end."""
    kernel = tasks({9: emits(), 10: emits()}, is_active={10}, is_blocked={10})
    base = kernel.data("x", ScalarType.U32, num_elements=8)
    kernel.function("main")
    vector = kernel.vector(base, 8)
    local = channel(ChannelKind.LOCAL_TASK, 10)
    kernel.operate(MOV32, vector, src1=vector, config=background(1, unblock=local))
    kernel.operate(MOV32, vector, src1=vector, config=background(2, activate=9))
    run = boot(kernel.finish(), engine=engine).launch()
    assert sorted(run.log()) == [9, 10]
    ends, starts = run.cycles(EventKind.DSD_END), run.cycles(EventKind.TASK_START)
    assert starts[1] >= min(ends) + WSE3.timing.task_start_cycles


def test_receiver_runs_beside_tasks(engine):
    """An unread program of the helper module still works: a plain receive."""
    programs = {(0, 0): sender(COLOR, 4), (1, 0): receiver(COLOR, 4)}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.words("received", 1) == [1, 2, 3, 4]
