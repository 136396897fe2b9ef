"""DSDs, DSRs and vector operations."""

from __future__ import annotations

import pytest

from onewafer.csl import ir

DECLARED = """
var a: [12]f32; var m: [3, 4]f32; var h: [8]f16; var s: f32 = 0.0; var n: u16 = 3; var k: i16 = 1;
var d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> a[i] });
const e = @get_dsd(mem1d_dsd, .{ .base_address = &a, .extent = 4, .stride = 3, .offset = 2 });
const out = @get_dsd(fabout_dsd, .{ .fabric_color = @get_color(1), .extent = 4, .output_queue = @get_output_queue(2) });
const in = @get_dsd(fabin_dsd, .{ .fabric_color = @get_color(2), .extent = 4, .input_queue = @get_input_queue(3) });
const indexed = @get_dsd(fabout_dsd, .{ .fabric_color = @get_color(1), .extent = 4, .output_queue = @get_output_queue(2), .wavelet_index_offset = true });
const cleaner = @get_dsd(fabout_dsd, .{ .fabric_color = @get_color(1), .extent = 4, .output_queue = @get_output_queue(2), .zero = .{ .first_source = true } });
const id = @get_local_task_id(10);
task done() void { }
comptime {
  @bind_local_task(done, id);
  @initialize_queue(@get_output_queue(2), .{ .color = @get_color(1) });
  @initialize_queue(@get_input_queue(3), .{ .color = @get_color(2) });
}
"""
D, E = "[&d]", "mem1d(&a+8, 4u16, 3i16)"


@pytest.mark.parametrize(
    ("access", "shown"),
    [
        ("|i|{4} -> a[i]", "mem1d(&a, 4u16, 1i16)"),
        ("|i|{4} -> a[2 * i + 3]", "mem1d(&a+12, 4u16, 2i16)"),
        ("|i|{4} -> a[11 - i]", "mem1d(&a+44, 4u16, -1i16)"),
        ("|i|{4} -> a[(i + 1) * 2]", "mem1d(&a+8, 4u16, 2i16)"),
        ("|i|{3} -> m[i, i]", "mem1d(&m, 3u16, 5i16)"),
        ("|i|{3} -> m[i, 2]", "mem1d(&m+8, 3u16, 4i16)"),
        ("|i|{n} -> a[i]", "mem1d(&a, [&n], 1i16)"),
        ("|i|{4} -> a[i + n]", "mem1d((&a ADD.u16 (u16→i16([&n]) MUL.u16 4u16)), 4u16, 1i16)"),
    ],
)
def test_tensor_access(body, access, shown):
    lines = body(f"@fmovs(@get_dsd(mem1d_dsd, .{{ .tensor_access = {access} }}), 0.0);", DECLARED)
    if "n]" in access:
        assert lines[0].startswith("fmovs mem1d((&a ADD.u16")
    else:
        assert lines == [f"fmovs {shown}, -, 0f32"]


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("@fmovs(d, e);", f"fmovs {D}, -, {E}"),
        ("@fadds(d, d, e);", f"fadds {D}, {D}, {E}"),
        ("@fmacs(d, d, e, s);", f"fmacs {D}, {D}, {E}, [&s]"),
        ("@fmacs(d, d, e, a[n]);", f"fmacs {D}, {D}, {E}, [(&a ADD.u16 ([&n] SHL.u16 2u16))]"),
        ("@fadds(&s, s, d);", f"fadds [&s], [&s], {D}"),
        ("@fadds(&a[1], 1, d);", f"fadds [&a+4], 1065353216f32, {D}"),
        ("@fmovs(out, d, .{ .async = true });", f"fmovs fabout(c1 q2, 4u16, 0i16), -, {D} ut2 →-1/-1"),
        ("@fmovs(d, in, .{ .async = true, .activate = done });",
         f"fmovs {D}, -, fabin(c2 q3, 4u16, 0i16) ut3 →10/-1"),
        ("@fmovs(d, in, .{ .async = true, .unblock = id });",
         f"fmovs {D}, -, fabin(c2 q3, 4u16, 0i16) ut3 →-1/10"),
        ("@fmovs(d, e, .{ .async = false });", f"fmovs {D}, -, {E}"),
        ("@fmovs(d, e, .{ .async = true, .ut_id = @get_ut_id(5) });", f"fmovs {D}, -, {E} ut5 →-1/-1"),
        ("@mov32(out, n32());", "mov32 fabout(c1 q2, 4u16, 0i16), -, n32()"),
        ("@mov16(d, k);", f"mov16 {D}, -, [&k]"),
        ("@mov16(d, -1);", f"mov16 {D}, -, -1i16"),
        ("d = @increment_dsd_offset(d, 3, f32);", "[&d] = advance([&d], 3i16 × 4)"),
        ("d = @increment_dsd_offset(d, n, f32);", "[&d] = advance([&d], u16→i16([&n]) × 4)"),
        ("d = @set_dsd_length(d, n);", "[&d] = length([&d], [&n])"),
        ("d = @set_dsd_base_addr(d, a);", "[&d] = base([&d], &a)"),
        ("d = @set_dsd_base_addr(d, &a[2]);", "[&d] = base([&d], &a+8)"),
        ("d = @set_dsd_stride(d, k);", "[&d] = stride([&d], [&k])"),
        ("d = @set_dsd_length(e, 2);", "[&d] = mem1d(&a+8, 2u16, 3i16)"),
        ("d = @increment_dsd_offset(e, 1, f32);", "[&d] = mem1d(&a+12, 4u16, 3i16)"),
        ("@load_to_dsr(@get_dsr(dsr_src1, 2), e);", f"dsr_src12 = {E}"),
        ("@fmovs(@get_dsr(dsr_dest, 1), @get_dsr(dsr_src1, 2));", "fmovs dsr_dest1, -, dsr_src12"),
        ("@fmovs(@get_dsr(dsr_src0, 1), @get_dsr(dsr_src0, 2));", "fmovs dsr_src01, -, dsr_src02"),
        ("@fadds(@get_dsr(dsr_dest, 1), @get_dsr(dsr_src1, 1), @get_dsr(dsr_src0, 2));",
         "fadds dsr_dest1, dsr_src11, dsr_src02"),
    ],
)  # fmt: skip
def test_operation(body, statement, line):
    assert body(statement, DECLARED + "fn n32() u32 { return 7; }") == [line]


def test_microthread_of_wse2_is_the_output_queue(body):
    both = "@fadds(out, d, in, .{ .async = true });"
    assert body(both, DECLARED, arch="wse2")[0].endswith("ut2 →-1/-1")
    assert body(both, DECLARED, arch="wse3")[0].endswith("ut2 →-1/-1")
    into = "@fadds(d, d, in, .{ .async = true });"
    assert body(into, DECLARED, arch="wse2")[0].endswith("ut3 →-1/-1")


def test_completion_settings_of_a_dsr_reach_the_operation(body):
    lines = body(
        """@load_to_dsr(@get_dsr(dsr_dest, 1), out, .{ .async = true, .activate = done });
        @fmovs(@get_dsr(dsr_dest, 1), d, .{ .async = true });""",
        DECLARED,
    )
    assert lines[1].endswith("ut2 →10/-1")


SETTINGS = """
const r = @get_dsr(dsr_dest, 1);
const first = .{ .async = true, .activate = done };
const second = .{ .async = true };
"""


@pytest.mark.parametrize(
    ("code", "endings"),
    [
        # What a DSR was loaded with last counts, in the same block or in one around it.
        (
            """@load_to_dsr(r, out, first); @fmovs(r, d, .{ .async = true });
            @load_to_dsr(r, out, second); @fmovs(r, d, .{ .async = true });
            @load_to_dsr(r, e); @fmovs(r, d);""",
            ["ut2 →10/-1", "ut2 →-1/-1", None],
        ),
        (
            """@load_to_dsr(r, out, first);
            if (n == 3) { @fmovs(r, d, .{ .async = true }); }
            @load_to_dsr(r, out, second); @fmovs(r, d, .{ .async = true });""",
            ["ut2 →10/-1", "ut2 →-1/-1"],
        ),
    ],
)
def test_a_dsr_may_be_loaded_with_different_settings(analyze, code, endings):
    source = f"{DECLARED}{SETTINGS}fn main() void {{ {code} }} comptime {{ @export_symbol(main); }}"
    result = analyze(source)
    assert result.codes == []
    configs = [s.config for s in _operations(result.function("main").body)]
    shown = [c and f"ut{c.microthread} →{c.activate}/{c.unblock}" for c in configs]
    assert shown == endings


def _operations(statements):
    for statement in statements:
        match statement:
            case ir.DsdStatement():
                yield statement
            case ir.If(then=then, otherwise=otherwise):
                yield from _operations((*then, *otherwise))
            case _:
                pass


@pytest.mark.parametrize(
    "code",
    [
        # What ran before decides: a branch, a round of a loop before, another function.
        """@load_to_dsr(r, out, first);
        if (n == 3) { @load_to_dsr(r, out, second); }
        @fmovs(r, d, .{ .async = true });""",
        """@load_to_dsr(r, out, first);
        while (n < 9) {
          @fmovs(r, d, .{ .async = true });
          @load_to_dsr(r, out, second);
        }""",
        "@load_to_dsr(r, out, first); load(); @fmovs(r, d, .{ .async = true });",
        "@fmovs(r, d, .{ .async = true }); @load_to_dsr(r, out, first); load();",
    ],
)
def test_settings_that_are_not_known_are_refused(analyze, code):
    source = f"""{DECLARED}{SETTINGS}
    fn load() void {{ @load_to_dsr(r, out, second); }}
    fn main() void {{ {code} }}
    comptime {{ @export_symbol(load); @export_symbol(main); }}
    """
    error = analyze(source).error
    assert error.code == "unsupported-feature"
    assert "which of them hold here is not known" in error.message


def test_nested_loops_become_a_descriptor(analyze):
    source = """
    var m: [3, 4]f32;
    fn main() void {
      @fmovs(@get_dsd(mem4d_dsd, .{ .tensor_access = |i, j, k|{2, 3, 4} -> m[j, k] }), 0.0);
    }
    """
    (statement,) = analyze(source).function("main").body
    assert isinstance(statement, ir.DsdStatement)
    made = statement.dest.dsd
    assert made.descriptor.extents == (2, 3, 4)
    assert made.descriptor.strides == (0, 4, 1)
    assert made.extent.word == 24


def test_dsds_pass_through_functions(body):
    declared = (
        DECLARED
        + """
    fn part(o: i16, l: u16) mem1d_dsd { return @set_dsd_length(@increment_dsd_offset(d, o, f32), l); }
    fn clear(v: mem1d_dsd) void { @fmovs(v, 0.0); }
    fn send(v: fabout_dsd) void { @fmovs(v, d, .{ .async = true }); }
    """
    )
    assert body("clear(part(1, 2)); send(out);", declared) == ["clear(part(1i16, 2u16))", "send()"]
    assert body("", declared, name="part") == ["return length(advance([&d], o × 4), l)"]


INDEXED = (
    DECLARED
    + """
const column = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{3} -> m[i, 0], .wavelet_index_offset = true });
const block = @get_dsd(mem4d_dsd, .{ .tensor_access = |i, j|{2, 2} -> m[i, j], .wavelet_index_offset = true });
const short = @set_dsd_length(column, 2);
"""
)


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("@fmacs(d, d, column, s, .{ .index = 2 * n });",
         f"fmacs {D}, {D}, advance(mem1d(&m, 3u16, 4i16), (2u16 MUL.u16 [&n]) × 2), [&s]"),
        ("@fmovs(d, column, .{ .index = 6 });", f"fmovs {D}, -, advance(mem1d(&m, 3u16, 4i16), 6u16 × 2)"),
        ("@fmovs(d, short, .{ .index = n });", f"fmovs {D}, -, advance(mem1d(&m, 2u16, 4i16), [&n] × 2)"),
        ("@fmovs(d, column);", f"fmovs {D}, -, mem1d(&m, 3u16, 4i16)"),
        ("@fmovs(column, 1.0, .{ .index = n });", "fmovs advance(mem1d(&m, 3u16, 4i16), [&n] × 2), -, 1065353216f32"),
        ("@fmovs(out, column, .{ .async = true, .index = n });",
         "fmovs fabout(c1 q2, 4u16, 0i16), -, advance(mem1d(&m, 3u16, 4i16), [&n] × 2) ut2 →-1/-1"),
        ("@fmovs(indexed, d, .{ .index = n });", f"fmovs base(fabout(c1 q2, 4u16, 0i16), [&n]), -, {D}"),
        ("@fmovs(indexed, d);", f"fmovs fabout(c1 q2, 4u16, 0i16), -, {D}"),
        ("@fmovs(block, d, .{ .index = n });", f"fmovs advance(mem4d(&m, 4u16, 0i16), [&n] × 2), -, {D}"),
    ],
)  # fmt: skip
def test_an_index_moves_the_operands_that_take_one(body, statement, line):
    """It counts 16-bit words, whatever the elements are."""
    assert body(statement, INDEXED) == [line]


NAMELESS = """
    const c = @get_color(5);
    var x: u32;
    const out = @get_dsd(fabout_dsd, .{ .fabric_color = c, .extent = 1 });
    const in = @get_dsd(fabin_dsd, .{ .fabric_color = c, .extent = 1 });
    const r = @get_dsr(dsr_dest, 1);
    fn main() void { STATEMENT }
"""


@pytest.mark.parametrize(
    "statement", ["@mov32(out, x);", "@mov32(&x, in);", "@load_to_dsr(r, out); @mov32(r, x);"]
)
def test_a_fabric_dsd_may_name_no_queue_where_dsds_tie_queues_to_colors(analyze, statement):
    source = NAMELESS.replace("STATEMENT", statement)
    assert analyze(source, arch="wse2").codes == []
    error = analyze(source, arch="wse3").error
    assert error.code == "missing-field"
    assert "_queue(n)" in error.help


@pytest.mark.parametrize(
    ("statement", "field"),
    [
        ("@mov32(out, x, .{ .async = true });", "output_queue"),
        ("@mov32(&x, in, .{ .async = true });", "input_queue"),
        ("@load_to_dsr(r, out, .{ .async = true });", "output_queue"),
        ("@load_to_dsr(r, out); @mov32(r, x, .{ .async = true });", "output_queue"),
    ],
)
def test_an_asynchronous_operation_needs_a_dsd_that_names_its_queue(analyze, statement, field):
    error = analyze(NAMELESS.replace("STATEMENT", statement), arch="wse2").error
    assert error.code == "missing-microthread"
    assert f".{field} = " in error.help


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("@fmovs(1.0, d);", "type-mismatch"),
        ("@fmovs(in, d);", "type-mismatch"),
        ("@fmovs(d, out);", "type-mismatch"),
        ("@fadds(d, d);", "wrong-argument-count"),
        ("@fmovs(&s, s);", "type-mismatch"),
        ("@fmovs(d, true);", "type-mismatch"),
        ("@fmovs(d, e, .{ .async = true });", "missing-microthread"),
        ("@fmovs(d, e, .{ .activate = done });", "missing-field"),
        ("@fmovs(d, e, .{ .asynk = true });", "unknown-field"),
        ("@fmovs(out, d, .{ .async = true, .activate = @get_local_task_id(11) });", "unbound-task"),
        ("@fmovs(d, e, .{ .on_control = .{ .terminate = true } });", "missing-field"),
        ("@fmovs(out, d, .{ .async = true, .on_control = .{ .terminate = true } });", "missing-fabric-input"),
        ("@fmovs(d, in, .{ .async = true, .on_control = .{ .stop = true } });", "unknown-field"),
        ("@fmovs(d, in, .{ .async = true, .on_control = .{} });", "type-mismatch"),
        ("@fmovs(d, in, .{ .async = true, .on_control = .{ .terminate = 1 } });", "type-mismatch"),
        ("@fmovs(d, in, .{ .async = true, .on_control = .{ .activate = @get_local_task_id(11) } });", "unbound-task"),
        ("@fmovs(d, e, .{ .index = 1.5 });", "type-mismatch"),
        ("@fmovs(indexed, s, .{ .index = 1.5 });", "type-mismatch"),
        ("@load_to_dsr(@get_dsr(dsr_dest, 1), d); @fmovs(@get_dsr(dsr_dest, 1), s, .{ .index = 1 });",
         "unsupported-feature"),
        ("@fmovs(cleaner, d);", "type-mismatch"),
        ("@fadds(cleaner, s, d);", "type-mismatch"),
        (("_ = @get_dsd(fabout_dsd, .{ .extent = 1, .fabric_color = @get_color(1), "
         ".output_queue = @get_output_queue(2), .control = true, .wavelet_index_offset = true });"), "type-mismatch"),
        (("_ = @get_dsd(fabout_dsd, .{ .extent = 1, .fabric_color = @get_color(1), "
         ".output_queue = @get_output_queue(2), .zero = .{ .third_source = true } });"), "unknown-field"),
        ("_ = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{n} -> a[i], .wavelet_index_offset = true });",
         "unsupported-feature"),
        ("const r = @get_dsr(dsr_dest, 1); @load_to_dsr(r, out, .{ .async = true }); @fmovs(r, d, .{ .async = false });", "type-mismatch"),
        ("_ = @get_dsd(mem1d_dsd, .{ .extent = 4 });", "missing-field"),
        ("_ = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> a[i * i] });", "tensor-access"),
        ("_ = @get_dsd(mem1d_dsd, .{ .tensor_access = |i, j|{4, 4} -> a[i + j] });", "tensor-access"),
        ("_ = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> m[i] });", "type-mismatch"),
        ("_ = @get_dsd(fabin_dsd, .{ .fabric_color = 1, .extent = 1, .input_queue = @get_input_queue(3) });",
         "type-mismatch"),
        ("_ = @get_dsd(u16, .{});", "type-mismatch"),
        ("d = @increment_dsd_offset(out, 1, f32);", "type-mismatch"),
        ("@load_to_dsr(d, e);", "type-mismatch"),
        ("@load_to_dsr(@get_dsr(dsr_dest, 1), in);", "type-mismatch"),
        ("@fmovs(d, @get_dsr(dsr_dest, 1));", "type-mismatch"),
        ("@fmovs(d, @get_dsr(dsr_fifo_dest, 1));", "type-mismatch"),
        ("@load_to_dsr(@get_dsr(dsr_fifo_dest, 1), d);", "type-mismatch"),
        ("@fmovs(@get_dsr(dsr_fifo_dest, @get_dsr(dsr_src1, 1)), d);", "type-mismatch"),
        ("@fmovs(@get_dsr(dsr_src1, 1), d);", "type-mismatch"),
        ("@load_to_dsr(@get_dsr(dsr_src1, 1), out);", "type-mismatch"),
    ],
)  # fmt: skip
def test_mistake(analyze, statement, code):
    assert analyze(f"{DECLARED}\nfn main() void {{ {statement} }}").codes == [code]


def test_a_queue_serves_one_color(analyze):
    source = DECLARED.replace("@get_color(1) });\n", "@get_color(5) });\n", 1)
    source += "fn main() void { @fmovs(out, d); }"
    assert analyze(source).error.code == "queue-color-mismatch"


def test_a_queue_of_the_wse2_serves_the_color_of_each_dsd(analyze):
    source = """
    const q = @get_input_queue(2);
    var x: u32;
    const first = @get_dsd(fabin_dsd, .{ .fabric_color = @get_color(1), .extent = 1, .input_queue = q });
    const second = @get_dsd(fabin_dsd, .{ .fabric_color = @get_color(2), .extent = 1, .input_queue = q });
    fn main() void { @mov32(&x, first); @mov32(&x, second); }
    comptime { @initialize_queue(q, .{ .color = @get_color(1) }); }
    """
    assert analyze(source, arch="wse2").codes == []


def test_a_queue_without_color_is_a_warning_where_queues_need_one(analyze):
    source = DECLARED.replace(
        "  @initialize_queue(@get_input_queue(3), .{ .color = @get_color(2) });\n", ""
    )
    source += "fn main() void { @fmovs(d, in); }"
    assert [d.code for d in analyze(source).diagnostics] == ["queue-not-initialized"]
    assert analyze(source, arch="wse2").diagnostics == []


def test_initial_dsds_and_pointers_are_data(analyze):
    result = analyze(
        DECLARED
        + "var p: [*]f32 = &a; comptime { @export_symbol(p); } fn main() void { @fmovs(d, 0.0); }"
    )
    (datum,) = result.variable("d").data
    assert isinstance(datum, ir.DsdDatum)
    (pointer,) = result.variable("p").data
    assert pointer.target.variable is result.variable("a")
    assert result.variable("p").element is None


EMPTY = """
const none = @get_dsd(mem1d_dsd, .{ .base_address = &a, .extent = 0 });
const ring = @allocate_fifo(h);
"""


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("@fmovs(none, 1.0);", ["empty-dsd"]),
        ("@fadds(none, none, none);", ["empty-dsd"]),
        ("@fadds(&s, s, none);", ["empty-dsd"]),
        ("@fmovs(d, none);", ["empty-dsd"]),
        ("@fmovs(none, d);", []),
        ("@fmovs(@set_dsd_length(none, 2), none);", ["empty-dsd"]),
        ("@fmovh(ring, 1.0);", []),
        ("@fmovs(@set_dsd_length(none, n), 1.0);", []),
    ],
)
def test_an_operation_without_elements_is_a_warning(analyze, statement, codes):
    result = analyze(f"{DECLARED}{EMPTY}\nfn main() void {{ {statement} }}")
    assert [d.code for d in result.diagnostics] == codes


LOAD_TO_DROP = "@load_to_dsr(@get_dsr(dsr_src1, 1), in, .{ .async = true, .activate = done });"
LOAD_MORE = LOAD_TO_DROP.replace("in,", "@set_dsd_length(in, 2),")
DROP_LOADED = "@dfilt(@get_dsr(dsr_src1, 1), .{ .async = true });"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("@dfilt(in);", "wrong-argument-count"),
        ("@dfilt(in, .{});", "missing-field"),
        ("@dfilt(out, .{ .async = true });", "type-mismatch"),
        ("@dfilt(@get_dsr(dsr_src0, 1), .{ .async = true });", "type-mismatch"),
        ("@dfilt(@get_dsr(dsr_src1, 1), .{ .async = true });", "missing-field"),
        (f"{LOAD_TO_DROP.replace('true', 'false')} {DROP_LOADED}", "missing-field"),
        (
            f"if (n > 0) {{ {LOAD_TO_DROP} }} else {{ {LOAD_MORE} }} {DROP_LOADED}",
            "unsupported-feature",
        ),
        ("@dfilt(in, .{ .async = true, .index = 1 });", "unknown-field"),
        ("@dfilt(in, .{ .async = true, .on_control = .{ .terminate = true } });", "unknown-field"),
    ],
)
def test_mistake_in_a_filter_of_data(analyze, statement, code):
    assert analyze(f"{DECLARED}\nfn main() void {{ {statement} }}").codes == [code]


def test_data_are_dropped_by_a_dsd_of_its_own(analyze):
    source = "@dfilt(in, .{ .async = true, .activate = done }); @fmovs(d, in);"
    result = analyze(f"{DECLARED}\nfn main() void {{ {source} }}")
    assert result.codes == []
    dropped, moved = result.function("main").body
    assert dropped.dest is None
    assert dropped.config.activate == 10
    found = [statement.src1.dsd.descriptor.drops_data for statement in (dropped, moved)]
    assert found == [True, False]


def test_data_are_dropped_by_what_a_register_holds(analyze):
    source = f"{LOAD_TO_DROP} {DROP_LOADED} {LOAD_MORE} {DROP_LOADED}"
    result = analyze(f"{DECLARED}\nfn main() void {{ {source} }}")
    assert result.codes == []
    _, first, _, second = result.function("main").body
    assert first.config.activate == second.config.activate == 10
    assert [s.src1.dsd.extent.word for s in (first, second)] == [4, 2]
    assert first.src1.dsd.descriptor.drops_data


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [
        ("fabin_dsd", "control_transform", "keeps_control"),
        ("fabout_dsd", "control_transform", "keeps_control"),
        ("fabout_dsd", "advance_switch", "advances_switch"),
    ],
)
def test_flags_of_fabric_dsds(analyze, kind, field, name):
    way = "input" if kind == "fabin_dsd" else "output"
    number, color = (3, 2) if way == "input" else (2, 1)
    made = (
        f"const it = @get_dsd({kind}, .{{ .fabric_color = @get_color({color}), .extent = 4, "
        f".{way}_queue = @get_{way}_queue({number}), .{field} = true }});"
    )
    use = "@mov32(e, it);" if way == "input" else "@mov32(it, e);"
    result = analyze(f"{DECLARED}{made}\nfn main() void {{ {use} }}")
    assert result.codes == []
    (statement,) = result.function("main").body
    operand = statement.src1 if way == "input" else statement.dest
    assert getattr(operand.dsd.descriptor, name)


def test_an_index_that_nobody_takes_is_a_warning(analyze):
    result = analyze(f"{DECLARED}\nfn main() void {{ @fmovs(d, e, .{{ .index = 3 }}); }}")
    assert [d.code for d in result.diagnostics] == ["unused-index"]
    assert result.codes == []


ON_CONTROL = "@mov32(e, in, .{ .async = true, .activate = done, .on_control = .{ %s } });"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (".terminate = true", (True, -1, -1)),
        (".terminate = false", (False, -1, -1)),
        (".activate = done", (True, 10, -1)),
        (".unblock = id", (True, -1, 10)),
    ],
)
@pytest.mark.parametrize("is_loaded", [False, True])
def test_control_wavelets_end_operations(analyze, action, expected, is_loaded):
    statement = ON_CONTROL % action
    if is_loaded:
        settings = f".{{ .async = true, .activate = done, .on_control = .{{ {action} }} }}"
        statement = (
            f"@load_to_dsr(@get_dsr(dsr_src1, 2), in, {settings}); "
            "@mov32(e, @get_dsr(dsr_src1, 2), .{ .async = true });"
        )
    result = analyze(f"{DECLARED}\nfn main() void {{ {statement} }}")
    assert result.codes == []
    config = result.function("main").body[-1].config
    assert config.activate == 10
    found = config.ends_on_control, config.control_activate, config.control_unblock
    assert found == expected


QUEUES = """
param c: color;
const lib = @import_module("lib.csl");
fn main() void { @mov32(lib.out(), lib.in()); }
comptime {
  @initialize_queue(@get_input_queue(2), .{ .color = c });
  @initialize_queue(@get_output_queue(3), .{ .color = @get_color(5) });
  @bind_local_task(start, @get_local_task_id(9));
}
task start() void { main(); }
"""
LIBRARY = """
fn in() fabin_dsd { return @get_dsd(fabin_dsd, .{
  .extent = 4, .input_queue = @get_input_queue(2), .priority = .{ .high = true } }); }
fn out() fabout_dsd {
  return @get_dsd(fabout_dsd, .{ .extent = 4, .output_queue = @get_output_queue(3) }); }
"""


def _made_colors(analyze, arch, program):
    layout = """layout {
      @set_rectangle(2, 1);
      @set_tile_code(0, 0, "pe.csl", .{ .c = @get_color(1) });
      @set_tile_code(1, 0, "pe.csl", .{ .c = @get_color(4) });
    }"""
    files = {"pe.csl": program, "lib.csl": LIBRARY}
    return [
        [f.body[0].value.descriptor.color for f in instance.functions if "." in f.name]
        for instance in analyze(layout, files=files, arch=arch).program.instances
    ]


def test_a_fabric_dsd_has_the_color_of_its_queue(analyze):
    """Also where programs that share a library give its queue other colors."""
    only_out = QUEUES.replace("@mov32(lib.out(), lib.in())", "@mov32(lib.out(), 7)").replace(
        "@get_color(5)", "c"
    )
    without_input = only_out.replace(
        "  @initialize_queue(@get_input_queue(2), .{ .color = c });\n", ""
    )
    assert _made_colors(analyze, "wse2", without_input) == [[1], [4]]


def test_a_queue_may_change_its_color(analyze):
    """So the DSD names none: it has that which its queue serves when an operation begins."""
    assert _made_colors(analyze, "wse3", QUEUES) == [[-1, -1], [-1, -1]]
    from_queue = QUEUES.replace("lib.out()", "&x").replace("param c", "var x: u32; param c")
    assert _made_colors(analyze, "wse2", from_queue) == [[-1], [-1]]


def test_the_color_of_a_queue_has_to_be_known(analyze):
    """On WSE-2 before the DSD is made, on WSE-3 anywhere in the program."""
    source = """
    fn main() void { @mov32(@get_dsd(fabout_dsd, .{
      .extent = 1, .output_queue = @get_output_queue(3) }), 0); }
    """
    assert analyze(source, arch="wse2").codes == ["missing-field"]
    found = analyze(source, arch="wse3").diagnostics
    assert [d.code for d in found] == ["queue-not-initialized"]


def test_an_input_without_a_color_harms_nobody_who_does_not_use_it(analyze):
    source = """
    const in = @get_dsd(fabin_dsd, .{ .extent = 1, .input_queue = @get_input_queue(3) });
    var x: u32;
    task idle() void { @mov32(&x, in); }
    fn main() void { }
    comptime { @bind_local_task(idle, @get_local_task_id(9)); }
    """
    for arch in ("wse2", "wse3"):
        found = analyze(source, arch=arch)
        assert [d.code for d in found.diagnostics] == ["queue-not-initialized"]
        assert found.program is not None
    without_queue = "fn main() void { @mov32(@get_dsd(fabin_dsd, .{ .extent = 1 }), 0); }"
    assert analyze(without_queue, arch="wse2").codes == ["missing-field"]


def test_queues_have_a_priority_on_wse2_only(analyze):
    source = """
    fn main() void { }
    comptime {
      @initialize_queue(@get_input_queue(3), .{ .color = @get_color(2), .priority = .{ .low = true } });
    }
    """
    assert analyze(source, arch="wse2").codes == []
    assert analyze(source, arch="wse3").codes == ["unsupported-on-architecture"]


def test_a_dsd_without_elements_reaches_not_before_its_array(analyze):
    source = """
    var a: [3]i16;
    fn main() void {
      @mov16(@get_dsd(mem4d_dsd, .{ .tensor_access = |i, j|{0, 3} -> a[i + j] }), 9);
    }
    """
    assert [d.code for d in analyze(source).diagnostics] == ["empty-dsd"]


@pytest.mark.parametrize("mode", ["simd_off", "simd_max"])
def test_modes_of_one_value_a_wavelet_change_nothing(analyze, mode):
    made = "@get_dsd(fabout_dsd, .{ .extent = 1, .fabric_color = @get_color(1), "
    made += f".output_queue = @get_output_queue(2), .simd_mode = .{{ .{mode} = true }} }})"
    assert analyze(f"fn main() void {{ _ = {made}; }}").codes == []


@pytest.mark.parametrize("mode", ["simd_32", "simd_64", "simd_32_or_64"])
@pytest.mark.parametrize("kind", ["in", "out"])
def test_wavelets_may_carry_two_values(analyze, kind, mode):
    source = f"""
    fn main() void {{
      _ = @get_dsd(fab{kind}_dsd, .{{ .extent = 1, .fabric_color = @get_color(1),
        .{kind}put_queue = @get_{kind}put_queue(2), .simd_mode = .{{ .{mode} = true }} }});
    }}
    """
    assert analyze(source).codes == []


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("out", "control"),
        ("out", "wavelet_index_offset"),
        ("out", "control_transform"),
        ("in", "control_transform"),
    ],
)
def test_wavelets_of_two_values_have_room_for_nothing_else(analyze, kind, field):
    source = f"""
    fn main() void {{
      _ = @get_dsd(fab{kind}_dsd, .{{ .extent = 1, .fabric_color = @get_color(1), .{field} = true,
        .{kind}put_queue = @get_{kind}put_queue(2), .simd_mode = .{{ .simd_32 = true }} }});
    }}
    """
    error = analyze(source).error
    assert (error.code, f"`.{field}`" in error.help) == ("type-mismatch", True)
    for mode in ("simd_64", "simd_32_or_64"):
        result = analyze(source.replace("_ =", "var d =").replace("simd_32", mode))
        assert result.codes == []
        assert not result.function("main").body[0].value.descriptor.packs
