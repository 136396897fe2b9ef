"""Integers of 64 bits are exact at every pair of edges, and floats of them are rounded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.csl.exact_integers import (
    BINARY,
    COMPARISONS,
    DIVISION,
    I64,
    SHIFTS,
    U64,
    Width,
    to_float,
)
from tests.csl.one_task import START, assert_leaves, run_program

if TYPE_CHECKING:
    from collections.abc import Callable

HALF, WHOLE = 1 << 31, 1 << 32
WORDS = (
    0,
    1,
    2,
    10,
    0xFFFF,
    1 << 16,
    0x1FFFF,
    HALF - 1,
    HALF,
    WHOLE - 1,
    WHOLE,
    WHOLE + 1,
    HALF * WHOLE,
)
NUMBERS = sorted({n % (1 << 64) for m in WORDS for n in (m, -m)} | {0x123456789ABCDEF0})
COUNTS = (0, 1, 16, 31, 32, 33, 48, 63, 64, 65, 96, 0xFFFF)
TABLE = """
var left = [{num_left}]{type}{{ {left} }};
var right = [{num_right}]{count}{{ {right} }};
var out = @zeros([{num_left} * {num_right} * 2]u32);
task main() void {{
  var place: u16 = 0;
  for (left) |a| {{
    for (right) |b| {{
      const result = @as(u64, a {symbol} b);
      out[place] = @as(u32, result);
      out[place + 1] = @as(u32, result >> 32);
      place += 2;
    }}
  }}
}}
"""


def divide_or(instead: Callable[[int], int], symbol: str) -> Callable[[int, int], int]:
    return lambda a, b: DIVISION[symbol](a, b) if b else instead(a)


OPERATIONS: dict[str, Callable[[int, int], int]] = {
    **BINARY,
    **COMPARISONS,
    "/": divide_or(lambda _: 0, "/"),
    "%": divide_or(lambda a: a, "%"),
    **SHIFTS,
}


@pytest.mark.parametrize("width", [U64, I64], ids=str)
@pytest.mark.parametrize("symbol", OPERATIONS)
def test_edges(symbol: str, width: Width) -> None:
    left = [width.wrap(n) for n in NUMBERS]
    is_shift = symbol in ("<<", ">>")
    right = COUNTS if is_shift else left
    source = TABLE.format(
        type=width,
        count="u16" if is_shift else width,
        left=", ".join(map(str, left)),
        right=", ".join(map(str, right)),
        num_left=len(left),
        num_right=len(right),
        symbol=symbol,
    )
    expected = [U64.wrap(width.wrap(int(OPERATIONS[symbol](a, b)))) for a in left for b in right]

    (words,) = run_program(source + START, "fast", ("out",)).values()

    assert [low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)] == expected


# Half of the last place of an f32 (24 bits) away from one, and by one more or less.
TIES = [
    (1 << n) + (1 << n - 24) * odd + near
    for n in (32, 40, 63)
    for odd in (1, 3)
    for near in (-1, 0, 1)
]
ROUNDED = [*TIES, *NUMBERS, (1 << 64) - (1 << 39), (1 << 64) - (1 << 39) - 1, 65519, 65520]


@pytest.mark.parametrize("width", [U64, I64], ids=str)
@pytest.mark.parametrize(("name", "bits", "largest"), [("f32", 24, 1 << 127), ("f16", 11, 65504)])
def test_floats_are_rounded_once(name: str, bits: int, largest: int, width: Width) -> None:
    numbers = [width.wrap(n) for n in ROUNDED]
    listed = ", ".join(map(str, numbers))
    word = f"@as(u32, @bitcast(u16, @as({name}, n)))" if bits < 24 else "@bitcast(u32, @as(f32, n))"
    source = f"""
const numbers = [{len(numbers)}]{width}{{ {listed} }};
var out = @zeros([{len(numbers)}]u32);
export var known = rounded();
fn rounded() [{len(numbers)}]u32 {{
  var words = @zeros([{len(numbers)}]u32);
  for (numbers) |n, i| {{ words[i] = {word}; }}
  return words;
}}
task main() void {{
  for (numbers) |n, i| {{ out[i] = {word}; }}
}}{START}"""
    rounded = [to_float(n, bits=bits, largest=largest) for n in numbers]
    infinity = [float("inf") if n > 0 else -float("inf") for n in numbers]
    floats = [i if r is None else float(r) for r, i in zip(rounded, infinity, strict=True)]
    dtype = np.dtype("<f2" if bits < 24 else "<f4")
    expected = np.array(floats, np.float64).astype(dtype).view(f"<u{dtype.itemsize}").tolist()

    assert_leaves(source, {"out": expected, "known": expected})


@pytest.mark.parametrize("count", ["@as(u32, 0xffffffff)", "@as(i16, -1)", "@as(u64, 1 << 40)"])
def test_known_counts_beyond_the_width_leave_nothing(count: str) -> None:
    source = f"""
    var n: i64 = -5;
    var m: u64 = 5;
    var out = @zeros([8]u32);
    task main() void {{
      const results = [4]u64{{
        @bitcast(u64, n << {count}), @bitcast(u64, n >> {count}), m << {count}, m >> {count} }};
      for (results) |result, i| {{
        out[2 * i] = @as(u32, result);
        out[2 * i + 1] = @as(u32, result >> 32);
      }}
    }}{START}"""
    ones = 0xFFFFFFFF
    assert_leaves(source, {"out": [0, 0, ones, ones, 0, 0, 0, 0]})
