"""Tasks, queues, channels and symbols of a PE program."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.diagnostics import Severity
from onewafer.image import ChannelKind, QueueBinding, Rotation, TaskKind, channel

DECLARED = """
var n: i16 = 0;
task step() void { n += 1; }
task got(x: f32) void { n += 1; }
task pair(low: u16, high: u16) void { n += 1; }
const id = @get_local_task_id(9);
const queue = @get_input_queue(2);
const red = @get_color(1);
const data = if (@is_arch("wse2")) @get_data_task_id(red) else @get_data_task_id(queue);
const control = @get_control_task_id(40);
task told(bits: i16) void { n = bits; }
"""


def _comptime(statements):
    return f"{DECLARED}\ncomptime {{ {statements} }}"


@pytest.mark.parametrize(("arch", "number"), [("wse2", 1), ("wse3", 2)])
def test_data_tasks_are_named_by_color_or_queue(analyze, arch, number):
    source = _comptime("@bind_data_task(got, data); @initialize_queue(queue, .{ .color = red });")
    (task,) = analyze(source, arch=arch).instance.tasks
    assert (task.kind, task.task_id) == (TaskKind.DATA, number)
    assert [p.name for p in task.function.parameters] == ["x"]


def test_control_tasks_get_sixteen_bits_or_nothing(analyze):
    source = _comptime("@bind_control_task(told, control);")
    (task,) = analyze(source).instance.tasks
    assert (task.kind, task.task_id) == (TaskKind.CONTROL, 40)
    assert [p.name for p in task.function.parameters] == ["bits"]
    (task,) = analyze(_comptime("@bind_control_task(step, control);")).instance.tasks
    assert task.function.parameters == ()


def test_channels_for_control_tasks_are_unblocked(analyze):
    gate = 'if (@is_arch("wse2")) @unblock(red) else @unblock(queue);'
    initialized = "@initialize_queue(queue, .{ .color = red });"
    source = _comptime(f"@bind_control_task(told, control); {initialized} {gate}")
    assert analyze(source).instance.unblocked_channels == (channel(ChannelKind.INPUT_QUEUE, 2),)
    on_wse2 = analyze(source, arch="wse2").instance
    assert on_wse2.unblocked_channels == (channel(ChannelKind.COLOR, 1),)
    with_data = _comptime(
        f"@bind_data_task(got, data); {initialized} {gate} @unblock(step); @bind_local_task(step, id);"
    )
    assert analyze(with_data).instance.unblocked_channels == ()


def test_local_tasks_start_active_or_blocked(analyze):
    source = _comptime("@bind_local_task(step, id); @activate(step); @block(id);")
    (task,) = analyze(source).instance.tasks
    assert (task.is_active, task.is_blocked) == (True, True)


def test_blocked_channels(analyze):
    source = _comptime(
        "@bind_data_task(got, data); @initialize_queue(queue, .{ .color = red }); @block(data);"
    )
    assert analyze(source).instance.blocked_channels == (channel(ChannelKind.INPUT_QUEUE, 2),)
    assert analyze(source, arch="wse2").instance.blocked_channels == (
        channel(ChannelKind.COLOR, 1),
    )


def test_queues(analyze):
    source = _comptime(
        "@initialize_queue(queue, .{ .color = red }); @initialize_queue(@get_output_queue(3), .{ .color = red });"
    )
    assert analyze(source).instance.queues == (
        QueueBinding(3, 1, is_input=False),
        QueueBinding(2, 1, is_input=True),
    )


def test_run_time_gates(body):
    declared = _comptime("@bind_local_task(step, id);")
    local = channel(ChannelKind.LOCAL_TASK, 9)
    assert body("@activate(id); @block(step); @unblock(id);", declared) == [
        "activate 9", f"block {local}", f"unblock {local}",
    ]  # fmt: skip
    chosen = body("const ids = [2]local_task_id{ id, id }; @activate(ids[n]);", declared)
    assert any("activate 9" in line for line in chosen)
    for verb in ("block", "unblock"):
        one = body(f"const ids = [2]local_task_id{{ id, id }}; @{verb}(ids[n]);", declared)
        assert any(f"{verb} {local}" in line.split(" else ")[0] for line in one)
    assert body("@block(queue);", declared) == [f"block {channel(ChannelKind.INPUT_QUEUE, 2)}"]
    assert body("@block(red);", declared, arch="wse2") == [f"block {channel(ChannelKind.COLOR, 1)}"]
    assert body("@block(red);", declared)[0].startswith("type-mismatch")


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        ("@bind_local_task(step, id); @bind_local_task(step, id);", "duplicate-task-binding"),
        ("@bind_local_task(got, id);", "type-mismatch"),
        ("@bind_local_task(id, id);", "type-mismatch"),
        ("@bind_local_task(step, data);", "type-mismatch"),
        ("@bind_local_task(step, @get_local_task_id(30));", "id-out-of-range"),
        ("@activate(step);", "unbound-task"),
        ("@activate(step); @block(step); @unblock(step);", "unbound-task"),
        ("@activate(id);", "unbound-task"),
        ("@initialize_queue(queue);", "missing-field"),
        ("@initialize_queue(queue, .{ .color = red }); @initialize_queue(queue, .{ .color = red });",
         "duplicate-queue"),
        ("@initialize_queue(@get_input_queue(0), .{ .color = red });", "id-out-of-range"),
        ("_ = @get_input_queue(8);", "id-out-of-range"),
        ("@export_symbol(n); @export_symbol(n);", "duplicate-declaration"),
        ('@export_symbol(7, "seven");', "type-mismatch"),
        ("@export_symbol(&n);", "wrong-argument-count"),
        ("@set_rectangle(1, 1);", "wrong-context"),
        ("@bind_control_task(step, 1);", "type-mismatch"),
        ("@bind_control_task(got, @get_control_task_id(1));", "type-mismatch"),
        ("@bind_control_task(pair, @get_control_task_id(1));", "type-mismatch"),
        ("@bind_control_task(step, @get_control_task_id(33));", "id-out-of-range"),
        ("_ = @get_control_task_id(64);", "id-out-of-range"),
        ("@bind_control_task(step, control); @bind_control_task(step, control);",
         "duplicate-task-binding"),
        ("@bind_control_task(step, control); @activate(step);", "type-mismatch"),
        ("@bind_control_task(step, control); @block(step);", "type-mismatch"),
        ("@block(control);", "type-mismatch"),
        ("step();", "not-callable"),
    ],
)  # fmt: skip
def test_mistake(analyze, statements, code):
    assert analyze(_comptime(statements)).codes == [code]


def test_data_task_of_a_queue_without_color_is_a_warning(analyze):
    """Programs bind the tasks of all PEs on each: those that none can start are left out."""
    found = analyze(_comptime("@bind_data_task(got, data);"))
    assert [(d.code, d.severity) for d in found.diagnostics] == [
        ("queue-not-initialized", Severity.WARNING)
    ]


@pytest.mark.parametrize(
    ("type_", "advice"),
    [
        ("[2]u16", "an element each time"),
        ("point", "`packed struct`"),
        ("u64", "`u32` each time"),
        ("u12", "`u16`"),
        ("comptime_int", "`u16`"),
    ],
)
def test_what_no_wavelet_carries_is_refused_once(analyze, type_, advice):
    declared = f"const point = struct {{ x: u16 }}; task takes(x: {type_}) void {{}}"
    bound = "@initialize_queue(queue, .{ .color = red }); @bind_data_task(takes, data);"
    (error,) = analyze(f"{declared}\n{_comptime(bound)}").errors
    assert (error.code, advice in error.help) == ("type-mismatch", True)


@pytest.mark.parametrize("type_", ["[2]u16", "point", "u64", "u12", "u32", "f32", "comptime_int"])
@pytest.mark.parametrize("others", ["", "first: u16, ", "first: u64, "])
def test_what_no_control_wavelet_carries_is_refused_once(analyze, type_, others):
    declared = f"const point = struct {{ x: u16 }}; task takes({others}x: {type_}) void {{}}"
    (error,) = analyze(f"{declared}\n{_comptime('@bind_control_task(takes, control);')}").errors
    assert (error.code, "(data: u16)" in error.help) == ("type-mismatch", True)


def test_colors_and_local_tasks_share_numbers_on_wse2(analyze):
    source = _comptime("@bind_data_task(got, data); @bind_local_task(step, @get_local_task_id(1));")
    assert analyze(source, arch="wse2").codes == ["duplicate-task-binding"]


def test_ut_ids_belong_to_wse3(analyze):
    assert analyze(_comptime("_ = @get_ut_id(1);"), arch="wse2").codes == [
        "unsupported-on-architecture"
    ]


def test_symbols(analyze):
    source = (
        DECLARED
        + """
        var a: [4]f32; var p: [*]f32 = &a; const q: [*]f32 = &a;
        fn main(x: i16) void { n = x; }
        comptime { @export_symbol(p, "p"); @export_symbol(q, "q"); @export_symbol(main); @export_symbol(n); }
    """
    )
    p, q, main, n = analyze(source).instance.exports
    assert (p.target.variable.name, q.target.variable.name, n.target.variable.name) == (
        "p",
        "a",
        "n",
    )
    assert isinstance(main.target, ir.Function)
    assert [x.name for x in main.target.parameters] == ["x"]


def test_library_modules(body):
    declared = """
        const sys = @import_module("<memcpy/memcpy>", .{});
        const place = @import_module("<layout>");
        const clock = @import_module("<time>");
        const turn = @import_module("<directions>");
        var x: u16 = 0; var stamp: [3]u16; var d: direction = WEST;
    """
    assert body("x = place.get_x_coord();", declared) == ["[&x] = place.get_x_coord()"]
    assert body("sys.unblock_cmd_stream(); clock.get_timestamp(&stamp);", declared) == [
        "sys.unblock_cmd_stream()", "clock.get_timestamp(&stamp)",
    ]  # fmt: skip
    assert body("d = turn.flip(d);", declared) == ["[&d] = turn.flip([&d])"]
    assert body("@comptime_assert(comptime turn.flip(NORTH) == SOUTH);", declared) == []


def test_the_data_task_of_older_programs_for_the_host_is_taken(analyze):
    program = """
      const sys = @import_module("<memcpy/memcpy>", .{ .LAUNCH = @get_color(8) });
      comptime { @rpc(@get_data_task_id(%s)); }
    """
    assert not analyze(program % "sys.LAUNCH", arch="wse2").errors
    assert analyze("comptime { @rpc(3); }", arch="wse2").codes == ["type-mismatch"]
    assert analyze(program % "@get_color(9)", arch="wse2").codes == ["unsupported-feature"]


ROTATING = "@bind_rotating_tasks(got, told, data, .{ .limit = 3 });"
QUEUE = "@initialize_queue(queue, .{ .color = red });"


def another_pair(queue, config=""):
    iq = f"@get_input_queue({queue})"
    return (
        f"@bind_rotating_tasks(got, told, @get_data_task_id({iq}), .{{ .limit = 3 }});"
        f"@initialize_queue({iq}, .{{ .color = @get_color({queue + 4}){config} }});"
    )


def test_rotating_tasks_are_a_data_task_and_control_task_zero(analyze):
    result = analyze(_comptime(f"{ROTATING.replace('= 3', '= 3, .init = 2')} {QUEUE}"))
    assert result.instance.rotations == (Rotation(2, 0, 3, 2),)
    assert [(task.kind, task.task_id) for task in result.instance.tasks] == [
        (TaskKind.DATA, 2),
        (TaskKind.CONTROL, 0),
    ]
    assert [d.code for d in result.diagnostics] == ["undefined-result"]


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        (f"{ROTATING} {QUEUE} {ROTATING}", "duplicate-task-binding"),
        (f"{ROTATING} {QUEUE} @bind_data_task(got, data);", "duplicate-task-binding"),
        (f"{ROTATING}", "queue-not-initialized"),
        (f"{ROTATING.replace('told', 'got')} {QUEUE}", "type-mismatch"),
        (f"{ROTATING.replace('.limit = 3', '.init = 0')} {QUEUE}", "missing-field"),
        (f"{ROTATING.replace('= 3', '= -1')} {QUEUE}", "value-out-of-range"),
        ("@set_control_task_table(); @set_control_task_table();", "duplicate-handler"),
        ("@set_control_task_table(.{ .stride = 8 });", "value-out-of-range"),
        ("@initialize_queue(queue, .{ .color = red, .ctrl_table_id = -1 });", "value-out-of-range"),
        ("@initialize_queue(queue, .{ .color = red, .ctrl_table_id = 64 });", "value-out-of-range"),
        (
            "@initialize_queue(@get_output_queue(3), .{ .color = red, .ctrl_table_id = 1 });",
            "unsupported-on-architecture",
        ),
        (f"{ROTATING} {QUEUE} {another_pair(3)}", "duplicate-task-binding"),
        (
            f"{ROTATING} {QUEUE} {another_pair(3, ', .ctrl_table_id = 1')} {another_pair(4)}",
            "unsupported-on-architecture",
        ),
    ],
)
def test_what_keeps_tasks_from_rotating(analyze, statements, code):
    assert analyze(_comptime(statements)).codes == [code]


@pytest.mark.parametrize("statement", [ROTATING, "@set_control_task_table();"])
def test_tasks_do_not_rotate_on_wse2(analyze, statement):
    assert analyze(_comptime(statement), arch="wse2").codes == ["unsupported-on-architecture"]


OPERATION = """
const in = @get_dsd(fabin_dsd, .{ .fabric_color = red, .extent = 2, .input_queue = queue });
var words: [2]u32;
const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> words[i] });
fn receive(next: local_task_id) void { @mov32(to, in, SETTINGS); }
fn run() void { receive(id); }
"""


def receiving(settings, *bound):
    tasks = "".join(f"task t{n}() void {{}}" for n in bound)
    binds = "".join(f"@bind_local_task(t{n}, @get_local_task_id({n}));" for n in bound)
    program = OPERATION.replace("SETTINGS", settings)
    return _comptime(f"{QUEUE} {binds} @export_symbol(run);") + tasks + program


def configs_of(function):
    """Return the settings of the operations of a function, and of what it branches to."""
    operations = [s for s in walk.statements(function.body) if isinstance(s, ir.DsdStatement)]
    return [s.config for s in operations]


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        (".activate = next", "activate", int),
        (".unblock = next", "unblock", lambda n: channel(ChannelKind.LOCAL_TASK, n)),
        (".on_control = .{ .activate = next }", "control_activate", int),
        (".on_control = .{ .unblock = next }", "control_unblock", None),
    ],
)
def test_settings_may_have_ids_of_run_time(analyze, settings, field, value):
    source = receiving(f".{{ .async = true, {settings} }}", "12", "14")
    function = analyze(source).function("receive")
    found = [getattr(config, field) for config in configs_of(function)]
    value = value or (lambda n: channel(ChannelKind.LOCAL_TASK, n))
    assert found == [value(12), value(14)]


def test_two_ids_of_run_time_are_looked_for_one_after_the_other(analyze):
    settings = ".{ .async = true, .activate = next, .on_control = .{ .activate = next } }"
    function = analyze(receiving(settings, "12", "14")).function("receive")
    found = [(c.activate, c.control_activate) for c in configs_of(function)]
    assert found == [(12, 12), (12, 14), (14, 12), (14, 14)]


@pytest.mark.parametrize(
    ("settings", "bound", "code"),
    [
        (".{ .async = true, .activate = next }", (), "unbound-task"),
        (".{ .activate = next }", ("12",), "missing-field"),
        (".{ .async = true, .ut_id = next }", ("12",), "not-comptime"),
    ],
)
def test_ids_of_run_time_that_mean_nothing(analyze, settings, bound, code):
    assert analyze(receiving(settings, *bound)).codes == [code]


LOADING = """{
  @load_to_dsr(@get_dsr(dsr_src1, 1), in, .{ .async = true, LOADED });
  @mov32(to, @get_dsr(dsr_src1, 1), .{ .async = true, OWN });
}"""


def loading(loaded, own="", *bound):
    source = receiving("", *(bound or ("12", "14")))
    call = source[source.index("{ @mov32") : source.index("\nfn run")]
    text = LOADING.replace("LOADED", loaded).replace(", OWN", f", {own}" if own else "")
    return source.replace(call, text)


@pytest.mark.parametrize(
    ("loaded", "own", "field", "found"),
    [
        (".activate = next", "", "activate", [12, 14]),
        (".activate = next", ".activate = t12", "activate", [12]),
        (".on_control = .{ .activate = next }", "", "control_activate", [12, 14]),
        (".ut_id = @get_ut_id(numbers[0])", "", "microthread", [*range(8)]),
        (".ut_id = @get_ut_id(numbers[0])", ".ut_id = @get_ut_id(6)", "microthread", [*range(8)]),
        (".ut_id = @get_ut_id(3)", ".ut_id = @get_ut_id(6)", "microthread", [3]),
        (".activate = t12", ".ut_id = @get_ut_id(6)", "microthread", [6]),
        (".activate = t12", "", "microthread", [2]),
    ],
)
def test_registers_bring_their_ids(analyze, loaded, own, field, found):
    """The microthread of a register goes before that of the operation (SDK)."""
    source = loading(loaded, own) + "var numbers: [1]u16;"
    function = analyze(source).function("receive")
    assert [getattr(config, field) for config in configs_of(function)] == found


def test_microthread_is_that_of_the_first_fabric_operand(analyze):
    """A destination that is no register goes before a register (SDK)."""
    source = loading(".ut_id = @get_ut_id(3)", ".ut_id = @get_ut_id(6)").replace(
        "@mov32(to,", "@mov32(out,"
    )
    source += """
const out = @get_dsd(fabout_dsd, .{
  .fabric_color = red, .extent = 2, .output_queue = @get_output_queue(5) });
comptime { @initialize_queue(@get_output_queue(5), .{ .color = red }); }
"""
    (config,) = configs_of(analyze(source).function("receive"))
    assert config.microthread == 6


def test_ids_that_mean_too_many_operations(analyze):
    bound = [str(n) for n in range(10, 19)]
    settings = ".{ .async = true, .activate = next, .on_control = .{ .activate = next } }"
    (error,) = analyze(receiving(settings, *bound)).errors
    assert (error.code, "9 · 9 = 81" in error.message) == ("not-comptime", True)


@pytest.mark.parametrize(
    ("arch", "gate", "wanted"),
    [
        ("wse3", "@get_ut_id(@as(u16, n))", [(ChannelKind.MICROTHREAD, i) for i in range(8)]),
        ("wse3", "queues[n]", [(ChannelKind.INPUT_QUEUE, 2)]),
        ("wse3", "@get_data_task_id(queues[n])", [(ChannelKind.INPUT_QUEUE, 2)]),
        ("wse2", "@get_color(@as(u16, n))", [(ChannelKind.COLOR, 1)]),
        ("wse2", "@get_data_task_id(@get_color(@as(u16, n)))", [(ChannelKind.COLOR, 1)]),
    ],
)
def test_gates_of_run_time(analyze, arch, gate, wanted):
    source = _comptime(f"{QUEUE} @export_symbol(run);")
    source += (
        f"const queues = [2]input_queue{{ queue, queue }}; fn run() void {{ @block({gate}); }}"
    )
    body = analyze(source, arch=arch).function("run").body
    found = [s.channel for s in walk.statements(body) if isinstance(s, ir.SetBlocked)]
    assert found == [channel(*what) for what in wanted]


def test_gates_of_another_machine(analyze):
    run = "fn run() void { @block(@get_color(@as(u16, n))); }"
    assert analyze(_comptime("@export_symbol(run);") + run).codes == ["type-mismatch"]
    assert analyze(_comptime("@block(@get_ut_id(3));")).instance.blocked_channels == (
        channel(ChannelKind.MICROTHREAD, 3),
    )


@pytest.mark.parametrize(
    ("arch", "kinds"),
    [
        ("wse2", "a task id or a color"),
        ("wse3", "a task id, an input queue or a microthread"),
    ],
)
def test_what_can_be_blocked_is_listed(analyze, arch, kinds):
    error = analyze("var x: u16; fn main() void { @block(x); }", arch=arch).error
    assert error.message == f"{arch} blocks {kinds}"
