"""Functions that call each other as the last thing they do, against the same functions in Python.

Random functions do something to a sum, and go on with a random one of them and random arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.csl.one_task import START, assert_leaves

if TYPE_CHECKING:
    from collections.abc import Callable

NUM_FUNCTIONS = 3
STEPS = 9
MASK = 0xFFFF_FFFF
HELPER = "fn twice(x: u32) u32 { return x + x; }\n"
ARGUMENTS: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    ("a", lambda a, _: a),
    ("b", lambda _, b: b),
    ("a + b", lambda a, b: a + b & MASK),
    ("b ^ sum[0]", lambda _, b: b ^ 0),
    ("twice(a) + b", lambda a, b: 2 * a + b & MASK),
    ("twice(twice(b))", lambda _, b: 4 * b & MASK),
    ("7", lambda _, __: 7),
)
SUM = 3
"""The index of what also reads the sum."""


@dataclass(frozen=True)
class Step:
    """How a function goes on."""

    function: int
    first: int
    second: int

    @property
    def text(self) -> str:
        first, second = ARGUMENTS[self.first][0], ARGUMENTS[self.second][0]
        return f"f{self.function}(steps - 1, {first}, {second});"

    def arguments(self, a: int, b: int, total: int) -> tuple[int, int]:
        chosen = (self.first, self.second)
        first, second = (ARGUMENTS[i][1](a, b) ^ (total if i == SUM else 0) for i in chosen)
        return first, second


def body(number: int, odd: Step, even: Step, form: int) -> str:
    ends = (
        f"if ((a & 1) == 1) {{ {odd.text} }} else {{ {even.text} }}",
        f"if ((a & 1) == 1) {{ {odd.text} return; }} {even.text}",
        f"while (true) {{ if ((a & 1) == 1) {{ {odd.text} return; }} break; }} {even.text}",
        f"switch (a & 1) {{ 1 => {{ {odd.text} }}, else => {{ {even.text} }} }}",
    )
    return (
        f"fn f{number}(steps: u16, a: u32, b: u32) void {{\n  if (steps == 0) return;\n"
        f"  sum[0] = sum[0] * 31 + a + {number} * b;\n  {ends[form]}\n}}\n"
    )


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(st.randoms(use_true_random=False))
def test_functions_go_on_with_each_other(random):
    numbers = range(len(ARGUMENTS))
    steps = [
        [Step(random.randrange(NUM_FUNCTIONS), *random.choices(numbers, k=2)) for _ in range(2)]
        for _ in range(NUM_FUNCTIONS)
    ]
    functions = (body(i, *steps[i], random.randrange(4)) for i in range(NUM_FUNCTIONS))
    a, b, function, total = random.getrandbits(32), random.getrandbits(32), 0, 0
    main = f"task main() void {{ f0({STEPS}, {a}, {b}); }}\n"
    for _ in range(STEPS):
        total = (total * 31 + a + function * b) & MASK
        step = steps[function][1 - (a & 1)]
        (a, b), function = step.arguments(a, b, total), step.function
    source = f"export var sum = [1]u32{{ 0 }};\n{HELPER}{''.join(functions)}{main}{START}"
    assert_leaves(source, {"sum": [total]})
