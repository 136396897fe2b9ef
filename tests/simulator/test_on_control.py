"""Operations that control wavelets end: M98."""

import pytest

from onewafer.image import (
    ChannelKind,
    DsdConfig,
    DsdOperation,
    Opcode,
    ScalarType,
    TaskKind,
    channel,
)
from onewafer.simulator import StallReason
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    WSE3,
    Kernel,
    boot,
    commands,
    eastward,
    talker,
)

COLOR = 3
MOV32 = DsdOperation.MOV32
CONTROL_WORD = commands(0, ignore=False, entry=40)
DONE, SPECIAL, LOCKED = 9, 10, 11


def listener(num_words, *, extent=None, has_control_task=False, behind=None, **options):
    """Return a program that receives on a microthread; its tasks log their numbers.

    With `behind` there is another operation on the same microthread, which a control wavelet ends
    as well or does not.
    """
    kernel = Kernel("listener")
    kernel.make_log()
    base = kernel.data("received", ScalarType.U32, num_elements=num_words)
    kernel.function("main")
    for number, ends in enumerate([True] if behind is None else [True, behind]):
        config = DsdConfig(0, DONE, ends_on_control=ends, **options)
        target = kernel.vector(base + 4 * number * (num_words // 2), num_words)
        source = kernel.incoming(COLOR, extent or num_words)
        kernel.operate(MOV32, target, src1=source, config=config)
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.unblock_channel(channel(ChannelKind.INPUT_QUEUE, 2))
    tasks = [(TaskKind.LOCAL, DONE), (TaskKind.LOCAL, SPECIAL), (TaskKind.LOCAL, LOCKED)]
    tasks += [(TaskKind.CONTROL, 40)] if has_control_task else []
    for kind, number in tasks:
        kernel.label(f"task{number}")
        kernel.log(number)
        kernel.emit(Opcode.END_TASK)
        is_locked = number == LOCKED
        kernel.task(kind, number, f"task{number}", is_blocked=is_locked, is_active=is_locked)
    return kernel.build()


def run(script, program, engine):
    routes = eastward(COLOR, 0, 1)
    programs = {(0, 0): talker(COLOR, script), (1, 0): program}
    return boot(programs, engine=engine, width=2, routes=routes).launch()


@pytest.mark.parametrize("extent", [4, 0x7FFF])
def test_control_wavelet_ends_an_operation(engine, extent):
    """M98: what came before it is received; the operation is over and says so."""
    found = run([5, 6, (CONTROL_WORD,)], listener(4, extent=extent), engine)
    assert found.words("received", 1) == [5, 6, 0, 0]
    assert found.log(1) == [DONE]


def test_operation_that_is_complete_sees_no_control_wavelet(engine):
    """M98: only a live operation takes one."""
    program = listener(2, control_activate=SPECIAL, has_control_task=True)
    found = run([5, 6, (CONTROL_WORD,)], program, engine)
    assert found.log(1) == [DONE, 40]


def test_control_wavelet_activates_or_unblocks_besides(engine):
    """M98: its own task runs, and that of every completion."""
    for options, expected in (
        ({"control_activate": SPECIAL}, [DONE, SPECIAL]),
        ({"control_unblock": channel(ChannelKind.LOCAL_TASK, LOCKED)}, [DONE, LOCKED]),
    ):
        found = run([5, (CONTROL_WORD,)], listener(4, **options), engine)
        assert found.log(1) == expected


def test_control_wavelet_that_ended_an_operation_starts_its_task(engine):
    """M98: it stays where it is, and is the next of the channel when the operation is over."""
    found = run([5, (CONTROL_WORD,)], listener(4, has_control_task=True), engine)
    assert sorted(found.log(1)) == [DONE, 40]
    starts = found.cycles(EventKind.TASK_START, 1)
    (end,) = found.cycles(EventKind.DSD_END, 1)
    assert starts[1] == end + WSE3.timing.task_start_cycles


def test_control_wavelet_that_ended_an_operation_is_taken_by_the_next(engine):
    """M98: by one that it does not end, as an element (M95)."""
    script = [5, (CONTROL_WORD,), 6, 7, (CONTROL_WORD,)]
    found = run(script, listener(8, extent=4, behind=False), engine)
    assert found.words("received", 1) == [5, 0, 0, 0, CONTROL_WORD, 6, 7, CONTROL_WORD]
    assert found.log(1) == [DONE, DONE]


def test_control_wavelet_ends_each_operation_that_it_may_end(engine):
    """M98: the next one receives nothing until the wavelet has been taken."""
    script = [5, (CONTROL_WORD,), 6, 7]
    found = run(script, listener(8, extent=4, behind=True), engine)
    assert found.words("received", 1) == [5, *[0] * 7]
    assert len(found.cycles(EventKind.DSD_END, 1)) == 2


def test_operation_ends_in_the_cycle_after_its_control_wavelet(engine):
    """M98: no element, no data path."""
    program = listener(4, control_activate=SPECIAL)
    found = run([5, (CONTROL_WORD,)], program, engine)
    (start,) = found.cycles(EventKind.DSD_START, 1)
    (end,) = found.cycles(EventKind.DSD_END, 1)
    sent = found.cycles(EventKind.DSD_START)
    assert end - start == sent[1] - sent[0] + 1
    first, second = found.cycles(EventKind.TASK_START, 1)[1:]
    assert first == end + WSE3.timing.task_start_cycles
    assert second > first
    assert found.machine.statistics().dsd_elements.tolist() == [[2, 1]]
    waited = found.machine.statistics().stall_cycles[StallReason.INPUT_EMPTY][0, 1]
    assert waited > 0
