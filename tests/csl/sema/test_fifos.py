"""FIFOs: what they are made of, what they activate, and what an operation on them gives."""

from __future__ import annotations

import pytest

from onewafer.csl import ir

FIFO = """
var ring = @zeros([8]f32); var tiny = @zeros([1]u16); var bytes = @zeros([8]u8); var single: f32 = 0.0;
task pushed() void {} task popped() void {}
comptime { @bind_local_task(pushed, @get_local_task_id(9)); @bind_local_task(popped, @get_local_task_id(10)); }
"""


def _with_fifo(
    declaration, use="@fmovs(fifo, @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> ring[i] }));"
):
    return f"{FIFO} {declaration} fn main() void {{ {use} }} comptime {{ @export_symbol(main); }}"


def test_fifos(analyze):
    source = _with_fifo(
        "const fifo = @allocate_fifo(ring, .{ .activate_push = pushed, .activate_pop = @get_local_task_id(10) });"
    )
    (fifo,) = analyze(source).instance.fifos
    assert (fifo.variable.name, fifo.activate_push, fifo.activate_pop) == ("ring", 9, 10)
    (fifo,) = analyze(_with_fifo("const fifo = @allocate_fifo(ring);")).instance.fifos
    assert (fifo.activate_push, fifo.activate_pop) == (-1, -1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", ("TEST_OR_SUSPEND", "TEST_OR_SUSPEND")),
        (".empty_action = .{ .terminate = true }", ("TERMINATE", "TEST_OR_SUSPEND")),
        (".full_action = .{ .suspend = true }", ("TEST_OR_SUSPEND", "SUSPEND")),
        (
            ".empty_action = .{ .fault = true }, .full_action = .{ .fault = true }",
            ("FAULT", "FAULT"),
        ),
    ],
)
def test_actions_of_a_fifo(analyze, config, expected):
    source = _with_fifo(f"const fifo = @allocate_fifo(ring, .{{ {config} }});")
    (fifo,) = analyze(source, arch="wse3").instance.fifos
    assert (fifo.empty_action.name, fifo.full_action.name) == expected


@pytest.mark.parametrize(
    "config",
    [
        ".full_action = .{ .terminate = true }",
        ".empty_action = .{ .suspend = true }",
        ".empty_action = .{ .fault = true }",
    ],
)
def test_actions_that_only_wse3_has(analyze, config):
    source = _with_fifo(f"const fifo = @allocate_fifo(ring, .{{ {config} }});")
    assert analyze(source, arch="wse2").codes == ["unsupported-on-architecture"]


def test_operations_give_a_bool(analyze):
    declared = "const f = @allocate_fifo(ring); const d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> ring[i] });"
    use = "var ok: bool = @fmovs(f, d); ok = @fmovs(d, 1.0); ring[0] = if (ok) 1.0 else 2.0;"
    result = analyze(_with_fifo(declared, use))
    assert result.codes == []
    with_fifo, other = (s for s in result.function("main").body if isinstance(s, ir.DsdStatement))
    assert (with_fifo.result is None, other.result is None) == (False, True)


@pytest.mark.parametrize("config", ["", ", .{ .activate_push = pushed }"])
def test_an_unused_fifo_takes_no_memory(analyze, config):
    source = _with_fifo(f"const fifo = @allocate_fifo(ring{config});", "")
    assert analyze(source).instance.fifos == ()


IN_REGISTERS = """
const dest = @get_dsr(dsr_dest, 4);
const fifo = @allocate_fifo(ring, .{ .dest = dest, .src = @get_dsr(SRC), .xdsr = @get_xdsr(1) });
"""


def test_a_fifo_is_in_its_registers_even_if_nothing_names_it(analyze):
    declared = IN_REGISTERS.replace("SRC", "dsr_src1, 4")
    instance = analyze(_with_fifo(declared, "@mov16(dest, 1);")).instance
    assert [(load.dsr.file.name, load.dsr.index) for load in instance.loads] == [
        ("DSR_DEST", 4), ("DSR_SRC1", 4),
    ]  # fmt: skip


def test_a_fifo_is_made_of_a_pointer_to_an_array(analyze):
    assert analyze(_with_fifo("const at = &ring; const fifo = @allocate_fifo(at);")).codes == []


@pytest.mark.parametrize(
    ("declaration", "code"),
    [
        ("const fifo = @allocate_fifo(&single);", "type-mismatch"),
        ("const fifo = @allocate_fifo(single);", "type-mismatch"),
        ("const fifo = @allocate_fifo(ring, .{ .dest = @get_dsr(dsr_dest, 4) });", "missing-field"),
        (IN_REGISTERS.replace("SRC", "dsr_src1, 5"), "type-mismatch"),
        (IN_REGISTERS.replace("SRC", "dsr_src0, 4"), "type-mismatch"),
        ("const fifo = @allocate_fifo(tiny);", "type-mismatch"),
        ("const fifo = @allocate_fifo(bytes);", "type-mismatch"),
        ("const fifo = @allocate_fifo(ring, .{ .priority = 1 });", "type-mismatch"),
        ("const fifo = @allocate_fifo(ring, .{ .simd_mode = 1 });", "type-mismatch"),
        (
            "const fifo = @allocate_fifo(ring, .{ .simd_mode = .{ .simd_64 = true } });",
            "type-mismatch",
        ),
        ("const fifo = @allocate_fifo(ring, .{ .activate = pushed });", "unknown-field"),
        ("const fifo = @allocate_fifo(ring, .{ .empty_action = true });", "type-mismatch"),
        (
            "const fifo = @allocate_fifo(ring, .{ .empty_action = .{ .wait = true } });",
            "unknown-field",
        ),
        (
            "const fifo = @allocate_fifo(ring, .{ .activate_push = @get_local_task_id(11) });",
            "unbound-task",
        ),
    ],
)
def test_mistake_in_a_fifo(analyze, declaration, code):
    assert analyze(_with_fifo(declaration)).codes == [code]


OF_LENGTH = _with_fifo("const fifo = @allocate_fifo(ring); var n: u16 = 3;", "USE")


def test_lengths_of_a_fifo(body):
    declared = f"{FIFO} const first = @allocate_fifo(ring); const fifo = @allocate_fifo(other); var other = @zeros([8]i16); var n: u16 = 3;"
    use = "@fmovs(first, 1.0); @set_fifo_read_length(fifo, n); @set_fifo_write_length(fifo, 42);"
    assert body(use, declared)[-2:] == ["read length of 1 = [&n]", "write length of 1 = 42u16"]


@pytest.mark.parametrize(
    ("use", "code"),
    [
        ("@set_fifo_read_length(fifo, -1);", "value-out-of-range"),
        ("@set_fifo_read_length(fifo, 1.0);", "type-mismatch"),
        ("@set_fifo_write_length(ring, 1);", "type-mismatch"),
        ("const a = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> ring[i] }); @set_fifo_write_length(a, 1);", "type-mismatch"),
        ("@set_fifo_write_length(fifo);", "wrong-argument-count"),
    ],
)  # fmt: skip
def test_mistake_in_a_length(analyze, use, code):
    assert analyze(OF_LENGTH.replace("USE", use)).codes == [code]


@pytest.mark.parametrize("use", ["", "@set_fifo_read_length(fifo, 3);"])
def test_what_is_said_of_a_length_depends_on_the_fifo(analyze, use):
    """Wherever the program sets that of the FIFO."""
    operation = "@fmovs(@get_dsd(mem1d_dsd, .{ .base_address = &ring, .extent = 0 }), fifo);"
    found = [d.code for d in analyze(OF_LENGTH.replace("USE", operation + use)).diagnostics]
    assert found == ([] if use else ["empty-dsd"])
