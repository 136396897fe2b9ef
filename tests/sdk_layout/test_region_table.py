import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from onewafer.geometry import Rectangle
from onewafer.sdk_layout.region_table import RegionTable, cover, rows_and_columns


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_a_cover_is_the_mask_and_nothing_twice(mask):
    count = np.zeros(mask.shape, int)
    for rectangle in cover(mask):
        count[rows_and_columns(rectangle)] += 1
    np.testing.assert_array_equal(count, mask.astype(int))


def test_a_rectangle_is_covered_by_itself():
    mask = np.zeros((6, 7), np.bool_)
    mask[2:5, 1:4] = True
    assert list(cover(mask)) == [Rectangle(1, 2, 3, 3)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 2),
            st.integers(1, 4),
            st.integers(1, 3),
            st.text("ab"),
        )
    )
)
def test_the_last_assignment_counts(assignments):
    table, expected = RegionTable[str].empty(4, 3), np.full((3, 4), None, object)
    for x, y, width, height, value in assignments:
        rectangle = Rectangle(x, y, min(width, 4 - x), min(height, 3 - y))
        table.assign(rectangle, value)
        expected[rows_and_columns(rectangle)] = value
    assert [[table.at(x, y) for x in range(4)] for y in range(3)] == expected.tolist()
    np.testing.assert_array_equal(table.is_set, expected != None)  # noqa: E711 - element by element
    pasted = RegionTable[str].empty(6, 5)
    pasted.assign(Rectangle(0, 0, 6, 5), "below")
    pasted.paste(table, 1, 2)
    assert pasted.at(0, 0) == "below"
    for y, x in np.ndindex(3, 4):
        assert pasted.at(x + 1, y + 2) == (
            expected[y, x] if expected[y, x] is not None else "below"
        )


def test_values_of_two_types_are_two_values():
    table = RegionTable[object].empty(3, 1)
    for x, value in enumerate((1, True, 1.0)):
        table.assign(Rectangle(x, 0, 1, 1), value)
    assert [type(table.at(x, 0)) for x in range(3)] == [int, bool, float]
