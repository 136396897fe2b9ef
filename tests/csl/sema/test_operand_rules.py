"""What operands, FIFOs and data tasks may be, by the documentation of the language."""

import pytest

DECLARED = """
var words: [8]u16;
var ring: [8]i16;
var other_ring: [8]i16;
const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> words[i] });
const first = @get_dsd(fabin_dsd,
    .{ .fabric_color = @get_color(3), .extent = 4, .input_queue = @get_input_queue(2) });
const second = @get_dsd(fabin_dsd,
    .{ .fabric_color = @get_color(4), .extent = 4, .input_queue = @get_input_queue(3) });
const r = @get_dsr(dsr_src0, 3);
comptime {
  @initialize_queue(@get_input_queue(2), .{ .color = @get_color(3) });
  @initialize_queue(@get_input_queue(3), .{ .color = @get_color(4) });
}
"""
FIFO = "const fifo = @allocate_fifo(ring);"
TWO_FIFOS = FIFO + "const other = @allocate_fifo(other_ring);"


def registers(number, xdsr):
    return (
        f".{{ .dest = @get_dsr(dsr_dest, {number}), .src = @get_dsr(dsr_src1, {number}), "
        f".xdsr = @get_xdsr({xdsr}) }}"
    )


def in_main(analyze, statement, arch="wse3", declared=""):
    return analyze(f"{DECLARED}{declared}\nfn main() void {{ {statement} }}", arch=arch)


@pytest.mark.parametrize(
    "statement", ["@add16(to, first, second);", "@load_to_dsr(r, first); @add16(to, r, second);"]
)
def test_an_operation_of_the_wse3_reads_one_fabin_dsd(analyze, statement):
    error = in_main(analyze, statement).error
    assert error.code == "unsupported-on-architecture"
    assert "reads one fabin_dsd, this reads 2" in error.message
    assert not in_main(analyze, statement, "wse2").errors
    assert not in_main(analyze, "@add16(to, first, to);").errors


@pytest.mark.parametrize(
    "functions",
    [
        "fn main() void { @load_to_dsr(r, first); g(); @load_to_dsr(r, to); f(); } fn g() void {}",
        "fn main() void { @load_to_dsr(r, to); if (words[0] == 1) { @load_to_dsr(r, first); } f(); }",
    ],
)
def test_a_register_that_may_hold_memory_is_no_fabin_dsd(analyze, functions):
    use = "fn f() void { @add16(to, r, second); }"
    assert not analyze(f"{DECLARED}{functions}{use}").errors


@pytest.mark.parametrize(
    ("statement", "is_right"),
    [
        ("@add16(to, to, fifo);", True),
        ("@mov16(to, fifo);", True),
        ("@add16(to, @as(i16, 1), fifo);", True),
        ("@add16(to, fifo, to);", False),
        ("@add16(to, fifo, other);", False),
        ("@add16(to, fifo, @as(i16, 1));", False),
    ],
)
def test_a_fifo_is_the_last_source(analyze, statement, is_right):
    result = in_main(analyze, statement, declared=TWO_FIFOS)
    assert result.codes == ([] if is_right else ["type-mismatch"])
    assert is_right or "the last source" in result.error.message


@pytest.mark.parametrize(
    ("number", "xdsr", "is_right"), [(4, 1, False), (5, 1, False), (5, 2, True)]
)
def test_fifos_have_registers_of_their_own(analyze, number, xdsr, is_right):
    declared = (
        f"const fifo = @allocate_fifo(ring, {registers(4, 1)});"
        f"const other = @allocate_fifo(other_ring, {registers(number, xdsr)});"
    )
    result = in_main(analyze, "@mov16(to, fifo); @mov16(to, other);", declared=declared)
    assert result.codes == ([] if is_right else ["duplicate-register"])


def test_fifos_of_a_file_that_is_imported_twice_have_registers_of_their_own(analyze):
    inner = f"var ring: [8]i16; const fifo = @allocate_fifo(ring, {registers(4, 1)});"
    source = """
      const a = @import_module("m.csl");
      const b = @import_module("m.csl");
      fn main() void { @mov16(a.fifo, @as(i16, 1)); @mov16(b.fifo, @as(i16, 1)); }
    """
    assert analyze(source, files={"m.csl": inner}).codes == ["duplicate-register"]


@pytest.mark.parametrize(
    ("type_", "is_right"),
    [
        ("u16", True),
        ("f32", True),
        ("bool", False),
        ("u8", False),
        ("u64", False),
        ("[2]u16", False),
    ],
)
def test_an_offset_counts_elements_of_operations(analyze, type_, is_right):
    result = in_main(analyze, f"@mov16(@increment_dsd_offset(to, 1, {type_}), @as(u16, 1));")
    assert result.codes == ([] if is_right else ["type-mismatch"])


@pytest.mark.parametrize(
    ("parameters", "is_right"),
    [
        ("x: u16, y: i16", True),
        ("x: f32", True),
        ("x: u32, y: u16", False),
        ("x: u16, y: f32", False),
        ("x: u8, y: u8", False),
    ],
)
def test_two_parameters_of_a_data_task_are_halves(analyze, parameters, is_right):
    task = f"""
      task take({parameters}) void {{ words[0] = 1; }}
      comptime {{ @bind_data_task(take, @get_data_task_id(@get_input_queue(2))); }}
    """
    result = analyze(f"{DECLARED}{task}")
    assert result.codes == ([] if is_right else ["type-mismatch"])


@pytest.mark.parametrize("receive", [".{ WEST, WEST }", ".{ WEST, EAST, WEST }"])
def test_directions_of_a_route_are_different(analyze, receive):
    config = f".{{ .routes = .{{ .rx = {receive}, .tx = RAMP }} }}"
    result = analyze(f"comptime {{ @set_local_color_config(@get_color(8), {config}); }}")
    assert result.codes == ["type-mismatch"]


@pytest.mark.parametrize(
    "position",
    [".{ .invalid = false }", ".{ .invalid = true, .rx = EAST }", ".{ .rx = .{ EAST, NORTH } }"],
)
def test_switch_positions_change_one_side(analyze, position):
    routes = ".routes = .{ .rx = WEST, .tx = RAMP }"
    config = f".{{ {routes}, .switches = .{{ .pos1 = {position} }} }}"
    result = analyze(f"comptime {{ @set_local_color_config(@get_color(8), {config}); }}")
    assert result.codes == ["type-mismatch"]


@pytest.mark.parametrize(
    ("made", "is_warned"),
    [
        (".{ .tensor_access = |i|{4} -> wide[i, 0] }", True),
        (".{ .base_address = &wide, .extent = 4, .stride = 128 }", True),
        (".{ .base_address = &wide, .extent = 4, .stride = -128 }", False),
        (".{ .base_address = &wide, .extent = 4, .stride = 127 }", False),
    ],
)
def test_a_stride_of_more_than_8_bits_is_a_warning(analyze, made, is_warned):
    source = f"""
    var wide = @zeros([8, 150]u16);
    const column = @get_dsd(mem1d_dsd, {made});
    fn main() void {{ @mov16(column, @as(u16, 1)); }}
    """
    result = analyze(source)
    assert not result.errors
    assert [d.code for d in result.diagnostics].count("value-out-of-range") == is_warned
    late = made.replace("{4}", "{n}").replace(".extent = 4", ".extent = n")
    body = f"const column = @get_dsd(mem1d_dsd, {late}); @mov16(column, @as(u16, 1));"
    result = analyze(f"var wide = @zeros([8, 150]u16); var n: u16; fn main() void {{ {body} }}")
    assert not result.errors
    assert [d.code for d in result.diagnostics].count("value-out-of-range") == is_warned
