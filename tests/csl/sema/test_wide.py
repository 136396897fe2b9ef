"""What integers of more than 32 bits are refused for, and what they become in IR."""

import pytest

from onewafer.csl import ir

DECLARATIONS = """
const red: color = @get_color(2);
const queue = @get_input_queue(2);
const data = @get_data_task_id(queue);
var a = @zeros([8]u64);
var n: u48 = 1;
var x: u32;
fn next(y: u64) u64 { return y + 1; }
fn store(y: u64, at: *u64) void { at.* = y; }
task take(word: u64) void { x = @as(u32, word); }
"""


@pytest.mark.parametrize(
    ("statement", "roots", "text"),
    [
        ("x = n;", "", "convert"),
        ("x = a[0] + x;", "", "convert"),
        ("@mov32(&x, a[1]);", "", "convert"),
        ("const i: i32 = n;", "", "convert"),
        ("@map(next, @get_dsd(mem1d_dsd, .{ .base_address = &a, .extent = 8 }), &x);", "", "DSD"),
        ("_ = @get_dsd(mem1d_dsd, .{ .base_address = &a, .extent = 8 });", "", "@ptrcast(*[n]u32"),
        ("const p = @ptrcast(*u64, &n);", "", "`u48` in memory is extended to 64 bits"),
        ("if (n) { }", "", "a condition is of type `bool`"),
        ("const b = n and x == 1;", "", "a condition is of type `bool`"),
        ("n = a[0];", "", "`@as(u48, …)`"),
        ("", "@export_symbol(n);", "8, 16, 32 or 64 bits"),
        ("", "@bind_data_task(take, data);", "a wavelet carries 16 or 32 bits"),
        ("var y: u65 = 1;", "", "integers of more than 64 bits"),
        ("x = @as(u65, n) >> 3;", "", "integers of more than 64 bits"),
    ],
)
def test_what_is_refused(analyze, statement, roots, text):
    bound = "@initialize_queue(queue, .{ .color = red });" + roots
    source = f"{DECLARATIONS}\nfn run() void {{ {statement} }}\ncomptime {{ {bound} }}"
    result = analyze(source)
    found = [d for d in result.errors if text in f"{d.message} {d.help}"]
    assert len(found) == 1, [f"{d.message} {d.help}" for d in result.errors]


def test_functions_for_the_host_take_words(analyze):
    layout = """
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{});
  @export_name("f", fn (u64) void);
}"""
    program = "fn f(x: u64) void { _ = x; }\ncomptime { @export_symbol(f); }"
    error = analyze(layout, files={"pe.csl": program}).errors[0]
    assert (error.code, "two halves" in error.help) == ("type-mismatch", True)


@pytest.mark.parametrize(
    ("statement", "called"),
    [
        ("a[0] = a[1] + a[2] & ~n;", []),
        ("a[0] = a[1] << 7 >> 40;", []),
        ("a[0] = a[1] * 1024 / 16 % 256;", []),
        ("a[0] = @as(u64, x) * @as(u64, x);", ["multiply_words"]),
        ("a[0] = a[1] * a[2];", ["multiply"]),
        ("a[0] = a[1] << x;", ["shift_left"]),
        ("x = x << a[0];", ["count_of"]),
        ("a[0] /= 10; a[1] %= 10;", ["divide", "remainder"]),
        ("n = @as(u48, @as(f32, n));", ["to_single", "from_single"]),
    ],
)
def test_what_is_called(analyze, statement, called):
    result = analyze(f"{DECLARATIONS}\nfn run() void {{ {statement} }}")
    functions = [f.name.rsplit(".")[-1] for f in result.instance.functions]
    assert [name for name in called if name not in functions] == []
    assert bool(called) == any(f.name.startswith("wide.") for f in result.instance.functions)


def test_a_parameter_is_a_pair(analyze):
    result = analyze(f"{DECLARATIONS}\nfn run() void {{ a[0] = next(a[1]); }}")
    (parameter,) = result.function("next").parameters
    assert parameter.type is ir.WideType.U64
