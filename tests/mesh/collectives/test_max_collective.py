"""`chain_max` of `collectives.csl` on a row of PEs."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.mesh import arithmetic
from tests.mesh.collectives.row_of_pes import load_row
from tests.mesh.strategies import assert_same_bits

LENGTH = 12
BODY = """
var values_array = @zeros([LENGTH]f32);
const values: [*]f32 = &values_array;
const values_dsd = @get_dsd(mem1d_dsd, .{ .base_address = &values_array, .extent = LENGTH });
var num_steps: u16 = 0;

fn largest() void {
  num_steps = 0;
  row.chain_max(values_dsd, LENGTH);
}

task next() void {
  num_steps += 1;
  if (num_steps == 1) {
    row.turn_switches();
    row.broadcast(values_dsd, LENGTH);
  } else {
    sys_mod.unblock_cmd_stream();
  }
}

comptime {
  @export_symbol(values);
  @export_symbol(largest);
}
"""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize(
    ("width", "middle", "section"),
    [(2, 0, 0), (2, 1, 0), (5, 0, 0), (5, 2, 0), (6, 2, 0), (5, 4, 0), (7, 2, 2), (9, 8, 3)],
)
def test_every_pe_gets_the_maximum(arch, width, middle, section):
    exports = {"values": "[*]f32", "largest": "fn()void"}
    body = BODY.replace("LENGTH", str(LENGTH))
    device = load_row(load_architecture(arch), width, exports, body, middle=middle, section=section)
    generator = np.random.default_rng(width)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1.5, -2.5, 1e-45, np.nan], np.float32)
    for _ in range(3):
        values = generator.choice(special, (1, width, LENGTH), p=[0.2, 0.3, *[0.08] * 5, 0.1])
        device.write("values", values)
        device.launch("largest")
        expected = values[0, 0]
        for x in range(1, width):
            expected = arithmetic.maximum(values[0, x], expected)
        actual = device.read("values", LENGTH)
        assert_same_bits(actual, np.broadcast_to(expected, actual.shape))
        np.testing.assert_array_equal(expected, np.max(values[0], axis=0))
