"""A program that never ends is not silent, can be bounded, and can be stopped and gone on with."""

import itertools
import os
import signal
import threading

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import SimulationError
from onewafer.host import Device, Interruption, RunLimits
from onewafer.host.runs import interruption
from onewafer.host.runs import limits as run_limits
from onewafer.host.runs.limits import _Pace
from onewafer.host.runs.progress import Reporter, RunObserver
from onewafer.host.runs.progress_display import LogLines, StatusLine, WarningsOnly
from onewafer.host.runs.readers import RunReader
from onewafer.image import Opcode, ScalarType, SourceLocation, TaskKind
from onewafer.settings import Settings
from onewafer.simulator import Activity, Checking, Machine
from tests.image.builder import ProgramBuilder, make_image

AT = SourceLocation("loop.csl", 7, 3)
AGAIN = SourceLocation("again.csl", 3, 1)


class Clock:
    """A host clock that ticks whenever it is read, so that slices stay as they are."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.2
        return self.now


class Listener(RunObserver):
    """Remembers what it hears."""

    def __init__(self, interval_seconds=1.0):
        self.interval_seconds = interval_seconds
        self.lines, self.reports, self.num_ends = [], [], 0

    def say(self, line):
        self.lines.append(line)

    def show(self, progress):
        self.reports.append(progress)

    def done(self):
        self.num_ends += 1


def device(program, limits, *, width=1):
    architecture = load_architecture("wse3")
    image = make_image(architecture, program, width=width)
    loaded = Device(image, architecture, engine="reference", limits=limits)
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


def counting(number):
    """Return a program whose `main` counts down from a number."""
    builder = ProgramBuilder("count.csl")
    builder.function("main")
    count, one = builder.register(), builder.immediate(ScalarType.U32, 1)
    builder.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U32, rd=count, imm=number)
    builder.label("again")
    builder.emit(Opcode.SUB, ScalarType.U32, rd=count, ra=count, rb=one)
    builder.emit(Opcode.BRANCH_NONZERO, ra=count, imm="again")
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
        "(--max-cycles, ONEWAFER_MAX_CYCLES), at cycle 12,345: 5 PEs work: "
        "PE (0, 0) at loop.csl:7:3; PE (1, 0) at loop.csl:7:3; PE (2, 0) at loop.csl:7:3 and 2 more"
    )


class Every(RunReader):
    """Looks at the machine every few cycles."""

    def __init__(self, interval):
        self.interval = interval
        self.next_look = 0
        self.looks = []

    def look(self, machine):
        self.looks.append((self.next_look, machine.cycle))
        self.next_look = machine.cycle + self.interval


@pytest.mark.parametrize("interval", [1, 7, 5000])
def test_a_sampler_looks_when_it_wants_to_and_changes_nothing(interval):
    plain, sampled = (device(counting(4000), RunLimits()) for _ in range(2))
    expected = plain.launch("main")
    sampled.settle()
    sampler = Every(interval)
    sampler.next_look = sampled.machine.cycle + 3
    found = sampled.launch("main", sampler=sampler)
    assert found.cycles == expected.cycles
    assert all(wanted == cycle for wanted, cycle in sampler.looks)
    cycles = [cycle for _, cycle in sampler.looks]
    assert cycles[0] == found.start_cycle + 3
    assert {after - before for before, after in itertools.pairwise(cycles)} == {interval}
    assert found.end_cycle - interval <= cycles[-1] <= found.end_cycle


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


def test_the_same_cycles_watched_or_not():
    plain = device(counting(9_000), RunLimits()).launch("main")
    listener = Listener()
    watched = RunLimits(10_000_000, listener, clock=Clock())
    assert device(counting(9_000), watched).launch("main") == plain
    assert plain.cycles > 10_000
    assert listener.reports
    assert listener.num_ends == 2  # of the start-up and of the launch


def test_reports_say_how_far_the_run_is():
    listener = Listener(0)
    with pytest.raises(SimulationError):
        device(looping(), RunLimits(100_000, listener, clock=Clock()), width=2).launch("main")
    first, second = listener.reports[:2]
    assert first.what == "the launch of 'main'"
    assert first.cycle == first.passed_cycles > 0
    assert (first.active_pes, first.wavelets_per_second) == (2, 0)
    assert first.activity == "2 PEs work: PE (0, 0) at loop.csl:7:3; PE (1, 0) at loop.csl:7:3"
    assert second.cycle > first.cycle
    assert second.elapsed_seconds > first.elapsed_seconds


class Counted:
    """A machine of two PEs in which nothing happens but what a test says."""

    cycle = 0

    def __init__(self, hops):
        self.hops = hops

    def activity(self):
        return Activity(np.ones((1, 2), np.int64), self.hops)


def test_what_was_done_before_a_launch_is_not_of_its_first_report():
    listener, machine = Listener(0), Counted(1_000_000)
    reporter = Reporter(machine, "the launch", listener, Clock())
    machine.hops += 6
    reporter.look()
    (report,) = listener.reports
    assert report.wavelets_per_second * report.elapsed_seconds == pytest.approx(6)
    assert report.active_pes == 0


@pytest.mark.parametrize(("num_pes", "first"), [(1, 1_000), (4_000, 250), (2_000_000, 1)])
def test_the_first_slice_is_short_on_a_large_machine(num_pes, first):
    """Ctrl-C is heard between slices, and their duration is not known yet."""
    assert _Pace(Clock(), num_pes).slice_cycles(None) == first


def test_looking_takes_no_measurable_part_of_a_run():
    clock, listener = Clock(), Listener()

    def show(_progress):
        clock.now += 5
        listener.reports.append(clock.now)

    listener.show = show
    with pytest.raises(SimulationError):
        device(looping(), RunLimits(1_000_000, listener, clock=clock)).launch("main")
    assert (
        len(listener.reports) == 1
        or min(
            later - earlier
            for earlier, later in zip(listener.reports, listener.reports[1:], strict=False)
        )
        >= 5 / 0.01
    )


def interrupted(number, action, tmp_path, program=None):
    """Send a signal to this process at the first report of a launch; return what it raises."""
    listener = Listener(0)

    def show(_progress):
        listener.show = listener.reports.append
        os.kill(os.getpid(), number)

    listener.show = show
    limits = RunLimits(observer=listener, checkpoint_folder=tmp_path)
    stopped = device(looping() if program is None else program, limits)
    with pytest.raises(action) as caught:
        stopped.launch("main")
    return stopped, caught.value


def test_ctrl_c_says_where_the_program_was_and_leaves_a_checkpoint(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    stopped, error = interrupted(signal.SIGINT, KeyboardInterrupt, tmp_path)
    cycle = stopped.machine.cycle
    path = tmp_path / f"cycle-{cycle}.checkpoint"
    assert str(error) == (
        f"interrupted in the launch of 'main' at cycle {cycle:,}: "
        f"1 PE works: PE (0, 0) at loop.csl:7:3\n`onewafer resume {path}` goes on from there"
    )
    assert type(error) is KeyboardInterrupt  # Python asks so before it ends by the signal
    assert Interruption.of(error) == str(error)
    assert Interruption.of(KeyboardInterrupt("of the script")) is None
    assert [*tmp_path.iterdir()] == [path]
    assert Machine.from_checkpoint(path, engine="reference").cycle == cycle
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("many", "lines"), [(2, []), (1, ["writing a checkpoint; "])])
def test_a_long_checkpoint_is_announced(tmp_path, monkeypatch, many, lines):
    monkeypatch.setattr(run_limits, "_MANY_PES", many)
    listener = Listener(0)
    listener.show = lambda _: os.kill(os.getpid(), signal.SIGINT)
    stopped = device(looping(), RunLimits(observer=listener, checkpoint_folder=tmp_path))
    with pytest.raises(KeyboardInterrupt):
        stopped.launch("main")
    assert [line[:22] for line in listener.lines] == lines


def test_what_was_stopped_ends_as_if_it_had_not_been(tmp_path):
    plain = device(counting(9_000), RunLimits()).launch("main")
    stopped, _ = interrupted(signal.SIGINT, KeyboardInterrupt, tmp_path, counting(9_000))
    path = tmp_path / f"cycle-{stopped.machine.cycle}.checkpoint"
    following = Device.from_checkpoint(path, engine="reference")
    following.settle()
    assert following.machine.cycle == plain.end_cycle
    stopped.settle()  # the process may go on as well, if the script catches the Ctrl-C
    assert stopped.machine.cycle == plain.end_cycle


def test_sigterm_ends_the_script_with_its_code(tmp_path, capsys):
    stopped, error = interrupted(signal.SIGTERM, SystemExit, tmp_path)
    assert error.code == 143
    err = capsys.readouterr().err
    assert err.startswith(f"interrupted in the launch of 'main' at cycle {stopped.machine.cycle:,}")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("number", "action"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_while_a_checkpoint_is_written_leaves_nothing(
    number, action, tmp_path, monkeypatch
):
    machine = device(looping(), RunLimits()).machine
    seen = []

    def interrupt(_archive, _name, _array):
        seen.extend(tmp_path.iterdir())
        os.kill(os.getpid(), number)

    monkeypatch.setattr("onewafer.simulator.state.checkpoint._write_blocks", interrupt)
    with pytest.raises(action):
        interruption.leave_checkpoint(machine, "it", tmp_path)
    assert seen
    assert not [*tmp_path.iterdir()]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_no_checkpoint_is_overwritten(tmp_path):
    machine = device(looping(), RunLimits()).machine
    lines = [interruption.leave_checkpoint(machine, "it", tmp_path) for _ in range(3)]
    names = ["cycle-0.checkpoint", "cycle-0-2.checkpoint", "cycle-0-3.checkpoint"]
    assert lines == [f"`onewafer resume {tmp_path / n}` goes on from there" for n in names]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_a_checkpoint_that_cannot_be_written_is_said(tmp_path):
    machine = device(looping(), RunLimits()).machine
    line = interruption.leave_checkpoint(machine, "it", tmp_path / "nowhere")
    assert line.startswith("no checkpoint was written: ")
    assert line.endswith("No such file or directory")
    assert interruption.leave_checkpoint(machine, "it", None) == (
        "no checkpoint was written: no folder is set (ONEWAFER_CHECKPOINT_DIR, RunLimits)"
    )


def test_a_script_s_handler_raises_between_two_slices(tmp_path):
    def give_up(_number, _frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    listener = Listener(0)
    listener.show = lambda _: os.kill(os.getpid(), signal.SIGALRM)
    stopped = device(counting(9_000), RunLimits(observer=listener, checkpoint_folder=tmp_path))
    try:
        with pytest.raises(TimeoutError):
            stopped.launch("main")
        assert signal.getsignal(signal.SIGALRM) is give_up
    finally:
        signal.signal(signal.SIGALRM, before)
    listener.show = listener.reports.append
    stopped.settle()
    assert stopped.machine.cycle == device(counting(9_000), RunLimits()).launch("main").end_cycle


@pytest.mark.parametrize(
    ("number", "action"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_in_the_last_slice_is_not_lost(number, action, tmp_path):
    before, due = signal.getsignal(number), []

    def clock():
        if due and signal.getsignal(number) is not before:  # the run listens
            os.kill(os.getpid(), due.pop())
        return 0.0

    stopped = device(counting(20), RunLimits(checkpoint_folder=tmp_path, clock=clock))
    plain = stopped.launch("main")
    due.append(number)
    with pytest.raises(action) as caught:
        stopped.launch("main")
    assert not due
    assert signal.getsignal(number) is before
    assert Interruption.of(caught.value) is None
    assert not [*tmp_path.iterdir()]  # nothing is left to go on with
    assert stopped.launch("main").cycles == plain.cycles  # if the script catches it


def test_whoever_handles_ctrl_c_himself_goes_on_doing_so(tmp_path):
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    listener = Listener(0)
    listener.show = lambda _: os.kill(os.getpid(), signal.SIGINT)
    stubborn = device(looping(), RunLimits(2_000, listener, tmp_path))
    try:
        with pytest.raises(SimulationError):
            stubborn.launch("main")
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard
    assert set(heard) == {signal.SIGINT}


def test_runs_in_other_threads_work():
    cycles = []
    thread = threading.Thread(
        target=lambda: cycles.append(device(counting(10), RunLimits()).launch("main").cycles)
    )
    thread.start()
    thread.join()
    assert cycles == [device(counting(10), RunLimits()).launch("main").cycles]


@pytest.mark.parametrize(
    ("shows", "is_terminal", "kind"),
    [(True, True, StatusLine), (True, False, LogLines), (False, True, WarningsOnly)],
)
def test_the_environment_sets_the_limits(monkeypatch, tmp_path, shows, is_terminal, kind):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    settings = Settings(max_cycles=5, shows_progress=shows, checkpoint_folder=tmp_path)
    limits = RunLimits.from_settings(settings)
    assert (limits.max_cycles, limits.checkpoint_folder) == (5, tmp_path)
    assert type(limits.observer) is kind


def test_the_user_hears_why_the_reference_runs():
    listener = Listener()
    architecture = load_architecture("wse3")
    image = make_image(architecture, looping())
    limits, checking = RunLimits(observer=listener), Checking(bounds=True)
    loaded = Device(image, architecture, limits=limits, checking=checking)
    loaded.load()
    assert loaded.machine.engine == "reference"
    assert listener.lines == [loaded.machine.engine_note]


def test_the_user_hears_that_kernels_are_compiled(monkeypatch):
    monkeypatch.setattr("onewafer.host.device.device.announce_compilation", "compiling {}".format)
    listener = Listener()
    loaded = device(looping(), RunLimits(observer=listener))
    assert loaded.machine.cycle == 0
    assert listener.lines == ["compiling reference"]
