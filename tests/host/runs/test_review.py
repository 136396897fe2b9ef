"""The review at the end of a run: ends that work, and that are rarely meant."""

import re
from dataclasses import replace

import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import DeadlockError, HazardError, SimulationError
from onewafer.host import NO_LIMITS, Device, RunLimits, WarningsOnly, checking_of
from onewafer.host.runs.readers import RunReader
from onewafer.image import (
    DsdOperation,
    Export,
    Opcode,
    ScalarType,
    SourceLocation,
    SymbolKind,
    TaskKind,
)
from onewafer.settings import Settings
from onewafer.simulator import ENGINES
from tests.csl.library.one_pe import compile_pe
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE3,
    Kernel,
    background,
    commands,
    eastward,
    receiver,
    route,
    sender,
    talker,
)

MOV32 = DsdOperation.MOV32


@pytest.fixture(params=sorted(ENGINES))
def engine(request):
    return request.param


class Listener(WarningsOnly):
    """Remembers what it is told."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def device_of(programs, *, engine, routes=None, width=1, is_strict=False):
    """Return a loaded device, and who hears its warnings."""
    image = make_image(WSE3, programs, width=width, routes=routes)
    exports = (Export("main", SymbolKind.FUNCTION, None, is_mutable=False),)
    image = replace(image, exports=exports, color_names={"words": "1"})
    return reviewed(image, engine=engine, is_strict=is_strict)


def reviewed(image, *, engine, is_strict=False, has_host=True):
    """Return a loaded device of an image, and who hears its warnings."""
    listener = Listener()
    device = Device(
        image,
        WSE3,
        engine=engine,
        limits=replace(NO_LIMITS, observer=listener),
        checking=checking_of(Settings(is_strict=is_strict)),
        is_reviewed=True,
        has_host=has_host,
    )
    device.load()
    listener.lines.clear()  # that kernels are compiled
    return device, listener


def busy_program():
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=40)
    kernel.function("main")
    vector = kernel.vector(base, 40)
    for line in (5, 6):
        kernel.operate(MOV32, vector, src1=vector, config=background(3), line=line)
    return kernel.finish()


def test_a_busy_microthread_is_warned_of_once(engine):
    device, listener = device_of(busy_program(), engine=engine, width=2)
    device.launch("main")
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert line.startswith("warning: DSD operations were issued on a busy microthread")
    assert "\n  kernel.csl:6:3: @mov32 on microthread 3, 4 times, first in cycle " in line
    assert ".activate or .unblock" in line
    assert line.endswith("(--strict, ONEWAFER_STRICT=on: an error)")


def test_a_place_of_several_programs_is_named_once(engine):
    image = make_image(WSE3, {(0, 0): busy_program(), (1, 0): busy_program()}, width=2)
    exports = (Export("main", SymbolKind.FUNCTION, None, is_mutable=False),)
    device, listener = reviewed(replace(image, exports=exports), engine=engine)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert line.count("kernel.csl:6:3") == 1
    assert "@mov32 on microthread 3, 2 times, first in cycle" in line


def test_a_busy_microthread_is_an_error_of_a_strict_run(engine):
    device, _ = device_of(busy_program(), engine=engine, is_strict=True)
    with pytest.raises(HazardError, match=r"microthread 3[\s\S]*at kernel\.csl:6:3"):
        device.launch("main")


def activating_program():
    """Return a program that activates a task twice before it begins."""
    kernel = Kernel()
    kernel.function("main")
    for line in (5, 6):
        kernel.emit(Opcode.ACTIVATE, imm=9, location=SourceLocation("kernel.csl", line, 3))
    kernel.emit(Opcode.RETURN)
    kernel.label("done")
    kernel.task(TaskKind.LOCAL, 9, "done")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.END_TASK)
    return kernel.build()


def test_merged_activations_are_warned_of_and_no_errors_of_a_strict_run(engine):
    """Programs that mean it are published: a task that looks at all that there is to do."""
    device, listener = device_of(activating_program(), engine=engine, width=2, is_strict=True)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert line.startswith("warning: tasks were activated that were active already; a task")
    what = "the @activate at kernel.csl:6:3 found task 'done' (id 9) active, 2 times"
    assert f"\n  {what}, first in cycle" in line
    assert line.endswith("; also activated by the @activate at kernel.csl:5:3")


def leave(num_sent, num_read, *, engine, is_strict=False):
    """Return a device whose second PE has read some of what the first one sent."""
    programs = {(0, 0): sender(1, num_sent), (1, 0): receiver(1, num_read)}
    routes = eastward(1, 0, 1)
    return device_of(programs, engine=engine, routes=routes, width=2, is_strict=is_strict)


def test_wavelets_that_nobody_takes_are_named(engine):
    device, listener = leave(7, 4, engine=engine)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    what = "3 wavelets of color 1 (words) that arrived at PE (1, 0) were never received in input"
    assert f"{what} queue 2: the program has read fewer than were sent" in line


def test_the_wavelets_behind_them_are_counted_too(engine):
    device, listener = leave(40, 4, engine=engine)
    with pytest.raises(DeadlockError, match="wavelets that were not received") as caught:
        device.launch("main")
    assert "of color 1 (words) that arrived at PE (1, 0) were never received" in str(caught.value)
    assert listener.lines == []


def test_a_strict_run_ends_with_an_error_where_wavelets_are_left(engine):
    device, listener = leave(5, 4, engine=engine, is_strict=True)
    device.launch("main")
    with pytest.raises(SimulationError, match=r"1 wavelet of color 1 \(words\) that arrived at PE"):
        device.stop()
    assert listener.lines == []


def test_what_is_held_up_behind_them_is_counted_too(engine):
    deaf = Kernel("deaf")
    deaf.queue(4, color=1, is_input=True)
    deaf.function("main")
    programs = {(0, 0): sender(1, 12), (1, 0): deaf.finish()}
    device, listener = device_of(programs, engine=engine, routes=eastward(1, 0, 1), width=2)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    counts = re.findall(r"(\d+) wavelets of color 1 \(words\) (that arrived|still wait) at", line)
    assert [what for _, what in counts] == ["that arrived", "still wait"]
    assert sum(int(count) for count, _ in counts) == 12


def test_a_run_that_takes_everything_says_nothing(engine):
    device, listener = leave(6, 6, engine=engine, is_strict=True)
    device.launch("main")
    device.stop()
    assert listener.lines == []


def test_each_reason_says_what_to_write(engine):
    blocked = Kernel("blocked")
    blocked.queue(2, color=1, is_input=True)
    blocked.label("take")
    blocked.emit(Opcode.END_TASK)
    blocked.task(TaskKind.DATA, 2, "take", is_blocked=True)
    blocked.function("main")
    deaf = Kernel("deaf")
    deaf.queue(4, color=1, is_input=True)
    deaf.function("main")
    programs = {(0, 0): sender(1, 2), (1, 0): blocked.finish(), (2, 0): deaf.finish()}
    routes = {(0, 0, 1): route(RAMP, EAST), (1, 0, 1): route(WEST, RAMP, EAST)}
    routes[2, 0, 1] = route(WEST, RAMP)
    device, listener = device_of(programs, engine=engine, routes=routes, width=3)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert "at PE (1, 0) were never received in input queue 2: its data task 'take'" in line
    assert "at PE (2, 0) were never received in input queue 4: no data task and no" in line


def test_control_wavelets_are_called_so(engine):
    kernel = Kernel("controls")
    base = kernel.data("sent", ScalarType.U32, [0])
    kernel.function("main")
    target = kernel.outgoing(1, 1, is_control=True)
    kernel.operate(MOV32, target, src1=kernel.vector(base, 1))
    deaf = Kernel("deaf")
    deaf.queue(4, color=1, is_input=True)
    deaf.function("main")
    programs = {(0, 0): kernel.finish(), (1, 0): deaf.finish()}
    device, listener = device_of(programs, engine=engine, routes=eastward(1, 0, 1), width=2)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert "1 control wavelet of color 1" in line
    assert "let the command ignore the compute element" in line


def test_control_wavelets_among_others_are_counted(engine):
    word = commands(0, ignore=False, entry=40)
    programs = {(0, 0): talker(1, [7, (word,), 8]), (1, 0): receiver(1, 1)}
    device, listener = device_of(programs, engine=engine, routes=eastward(1, 0, 1), width=2)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert "2 wavelets, 1 control wavelet among them, of color 1" in line


def test_a_control_wavelet_that_is_taken_as_an_element_is_warned_of(engine):
    word = commands(0, ignore=False, entry=40)
    programs = {(0, 0): talker(1, [(word,)]), (1, 0): receiver(1, 1)}
    device, listener = device_of(programs, engine=engine, routes=eastward(1, 0, 1), width=2)
    device.launch("main")
    device.stop()
    (line,) = listener.lines
    assert line.startswith("warning: operations took the words of control wavelets as elements")
    assert "\n  kernel.csl:20:3: @mov32, once, first in cycle" in line


def test_the_warnings_come_before_an_error(engine):
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=40)
    kernel.function("main")
    vector = kernel.vector(base, 40)
    for line in (5, 6):
        kernel.operate(MOV32, vector, src1=vector, config=background(3), line=line)
    zero = kernel.immediate(ScalarType.U16, 0)
    kernel.emit(Opcode.TRAP, ra=zero, imm=kernel.message("no"))
    device, listener = device_of(kernel.finish(), engine=engine)
    with pytest.raises(SimulationError, match=": no\n"):
        device.launch("main")
    assert [line.partition(":")[0] for line in listener.lines] == ["warning"]


def test_the_warnings_come_before_a_deadlock_of_the_host(engine):
    routes = {(0, 0, 1): replace(route(RAMP, RAMP), to_host=True)}
    device, listener = device_of(busy_program(), engine=engine, routes=routes)
    device.launch("main")
    with pytest.raises(DeadlockError, match="nothing moves any more"):
        device.receive_words(1, 1)
    assert [line.partition(":")[0] for line in listener.lines] == ["warning"]


def test_nobody_is_told_who_did_not_ask():
    image = make_image(WSE3, busy_program())
    listener = Listener()
    device = Device(image, WSE3, engine="reference", limits=RunLimits(observer=listener))
    device.load()
    device.machine.launch("main")
    device.stop()
    assert listener.lines == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("@assert(n ==  4);", "assertion failed: n == 4"),
        ('@assert(n == 4, "four at a time");', "assertion failed: n == 4: four at a time"),
    ],
)
def test_a_failed_assertion_shows_its_condition_and_place(engine, statement, message):
    image = compile_pe(statement, "var n: i16 = 3;", width=2)
    device = Device(image, load_architecture(image.arch), engine=engine)
    device.load()
    with pytest.raises(SimulationError) as caught:
        device.launch("run")
    first, second = str(caught.value).splitlines()
    assert first == f"PE (0, 0) at cycle {caught.value.place.cycle}: {message}"
    assert re.fullmatch(r"  at pe\.csl:\d+:3", second)


@pytest.mark.parametrize(
    ("statement", "declarations", "message"),
    [
        (
            "_ = g(1);",
            "const F = *const fn (i16) i16; var g: F = undefined;",
            "a call through a `*const fn (i16) i16` that leads to no function: assign one first",
        ),
        (
            "@activate(@get_local_task_id(n));",
            "var n: u16 = 3; task t() void {}\ncomptime { @bind_local_task(t, NINE); }",
            "no local task is bound to the id that `@activate` gets",
        ),
        (
            "_ = @get_tensor_ptr(900 + n);",
            "var n: u16 = 3;",
            "no symbol has the number that `@get_tensor_ptr` gets",
        ),
    ],
)
def test_what_nobody_asserted_is_no_failed_assertion(engine, statement, declarations, message):
    declarations = declarations.replace("NINE", "@get_local_task_id(9)")
    image = compile_pe(statement, declarations)
    device = Device(image, load_architecture(image.arch), engine=engine)
    device.load()
    with pytest.raises(SimulationError) as caught:
        device.launch("run")
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"PE (0, 0) at cycle {caught.value.place.cycle}: {message}")
    assert re.fullmatch(r"  at pe\.csl:\d+:\d+", second)


def test_words_that_the_host_never_asks_for_are_named(engine):
    """M83: what a PE sent to the host is left over too."""
    layout = """
      const memcpy = @import_module("<memcpy/get_params>", .{
        .width = 2, .height = 1, .MEMCPYD2H_1 = @get_color(5) });
      layout {
        @set_rectangle(2, 1);
        for (@range(u16, 2)) |x| {
          @set_tile_code(x, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(x) });
        }
        @export_name("main", fn () void);
      }"""
    program = """
      param memcpy_params: comptime_struct;
      const sys = @import_module("<memcpy/memcpy>", memcpy_params);
      const oq = @get_output_queue(2);
      const out = @get_dsd(fabout_dsd, .{
        .fabric_color = sys.MEMCPYD2H_1, .extent = 8, .output_queue = oq });
      fn main() void { @mov32(out, 7); sys.unblock_cmd_stream(); }
      comptime {
        @initialize_queue(oq, .{ .color = sys.MEMCPYD2H_1 });
        @export_symbol(main);
      }"""
    options = CompileOptions(entry="layout.csl", architecture=WSE3)
    image = compile_program(options, MemoryFiles({"layout.csl": layout, "pe.csl": program}))
    for num_words, has_host in ((7, True), (8, True), (7, False)):
        device, listener = reviewed(image, engine=engine, has_host=has_host)
        device.launch("main")
        device.receive_words(5, num_words)
        device.stop()
        assert len(listener.lines) == (num_words == 7 and has_host)
        for line in listener.lines:
            assert "2 wavelets of color 5" in line
            assert "that PEs (0, 0), (1, 0) sent to the host were never asked for" in line


def test_wavelets_are_named_also_after_an_error_that_the_script_caught(engine):
    device, listener = leave(7, 4, engine=engine)
    device.launch("main")
    device._failed(SimulationError("caught"))  # as every error is told before it is raised
    device.stop()
    (line,) = listener.lines
    assert "3 wavelets of color 1 (words) that arrived at PE (1, 0) were never received" in line


class Log(RunReader):
    """Notes that the run has ended."""

    ends = ()

    def ended(self, *, is_well):
        self.ends += (is_well,)


def test_what_a_program_prints_ends_also_where_a_strict_run_fails(engine):
    device, _ = leave(5, 4, engine=engine, is_strict=True)
    device._limits = replace(device._limits, log=Log())
    device.launch("main")
    with pytest.raises(SimulationError):
        device.stop()
    assert device._limits.log.ends == (True,)
