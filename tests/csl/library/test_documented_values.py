"""What blocks and strings are in a program that runs."""

import pytest

from tests.csl.library.one_pe import compile_pe, device_of

DECLARATIONS = """
var results = @zeros([4]i32);
var short: i16 = -3;
var long: i32 = 70000;
var small: u8 = 200;
fn pick(n: u16) i32 {
  const found = q: {
    if (n == 0) break :q small;
    if (n == 1) break :q short;
    if (n == 2) break :q 7;
    break :q long;
  };
  return found;
}
"""


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_each_value_of_a_block_widens_on_its_way(engine):
    body = "for (@range(u16, 4)) |n| { results[n] = pick(n); }"
    image = compile_pe(body, DECLARATIONS, variables={"results": "i32"})
    device = device_of(image, engine=engine)
    device.launch("run")
    assert device.read("results", 4).reshape(-1).tolist() == [200, -3, 7, 70000]
