import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.host import IntRectangle, IntVector

vectors = st.builds(IntVector, st.integers(-20, 20), st.integers(-20, 20))
sizes = st.builds(IntVector, st.integers(0, 6), st.integers(0, 6))


@given(vectors, vectors)
def test_vectors_add_and_subtract(a, b):
    assert a + b - b == a
    assert (a + b).x == a.x + b.x


@given(vectors, sizes)
def test_the_lower_right_corner_is_outside(corner, size):
    rectangle = IntRectangle(corner, corner + size)
    assert (rectangle.width, rectangle.height) == (size.x, size.y)
    inside = [
        (x, y)
        for x in range(corner.x - 1, corner.x + size.x + 2)
        for y in range(corner.y - 1, corner.y + size.y + 2)
        if rectangle.contains(IntVector(x, y))
    ]
    assert len(inside) == size.x * size.y


@given(vectors, sizes)
def test_a_size_by_its_name_is_a_size(corner, size):
    corners = IntRectangle(corner, corner + size)
    assert IntRectangle(origin=corner, dims=size) == corners
    assert IntRectangle(corner, dims=size) == corners
    assert IntRectangle(upper_left=corner, lower_right=corner + size) == corners
    assert hash(IntRectangle(origin=corner, dims=size)) == hash(corners)


ONE = IntVector(1, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: IntRectangle(ONE, IntVector(0, 2)),
            r"lower right corner left of or above .* a height, write IntRectangle\(origin=…, dims",
        ),
        (
            lambda: IntRectangle(origin=ONE, dims=IntVector(2, -1)),
            r"dims=IntVector\(x=2, y=-1\) is not a size: it is negative",
        ),
        (lambda: IntRectangle(ONE), "give either lower_right.* or dims, the width"),
        (lambda: IntRectangle(ONE, ONE, dims=ONE), "give either lower_right"),
        (lambda: IntRectangle(ONE, upper_left=ONE, origin=ONE), "origin is another name of"),
        (lambda: IntRectangle((1, 1), ONE), r"\(1, 1\) is not a vector: write IntVector\(x, y\)"),
        (lambda: IntRectangle(ONE, dims=(1, 1)), r"\(1, 1\) is not a vector"),
        (lambda: IntRectangle(None, ONE), "None is not a vector"),
    ],
)
def test_what_is_no_rectangle_is_refused(make, message):
    with pytest.raises(HostError, match=message):
        make()
