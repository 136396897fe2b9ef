"""The kernel of dropouts on one PE that takes the place of any other, as `draw_bits` says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import draw_bits
from onewafer.mesh import arithmetic
from tests.mesh.one_pe import Array, OnePe, load_one_pe
from tests.mesh.strategies import assert_same_bits

MOST = 1500
BODY = """
const functions = @import_module("functions.csl");
const kernel = @import_module("dropout.csl", .{ .functions = functions });

fn drop(number: u16, threshold: u16, factor: f32, first: u16, step: u16, start: u16, rows: u16,
        columns: u16, stride: u16, strip: u16, most: u16) void {
  const words = @bitcast(u32, factor);
  if (kernel.begin(@ptrcast([*]u16, &seeds[0]), number, threshold, @as(u16, words & 0xffff),
                   @as(u16, words >> 16))) {
    kernel.run(@set_dsd_length(result_dsd, 1), @set_dsd_length(input_dsd, 1), first, step, start,
               rows, columns, stride, strip, most);
  }
  sys_mod.unblock_cmd_stream();
}
"""


@cache
def load(arch: str) -> OnePe:
    """Compile the kernel for one generation."""
    arrays = {name: Array("f32", MOST) for name in ("input", "result")}
    arrays["seeds"] = Array("i32", 3)
    arguments = "u16, u16, f32" + 8 * ", u16"
    return load_one_pe(load_architecture(arch), arrays, {"drop": arguments}, BODY)


@dataclass(frozen=True)
class Case:
    """A launch of the kernel."""

    start: int
    rows: int
    columns: int
    beside: int
    strip: int
    first: int
    step: int
    number: int
    threshold: int
    seed: int
    draws: bool

    @property
    def stride(self) -> int:
        return self.columns + self.beside

    @property
    def factor(self) -> np.float32:
        kept = (1 << 15) - self.threshold
        return np.float32((1 << 15) / kept if kept else 0)

    def factors(self, seeds: np.ndarray) -> np.ndarray:
        """Return what the elements are multiplied by."""
        rows = self.start + np.arange(self.rows)[:, np.newaxis]
        features = self.first + self.step * np.arange(self.columns)
        bits = draw_bits(seeds, self.number, rows, features)
        factors = np.where(bits >= self.threshold, self.factor, np.float32(0))
        return factors if self.draws else np.ones_like(factors)


CASES = st.builds(
    Case,
    start=st.sampled_from([0, 1, 6, 4093]),
    rows=st.integers(1, 9),
    columns=st.integers(1, 140),
    beside=st.integers(0, 3),
    strip=st.integers(1, 64),
    first=st.sampled_from([0, 5, 40_000]),
    step=st.sampled_from([1, 3]),
    number=st.integers(0, 65535),
    threshold=st.sampled_from([0, 3277, 1 << 14, 1 << 15]),
    seed=st.integers(0, 99),
    draws=st.booleans(),
)


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@given(case=CASES)
def test_rows_of_any_shape(arch, case):
    generator, pe = np.random.default_rng(case.seed), load(arch)
    seeds = generator.integers(-(1 << 31), 1 << 31, (1, 3)).astype(np.int32)
    seeds[0, 2] = case.draws
    values = generator.standard_normal(MOST).astype(np.float32)
    for name, array in (("input", values), ("result", values), ("seeds", seeds)):
        pe.write(name, array)
    shape = case.start, case.rows, case.columns, case.stride, case.strip, 2 * (128 // case.strip)
    pe.launch("drop", case.number, case.threshold, case.factor, case.first, case.step, *shape)
    expected = values.copy()
    part = expected[: case.rows * case.stride].reshape(case.rows, -1)[:, : case.columns]
    part[...] = arithmetic.multiply(part, case.factors(seeds))
    assert_same_bits(pe.read("result", MOST), expected)
