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


def test_swapped_corners_are_refused():
    with pytest.raises(HostError, match="lower right corner left of or above"):
        IntRectangle(IntVector(1, 1), IntVector(0, 2))
