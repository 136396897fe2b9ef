"""`kernels/argmax.csl` on a row of PEs, against its mirror and the definition of argmax."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.mesh import argmax
from tests.mesh.row_of_pes import load_row
from tests.mesh.strategies import assert_same_bits

MOST_COLUMNS = 20
BODY = """
const layout_mod = @import_module("<layout>");
const argmax = @import_module("argmax.csl", .{ .element = ELEMENT });
var values_array = @zeros([COLUMNS]ELEMENT);
const values: [*]ELEMENT = &values_array;
const values_dsd = @get_dsd(mem1d_dsd, .{ .base_address = &values_array, .extent = 1 });
// What stands in the word after each step.
var words_array = @zeros([3]f32);
const words: [*]f32 = &words_array;
var word = @zeros([1]f32);
const word_dsd = @get_dsd(mem1d_dsd, .{ .base_address = &word, .extent = 1 });
var result_array = @zeros([1]i32);
const result: [*]i32 = &result_array;
var num_steps: u16 = 0;
var present: u16 = 0;
var first: i32 = 0;

fn find(columns: u16, total: u16, base: i32) void {
  const x = layout_mod.get_x_coord();
  const start = x * columns;
  present = 0;
  if (start < total) present = total - start;
  if (present > columns) present = columns;
  first = base + @as(i32, start);
  num_steps = 0;
  argmax.largest(&word, values_dsd, present);
  words[0] = word[0];
  row.chain_max(word_dsd, 1);
}

task next() void {
  num_steps += 1;
  if (num_steps == 1 or num_steps == 3) {
    row.broadcast(word_dsd, 1);
  } else if (num_steps == 2) {
    words[1] = word[0];
    argmax.candidate(&word, values_dsd, present, first);
    words[2] = word[0];
    row.chain_max(word_dsd, 1);
  } else {
    argmax.index(result, &word);
    sys_mod.unblock_cmd_stream();
  }
}

comptime {
  @export_symbol(values);
  @export_symbol(words);
  @export_symbol(result);
  @export_symbol(find);
}
"""
WIDTH = 4


@pytest.fixture(scope="module", params=[("wse2", "f16"), ("wse3", "f16"), ("wse3", "f32")])
def case(request):
    arch, element = request.param
    exports = {
        "values": f"[*]{element}",
        "words": "[*]f32",
        "result": "[*]i32",
        "find": "fn(u16, u16, i32)void",
    }
    body = BODY.replace("ELEMENT", element).replace("COLUMNS", str(MOST_COLUMNS))
    return load_row(load_architecture(arch), WIDTH, exports, body), np.dtype(f"float{element[1:]}")


def find(case, row, columns, base=0):
    """Return the index that every PE finds, having compared each step with the mirror."""
    device, dtype = case
    padding = WIDTH * columns - row.size
    blocks = np.pad(row, (0, padding), constant_values=np.nan).astype(dtype).reshape(WIDTH, columns)
    device.write("values", blocks[np.newaxis])
    device.launch("find", columns, row.size, base)
    start = np.arange(WIDTH) * columns
    present = np.clip(row.size - start, 0, columns)
    largest = argmax.largest(blocks, present)
    wanted = np.full(WIDTH, np.max(largest))
    candidates = argmax.candidate(blocks, wanted, present, base + start)
    assert_same_bits(device.read("words", 3)[0], np.stack((largest, wanted, candidates), axis=-1))
    index = argmax.index(np.max(candidates))
    np.testing.assert_array_equal(device.read("result", 1)[0, :, 0], index)
    return int(index) - base


@pytest.mark.parametrize("columns", [1, 2, 7, 20])
@pytest.mark.parametrize("padding", [0, 1])
def test_first_of_the_largest(case, columns, padding):
    size = WIDTH * columns - padding
    generator = np.random.default_rng(size)
    for _ in range(6):  # few different values, so that there are ties in a block and over blocks
        row = generator.integers(-3, 3, size).astype(np.float32)
        assert find(case, row, columns) == int(np.argmax(row))


@pytest.mark.parametrize(
    ("row", "index"),
    [
        ([-1, -0.0, 0.0, -2, 0.0, -3], 1),  # zeros are equal
        ([-np.inf] * 6, 0),
        ([1, 2, np.inf, 3, np.inf, 4], 2),
        ([1, np.inf, 2, np.nan, np.nan, 9], 3),  # NaN is above all, as in torch.argmax
        ([5], 0),  # most PEs have padding only
        ([-np.inf, -np.inf, -7], 2),
    ],
)
def test_special_values(case, row, index):
    assert find(case, np.array(row, np.float32), 2) == index


def test_large_vocabulary(case):
    row = np.array([0, 1, 2, 3, 4, 5, 9, 9], np.float32)
    assert find(case, row, 2, base=2**24 - 8) == 6
