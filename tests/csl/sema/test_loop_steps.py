"""Steps and strides of nested loops, and DSDs that are made of them by numbers."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.csl.sema.rules.loop_steps import steps_of, strides_of

loops = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 4), min_size=n, max_size=n),
        st.lists(st.integers(-40, 40), min_size=n, max_size=n),
    )
)


@given(loops)
def test_steps_walk_through_the_same_elements_as_strides(case):
    extents, strides = case
    steps = steps_of(extents, strides)
    assert strides_of(extents, steps) == tuple(strides)

    places = [0]
    for rounds in list(product(*map(range, extents)))[1:]:
        # The loops that end together begin anew, and the one outside of them goes on.
        begun = next(k for k, number in enumerate(reversed(rounds)) if number)
        places.append(places[-1] + steps[begun])

    expected = [
        sum(number * stride for number, stride in zip(rounds, strides, strict=True))
        for rounds in product(*map(range, extents))
    ]
    assert places == expected


DECLARED = """
var a: [4, 5]i16;
const access = |i, j, k, l|{5, 5, 5, 5} -> a[i + j, k + l + 2];
"""
BY_NAME = (
    ".base_address = access.base_address, .extent = access.extent, "
    ".stride = access.stride, .offset = access.offset"
)


@pytest.mark.parametrize(
    ("fields", "extents", "strides", "offset"),
    [
        (".tensor_access = access", (5, 5, 5, 5), (5, 5, 1, 1), 4),
        (BY_NAME, (5, 5, 5, 5), (5, 5, 1, 1), 4),
        (".base_address = &a, .extent = .{ 5, 5 }, .stride = .{ 1, -2 }", (5, 5), (2, 1), 0),
        (".base_address = &a, .extent = .{ 2, 3 }", (2, 3), (3, 1), 0),
        (
            ".tensor_access = .{ .base_address = &a, .extent = .{ 2, 3 }, .offset = 7 }",
            (2, 3), (3, 1), 14,
        ),
        (".base_address = &a, .extent = 6, .stride = 2", (6,), (2,), 0),
    ],
)  # fmt: skip
def test_loops_by_numbers(analyze, fields, extents, strides, offset):
    source = f"{DECLARED} fn main() void {{ @mov16(@get_dsd(mem4d_dsd, .{{ {fields} }}), 0); }}"
    (statement,) = analyze(source).function("main").body
    descriptor = statement.dest.dsd.descriptor
    assert (descriptor.extents, descriptor.strides) == (extents, strides)
    assert statement.dest.dsd.base.offset == offset


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (".tensor_access = access, .extent = .{ 2, 2, 2, 2 }", "tensor-access"),
        (".tensor_access = .{ .base_address = &a }", "missing-field"),
        (".tensor_access = .{ .base_address = &a, .extent = 2, .steps = 1 }", "unknown-field"),
        (".tensor_access = 3", "type-mismatch"),
        (".base_address = &a, .extent = .{ 2, 3 }, .stride = .{ 1 }", "tensor-access"),
    ],
)
def test_what_loops_by_numbers_refuse(analyze, fields, code):
    source = f"{DECLARED} fn main() void {{ @mov16(@get_dsd(mem4d_dsd, .{{ {fields} }}), 0); }}"
    assert analyze(source).codes == [code]


def test_one_loop_may_stand_in_tuples(body):
    declared = """
    var a: [4, 5]i16;
    const access = |i|{4} -> a[i, 3];
    const again = @get_dsd(mem1d_dsd, .{ .base_address = access.base_address,
      .offset = access.offset, .stride = access.stride, .extent = access.extent });
    """
    line = "mov16 mem1d(&a+6, 4u16, 5i16), -, mem1d(&a+6, 4u16, 5i16)"
    assert body("@mov16(again, @get_dsd(mem1d_dsd, .{ .tensor_access = access }));", declared) == [
        line
    ]
