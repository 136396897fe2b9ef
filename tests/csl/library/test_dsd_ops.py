"""`<dsd_ops>`: each function is one DSD operation, chosen by the types."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.errors import CompileError
from onewafer.image import DsdOperation, Field, Opcode
from tests.csl.library.one_pe import compile_pe, device_of

DECLARED = """
const ops = @import_module("<dsd_ops>");
var a: [8]u32; var b: [8]u32; var c: [8]u32;
const d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> a[i] });
const s = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> b[i] });
const r = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> c[i] });
var x: f32 = 2.0;
var h: f16 = 2.0;
"""


def operations_of(image):
    code = image.programs[0].code
    kinds = code[code[:, Field.OPCODE] == Opcode.DSD, Field.TYPE]
    return [DsdOperation(kind).name.lower() for kind in kinds.tolist()]


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        ("ops.mov(f16, d, s, .{})", "fmovh"),
        ("ops.mov(f32, d, s, .{})", "fmovs"),
        ("ops.mov(i16, d, s, .{})", "mov16"),
        ("ops.mov(u32, d, s, .{})", "mov32"),
        ("ops.convert(f16, f32, d, s, .{})", "fs2h"),
        ("ops.convert(f32, f16, d, s, .{})", "fh2s"),
        ("ops.convert(i16, i16, d, s, .{})", "mov16"),
        ("ops.convert(f32, f32, d, s, .{})", "fmovs"),
        ("ops.add(f16, f16, d, d, s, .{})", "faddh"),
        ("ops.add(f32, f16, d, d, s, .{})", "faddhs"),
        ("ops.add(f32, f32, d, d, s, .{})", "fadds"),
        ("ops.add(u16, u16, d, d, s, .{})", "add16"),
        ("ops.sub(i16, d, d, h, .{})", "sub16"),
        ("ops.sub(f32, d, d, s, .{})", "fsubs"),
        ("ops.mul(f16, d, d, s, .{})", "fmulh"),
        ("ops.mul(f32, d, d, x, .{})", "fmuls"),
        ("ops.fmac(f16, f16, d, d, s, h, .{})", "fmach"),
        ("ops.fmac(f32, f16, d, d, s, h, .{})", "fmachs"),
        ("ops.fmac(f32, f32, d, d, s, x, .{})", "fmacs"),
        ("ops.neg(f32, d, s, .{})", "fnegs"),
        ("ops.max(f32, d, d, s, .{})", "fmaxs"),
        ("ops.norm(f16, d, s, .{})", "fnormh"),
        ("ops.norm(f32, d, s, .{})", "fnorms"),
    ],
)
def test_one_operation_each(call, operation):
    if operation == "sub16":
        call = call.replace("h,", "@as(i16, 1),")
    assert operations_of(compile_pe(f"{call};", DECLARED)) == [operation]


def test_operands_reach_the_operation():
    body = (
        "ops.fmac(f32, f32, r, d, s, x, .{}); ops.max(f32, &x, x, r, .{}); c[0] = @bitcast(u32, x);"
    )
    device = device_of(compile_pe(body, DECLARED, variables={"a": "u32", "b": "u32", "c": "u32"}))
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 1, 1, 8)).astype(np.float32)
    device.write("a", a.view(np.uint32))
    device.write("b", b.view(np.uint32))
    device.launch("run")
    found = device.read("c", 8).view(np.float32)[0, 0]
    expected = (a.astype(np.float64) + 2.0 * b).astype(np.float32)[0, 0]
    np.testing.assert_array_equal(found[1:], expected[1:])
    assert found[0] == max(2.0, expected.max())


@pytest.mark.parametrize(
    "call",
    [
        "ops.mov(i64, d, s, .{})",
        "ops.add(f16, f32, d, d, s, .{})",
        "ops.mul(u16, d, d, s, .{})",
        "ops.convert(u32, u32, d, s, .{})",
    ],
)
def test_types_without_an_operation_are_refused(call):
    with pytest.raises(CompileError, match="<dsd_ops>"):
        compile_pe(f"{call};", DECLARED)
