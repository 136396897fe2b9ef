"""The costs of 64-bit integers in `docs/reference/language/types.md` are what programs take."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tests.csl.one_task import START, run_program

PAGE = (Path(__file__).parents[2] / "docs/reference/language/types.md").read_text(encoding="utf-8")
_, _, SECTION = PAGE.partition("### Integers of more than 32 bits")
ROWS = dict(re.findall(r"^\| (`x.*?) \|[^|]*\| (.*?) \|$", SECTION, re.MULTILINE))
SMALL, MOST = (100, 7), (1 << 64) - 1
MEASURED: dict[str, tuple[str, *tuple[tuple[int, int], ...]]] = {
    "`x + y`, `x - y`": ("x = x + y;", SMALL),
    "`x & y`": ("x = x & y;", SMALL),
    "`x < y`": ("is_less = x < y;", SMALL),
    "`x << 5`": ("x = x << 5;", SMALL),
    "`x << n`": ("x = x << n;", SMALL),
    "`x * y`, of two words that widen": (
        "x = @as(u64, @as(u32, x)) * @as(u64, @as(u32, y));",
        SMALL,
    ),
    "`x * y`": ("x = x * y;", SMALL),
    "`x / y`, both below 2³²": ("x = x / y;", SMALL),
    "`x / y`, y below 2¹⁶": ("x = x / y;", (MOST, 10)),
    "`x / y`": ("x = x / y;", (1 << 63, (1 << 60) + 1), (MOST, 1 << 17)),
}
PROGRAM = """
const time = @import_module("<time>");
var a: u64 = {a};
var b: u64 = {b};
var c: u16 = 9;
var results: [2]u64;
var flag: bool;
var times = @zeros([2, 3]u16);
task main() void {{
  var x = a;
  var y = b;
  var is_less = false;
  const n = c;
  time.enable_tsc();
  time.get_timestamp(@ptrcast(*[3]u16, &times));
  {statement}
  time.get_timestamp(@ptrcast(*[3]u16, &times[1, 0]));
  results = [2]u64{{ x, y }};
  flag = is_less;
}}
// What a task stores is not known while compiling.
task unknown() void {{ a += 1; b += 1; c += 1; }}
comptime {{ @bind_local_task(unknown, @get_local_task_id(27)); }}"""


def cycles(statement: str, numbers: tuple[int, int]) -> int:
    """Return the cycles between two readings of the counter."""
    program = PROGRAM.format(statement=statement, a=numbers[0], b=numbers[1]) + START
    payload = struct.pack("<3I", *run_program(program, "reference", ("times",))["times"])
    first, last = (int.from_bytes(payload[i : i + 6], "little") for i in (0, 6))
    return last - first


def test_every_row_is_measured() -> None:
    assert list(ROWS) == list(MEASURED)


@pytest.mark.parametrize("row", MEASURED)
def test_costs_are_those_of_the_page(row: str) -> None:
    statement, *numbers = MEASURED[row]
    taken = [cycles(statement, n) - cycles("", n) for n in numbers]
    said, _, _ = ROWS[row].partition(", by")
    assert " to ".join(f"{n:,}" for n in taken) == said
