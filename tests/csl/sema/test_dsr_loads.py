"""Which load an operation on an explicit DSR goes by: its queue, and whether it is asynchronous."""

from __future__ import annotations

import pytest

from onewafer.csl import ir


def test_a_register_has_the_microthread_of_the_fabric_whatever_else_is_loaded(analyze):
    """By another function, the last one that loads."""
    source = """
    var x: [2]u32;
    const r = @get_dsr(dsr_dest, 1);
    const memory = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> x[i] });
    const out = @get_dsd(fabout_dsd,
        .{ .fabric_color = @get_color(1), .extent = 1, .output_queue = @get_output_queue(3) });
    fn prepare() void { @load_to_dsr(r, out, .{ .async = true }); }
    fn keep() void { @load_to_dsr(r, memory); @mov32(r, 7); }
    fn send() void { @mov32(r, x[0], .{ .async = true }); }
    fn main() void { prepare(); keep(); prepare(); send(); }
    comptime { @export_symbol(main); }
    """
    (operation,) = [
        s
        for s in analyze(source, arch="wse2").function("send").body
        if isinstance(s, ir.DsdStatement)
    ]
    assert operation.config.microthread == 3


REGISTER = """
    var x: [2]u32;
    const r = @get_dsr(dsr_dest, 1);
    const first = @get_dsd(fabout_dsd,
        .{ .fabric_color = @get_color(1), .extent = 1, .output_queue = @get_output_queue(3) });
    const second = @get_dsd(fabout_dsd,
        .{ .fabric_color = @get_color(2), .extent = 1, .output_queue = @get_output_queue(4) });
"""
LOAD = "fn load() void { @load_to_dsr(r, first); }"
LOAD_OTHER = "fn load_other() void { @load_to_dsr(r, second); }"
SEND = "fn send() void { @mov32(r, x[0], .{ .async = true }); }"


@pytest.mark.parametrize("calls", ["load(); send();", "if (x[1] == 1) send(); load(); send();"])
def test_a_register_is_loaded_wherever_the_only_load_stands(analyze, calls):
    """Functions are analysed in the order of their calls; that of the load goes first."""
    result = analyze(f"{REGISTER} fn main() void {{ {calls} }} {LOAD} {SEND}", arch="wse2")
    (operation,) = result.function("send").body
    assert operation.config.microthread == 3


LOAD_ASYNC = (
    "fn load_async() void { @load_to_dsr(r, first, .{ .async = true, .activate = done }); }"
)
DONE = "const done = @get_local_task_id(9); task finish() void {} comptime { @bind_local_task(finish, done); }"


@pytest.mark.parametrize("config", ["", ", .{}", ", .{ .async = true }"])
@pytest.mark.parametrize("is_here", [False, True])
def test_an_operation_is_asynchronous_by_the_load_of_its_register(analyze, config, is_here):
    """SDK documentation, "DSDs": the operation need not say it again."""
    load = "@load_to_dsr(r, first, .{ .async = true, .activate = done });" if is_here else ""
    body = f"fn main() void {{ load_async(); {load} @mov32(r, x[0]{config}); }}"
    result = analyze(f"{DONE} {REGISTER} {body} {LOAD_ASYNC}", arch="wse2")
    operation = result.function("main").body[-1]
    assert (operation.config.microthread, operation.config.activate) == (3, 9)


@pytest.mark.parametrize("register", ["@get_dsr(dsr_dest, 1)", "m.r", "other_name"])
@pytest.mark.parametrize("load", ["", "load(); "])
def test_no_operation_is_synchronous_because_it_was_looked_at_early(analyze, register, load):
    """Nothing in the spelling says that the operation uses the register that is loaded later."""
    declared = 'const m = @import_module("m.csl"); const other_name = m.r;'
    functions = f"""
      fn main() void {{ {load}send(); nested(); }}
      fn nested() void {{ load_async(); }}
      fn send() void {{ @mov32({register}, x[0]); }}
    """
    files = {"m.csl": "const r = @get_dsr(dsr_dest, 1);"}
    source = f"{declared} {DONE} {REGISTER} {functions} {LOAD} {LOAD_ASYNC}"
    error = analyze(source, files=files, arch="wse2").error
    assert error.code == "unsupported-feature"
    assert "with `.async` and without it" in error.message


@pytest.mark.parametrize("calls", ["load(); load_async();", "load_async(); load();"])
def test_whether_an_operation_is_asynchronous_is_known(analyze, calls):
    functions = f"fn main() void {{ {calls} send(); }} {LOAD} {LOAD_ASYNC}"
    by_load = "fn send() void { @mov32(r, x[0]); }"
    error = analyze(f"{DONE} {REGISTER} {functions} {by_load}", arch="wse2").error
    assert error.code == "unsupported-feature"
    assert "with `.async` and without it" in error.message
    assert not analyze(f"{DONE} {REGISTER} {functions} {SEND}", arch="wse2").errors


@pytest.mark.parametrize(
    "calls",
    [
        "load(); load_other(); send();",
        "load(); send(); load_other();",
        "send(); load(); load_other();",
    ],
)
def test_the_queue_of_a_register_that_is_the_microthread_is_known(analyze, calls):
    functions = f"fn main() void {{ {calls} }} {LOAD} {LOAD_OTHER} {SEND}"
    error = analyze(REGISTER + functions, arch="wse2").error
    assert error.code == "unsupported-feature"
    assert "is loaded with different queues" in error.message


def test_a_register_with_several_queues_is_known_behind_its_load_or_on_a_microthread(analyze):
    here = "load_other(); @load_to_dsr(r, first); @mov32(r, x[0], .{ .async = true });"
    named = "load(); load_other(); @mov32(r, x[0], .{ .async = true, .ut_id = @get_ut_id(5) });"
    for body, arch, microthread in ((here, "wse2", 3), (named, "wse3", 5)):
        functions = f"fn main() void {{ {body} }} {LOAD} {LOAD_OTHER}"
        operation = analyze(REGISTER + functions, arch=arch).function("main").body[-1]
        assert operation.config.microthread == microthread
