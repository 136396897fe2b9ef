"""Tasks that rotate, and queues with control tasks of their own: M142, M145."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import ImageError
from onewafer.image import ChannelKind, Opcode, Rotation, ScalarType, TaskKind, channel
from onewafer.simulator import ENGINES, Machine
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    boot,
    commands,
    eastward,
    route,
    talker,
)

COLOR, OTHER, THIRD = 3, 4, 5
CONTROL_TASKS = 64


def rotating(limit, initial=0, *, pairs=1):
    """Return a program whose data tasks log their wavelets, the others theirs with 100 added."""
    kernel = Kernel("rotating")
    kernel.make_log(64)
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    hundred = kernel.register()
    for pair, color in zip(range(pairs), (COLOR, OTHER), strict=False):
        queue = 2 + pair
        kernel.queue(queue, color=color, is_input=True)
        words = [kernel.register(), kernel.register()]
        for kind, task_id, word, name in (
            (TaskKind.DATA, queue, words[0], "main task"),
            (TaskKind.CONTROL, pair, words[1], "other task"),
        ):
            label = f"{name} {pair}"
            kernel.label(label)
            if kind is TaskKind.CONTROL:
                kernel.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=hundred, imm=100)
                kernel.emit(Opcode.ADD, ScalarType.U16, rd=word, ra=word, rb=hundred)
            kernel.log_register(word)
            kernel.emit(Opcode.END_TASK)
            arguments = {"argument_registers": (word,), "argument_types": (ScalarType.U16,)}
            kernel.task(kind, task_id, label, **arguments)
        kernel.rotate(Rotation(queue, pair, limit, initial))
    return kernel.build()


def expected_log(words, limit, initial):
    """Return the log of the rule: the counter, at the limit, lets the other task start."""
    log, count = [], initial
    for word in words:
        is_due = count == limit
        log.append(word + 100 if is_due else word)
        count = 0 if is_due else count + 1
    return log


def run_words(engine, words, limit, initial=0):
    """Send words to a rotating program from its neighbour; return the run."""
    programs = {(0, 0): talker(COLOR, words), (1, 0): rotating(limit, initial)}
    routes = eastward(COLOR, 0, 1)
    return boot(programs, engine=engine, width=2, routes=routes).launch()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 12))
def test_other_task_starts_in_its_place(limit, initial, num_words):
    """M142: after `limit` starts the other task takes the wavelet of the next one."""
    words, initial = list(range(num_words)), min(initial, limit)
    for engine in sorted(ENGINES):
        run = run_words(engine, words, limit, initial)
        assert run.log(1) == expected_log(words, limit, initial)


def test_rotation_is_told_as_a_control_task(engine):
    """M142: the start costs what every start does, and events name the control task."""
    run = run_words(engine, [1, 2, 3], 1)
    subjects = [e.subject for e in run.recorder.events(EventKind.TASK_START) if e.x == 1]
    assert subjects[-3:] == [2, CONTROL_TASKS, 2]


def test_control_wavelets_do_not_count(engine):
    """M142: the other task starts by control wavelets, too; only data tasks are counted."""
    control = commands(0, ignore=False, entry=0, data=7)
    run = run_words(engine, [1, (control,), 2, 3], 2)
    assert run.log(1) == [1, 107, 2, 103]


def test_two_pairs_have_counters_of_their_own(engine):
    """M142: a machine has `num_rotations` counters."""
    programs = {(0, 0): talker(COLOR, [1, 2, 3]), (2, 0): talker(OTHER, [11, 12])}
    programs[1, 0] = rotating(1, pairs=2)
    routes = eastward(COLOR, 0, 1) | {
        (2, 0, OTHER): route(RAMP, WEST),
        (1, 0, OTHER): route(EAST, RAMP),
    }
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    log = run.log(1)
    assert [word for word in log if word % 100 < 10] == [1, 102, 3]
    assert [word for word in log if word % 100 > 10] == [11, 112]


@pytest.mark.parametrize("following", sorted(ENGINES))
def test_count_is_kept_in_a_checkpoint(engine, following, tmp_path):
    """M142: a machine that is saved goes on counting where it was, on the other engine, too."""
    routes = {(0, 0, COLOR): route(RAMP, RAMP)}
    run = boot(rotating(3), engine=engine, routes=routes)
    run.machine.inject(0, 0, COLOR, [1, 2])
    run.machine.run()
    path = tmp_path / "checkpoint"
    run.machine.save_checkpoint(path)
    machine = Machine.from_checkpoint(path, engine=following, architecture=WSE3)
    machine.inject(0, 0, COLOR, [3, 4, 5])
    machine.run()
    symbol = machine.symbol(0, 0, "log")
    payload = machine.peek(0, 0, symbol.address, 10)
    assert list(payload[::2]) == [1, 2, 3, 104, 5]


@pytest.mark.parametrize(
    ("rotation", "complaint"),
    [
        (Rotation(3, 0, 1), "there is no data task 3"),
        (Rotation(2, 9, 1), "there is no control task 9"),
        (Rotation(2, 0, 1, 2), "no count from 2 to 1"),
        (Rotation(2, 0, 1), "a data task is in two rotations"),
    ],
)
def test_rotations_that_cannot_be(rotation, complaint):
    """An image with such a rotation is refused before it runs."""
    program = rotating(1)
    program = replace(program, rotations=(*program.rotations, rotation))
    with pytest.raises(ImageError, match=complaint):
        boot(program)


def test_machine_without_counters_has_no_rotations():
    """M142: tasks do not rotate on WSE-2."""
    with pytest.raises(ImageError, match="1 rotations, wse2 has 0"):
        boot(rotating(1), architecture=WSE2)


def test_queue_counts_its_control_tasks_from_elsewhere(engine):
    """M145: one entry means one task of one queue, and another one of another queue."""
    kernel = Kernel("tables")
    kernel.make_log(8)
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    for task_id in (5, 9, 1):
        kernel.label(f"task {task_id}")
        kernel.log(task_id)
        kernel.emit(Opcode.END_TASK)
        kernel.task(TaskKind.CONTROL, task_id, f"task {task_id}")
    for queue, color, offset in ((2, COLOR, 0), (3, OTHER, 4), (4, THIRD, 60)):
        kernel.queue(queue, color=color, is_input=True, control_offset=offset)
        kernel.unblock_channel(channel(ChannelKind.INPUT_QUEUE, queue))
    word = (commands(0, ignore=False, entry=5),)
    programs = {(0, 0): kernel.build()}
    routes = {}
    for x, color in enumerate((COLOR, OTHER, THIRD), 1):
        programs[x, 0] = talker(color, [word])
        routes |= {(x, 0, color): route(RAMP, WEST), (0, 0, color): route(EAST, RAMP)}
        routes |= {(way, 0, color): route(EAST, WEST) for way in range(1, x)}
    run = boot(programs, engine=engine, width=4, routes=routes).launch()
    assert run.log(0) == [5, 9, 1]


def test_queues_whose_control_tasks_cannot_be():
    """M145: an input queue of the WSE-3, and a number of a control task."""
    for queue, offset, problem in ((True, 64, "do not exist"), (False, 1, "no control tasks")):
        kernel = Kernel("tables")
        kernel.function("main")
        kernel.emit(Opcode.RETURN)
        kernel.queue(2, color=COLOR, is_input=queue, control_offset=offset)
        with pytest.raises(ImageError, match=problem):
            boot(kernel.build(), engine="reference", width=1)
