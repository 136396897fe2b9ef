"""A program that never ends is not silent, and can be bounded."""

import pytest

from onewafer.arch import load_architecture
from onewafer.errors import SimulationError
from onewafer.host import Device, RunLimits
from onewafer.image import Opcode, ProgramBuilder, ScalarType, SourceLocation, TaskKind, make_image
from onewafer.settings import Settings

AT = SourceLocation("loop.csl", 7, 3)
AGAIN = SourceLocation("again.csl", 3, 1)


def device(program, limits, *, width=1):
    architecture = load_architecture("wse3")
    loaded = Device(make_image(architecture, program, width=width), architecture, limits=limits)
    loaded.load()
    return loaded


def looping():
    """Return a program whose `main` never ends; `short` ends at once."""
    builder = ProgramBuilder("loop.csl")
    builder.function("main")
    builder.label("again")
    builder.emit(Opcode.JUMP, imm="again", location=AT)
    builder.function("short")
    builder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    builder.emit(Opcode.RETURN)
    return builder.build()


def test_the_limit_names_who_is_still_at_work():
    limited = device(looping(), RunLimits(max_cycles=12_345), width=5)
    limited.settle()
    with pytest.raises(SimulationError) as caught:
        limited.launch("main")
    assert limited.machine.cycle == 12_345
    assert str(caught.value) == (
        "the launch of 'main' is not over after 12,345 cycles, the limit that was set "
        "(ONEWAFER_MAX_CYCLES), at cycle 12,345: 5 PEs work: PE (0, 0) at loop.csl:7:3; "
        "PE (1, 0) at loop.csl:7:3; PE (2, 0) at loop.csl:7:3 and 2 more"
    )


def test_the_limit_is_one_of_each_launch():
    limited = device(looping(), RunLimits(max_cycles=50))
    for _ in range(20):
        limited.launch("short")
    assert limited.machine.cycle > 50


def test_a_task_that_activates_itself_is_bounded_too():
    builder = ProgramBuilder("again.csl")
    builder.function("main")
    builder.emit(Opcode.ACTIVATE, imm=9)
    builder.emit(Opcode.RETURN)
    builder.label("again")
    builder.task(TaskKind.LOCAL, 9, "again")
    builder.emit(Opcode.ACTIVATE, imm=9, location=AGAIN)
    builder.emit(Opcode.END_TASK, location=AGAIN)
    with pytest.raises(SimulationError, match=r"1 PE works: PE \(0, 0\) at again.csl:3:1$"):
        device(builder.build(), RunLimits(max_cycles=1_000)).launch("main")


def test_the_same_cycles_with_and_without_limits():
    builder = ProgramBuilder("count.csl")
    builder.function("main")
    count, one = builder.register(), builder.immediate(ScalarType.U32, 1)
    builder.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U32, rd=count, imm=90_000)
    builder.label("again")
    builder.emit(Opcode.SUB, ScalarType.U32, rd=count, ra=count, rb=one)
    builder.emit(Opcode.BRANCH_NONZERO, ra=count, imm="again")
    builder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    builder.emit(Opcode.RETURN)
    program, heard = builder.build(), []
    plain = device(program, RunLimits()).launch("main")
    watched = RunLimits(10_000_000, heard.append, notice_cycles=100_000)
    assert device(program, watched).launch("main") == plain
    assert plain.cycles > 100_000
    assert "1 PE works" in heard[0]


def test_notices_come_twice_as_late_each_time():
    heard = []
    limits = RunLimits(700_000, heard.append, notice_cycles=100_000)
    with pytest.raises(SimulationError):
        device(looping(), limits).launch("main")
    cycles = [line.split(":")[0].split(" at cycle ")[1] for line in heard]
    assert cycles == ["100,000", "200,000", "400,000"]
    assert "PE (0, 0) at loop.csl:7:3 (Ctrl-C stops" in heard[0]


def test_ctrl_c_says_where_the_program_was():
    def interrupt(_):
        raise KeyboardInterrupt

    limits = RunLimits(notice=interrupt, notice_cycles=100_000)
    with pytest.raises(KeyboardInterrupt) as caught:
        device(looping(), limits).launch("main")
    assert str(caught.value) == (
        "interrupted in the launch of 'main' at cycle 100,000: "
        "1 PE works: PE (0, 0) at loop.csl:7:3"
    )


@pytest.mark.parametrize(("is_terminal", "cycles"), [(True, 1_000_000), (False, 10_000_000)])
def test_the_environment_sets_the_limits(monkeypatch, capsys, is_terminal, cycles):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    limits = RunLimits.from_settings(Settings(max_cycles=5))
    assert (limits.max_cycles, limits.notice_cycles) == (5, cycles)
    limits.notice("still at it")
    assert capsys.readouterr().err == "onewafer: still at it\n"
