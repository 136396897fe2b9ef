import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.geometry import Rectangle
from onewafer.host.program.host_buffer import BufferFormat, MemcpyDataType, MemcpyOrder, Replication

WORD, HALF = MemcpyDataType.MEMCPY_32BIT, MemcpyDataType.MEMCPY_16BIT
ROW, COLUMN = MemcpyOrder.ROW_MAJOR, MemcpyOrder.COL_MAJOR

formats = st.builds(
    BufferFormat,
    st.builds(Rectangle, st.just(0), st.just(0), st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 6),
    st.sampled_from(MemcpyDataType),
    st.sampled_from(MemcpyOrder),
)


def flat_index(layout, y, x, element):
    """Return the position in the host array, as the SDK's documentation puts it in words."""
    width, height = layout.rectangle.width, layout.rectangle.height
    if layout.order is ROW:
        return (y * width + x) * layout.elements_per_pe + element
    return (element * width + x) * height + y


def counting(count):
    return np.arange(1, count + 1, dtype=np.uint32)


@given(formats)
def test_every_element_goes_where_its_indices_say(layout):
    height, width = layout.rectangle.height, layout.rectangle.width
    flat = counting(height * width * layout.elements_per_pe)
    tensor = layout.to_tensor(flat)
    for y, x, element in np.ndindex(height, width, layout.elements_per_pe):
        assert tensor[y, x, element] == flat[flat_index(layout, y, x, element)]


@given(formats)
def test_storing_undoes_unpacking(layout):
    flat = counting(layout.rectangle.num_pes * layout.elements_per_pe)
    result = np.zeros_like(flat)
    layout.store(layout.to_tensor(flat), result)
    np.testing.assert_array_equal(result, flat)


@given(formats, st.sampled_from([Replication.ALONG_ROWS, Replication.ALONG_COLUMNS]))
def test_replication_shares_blocks(layout, replication):
    along_rows = replication is Replication.ALONG_ROWS
    num_blocks = layout.rectangle.height if along_rows else layout.rectangle.width
    shared = counting(num_blocks * layout.elements_per_pe)
    tensor = layout.to_tensor(shared, replication)
    strip = Rectangle(0, 0, 1, num_blocks) if along_rows else Rectangle(0, 0, num_blocks, 1)
    expected = BufferFormat(
        strip, layout.elements_per_pe, layout.data_type, layout.order
    ).to_tensor(shared)
    np.testing.assert_array_equal(tensor, expected)


def test_sixteen_bit_elements_are_low_halves():
    layout = BufferFormat(Rectangle(0, 0, 1, 1), 2, HALF, ROW)
    tensor = layout.to_tensor(np.array([0xAAAA0001, 0xBBBB0002], np.uint32))
    assert tensor.tolist() == [[[1, 2]]]
    assert tensor.dtype == np.uint16
    result = np.full(2, 0xFFFFFFFF, np.uint32)
    layout.store(tensor, result)
    assert result.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32])
def test_results_are_written_in_place_into_any_view(dtype):
    layout = BufferFormat(Rectangle(0, 0, 2, 1), 3, WORD, ROW)
    tensor = np.arange(6, dtype=dtype).reshape(1, 2, 3).view("<u4")
    square = np.zeros((3, 2), dtype)
    layout.store(tensor, square.ravel())
    np.testing.assert_array_equal(square.ravel(), np.arange(6))
    column = np.zeros((6, 1), dtype)
    layout.store(tensor, column)
    np.testing.assert_array_equal(column[:, 0], np.arange(6))
    every_other = np.zeros(12, dtype)
    layout.store(tensor, every_other[::2])
    np.testing.assert_array_equal(every_other[::2], np.arange(6))
    assert not every_other[1::2].any()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(6, np.float64), "32-bit words, this one is float64"),
        (np.zeros(6, np.float16), "input_array_to_u32"),
        (np.zeros(5, np.float32), "has 5 elements, the call moves 6: 2×1 blocks of 3"),
    ],
)
def test_unfit_arrays_are_refused(array, message):
    layout = BufferFormat(Rectangle(0, 0, 2, 1), 3, WORD, ROW)
    with pytest.raises(HostError, match=message):
        layout.to_tensor(array)
    with pytest.raises(HostError, match=message):
        layout.store(np.zeros((1, 2, 3), "<u4"), array)


def test_larger_arrays_are_used_from_their_start():
    """As host scripts do that copy piece after piece out of one array."""
    layout = BufferFormat(Rectangle(0, 0, 2, 1), 3, WORD, ROW)
    tensor = layout.to_tensor(np.arange(9, dtype=np.float32))
    np.testing.assert_array_equal(tensor.view("<f4"), [[[0, 1, 2], [3, 4, 5]]])
    array = np.full((2, 4), 7, np.float32)
    layout.store(tensor, array)
    np.testing.assert_array_equal(array, [[0, 1, 2, 3], [4, 5, 7, 7]])


def test_a_read_only_destination_is_refused():
    layout = BufferFormat(Rectangle(0, 0, 1, 1), 1, WORD, ROW)
    result = np.zeros(1, np.float32)
    result.flags.writeable = False
    with pytest.raises(HostError, match="read-only"):
        layout.store(np.zeros((1, 1, 1), "<u4"), result)


def test_numbers_that_lose_bits_are_warned_of():
    layout = BufferFormat(Rectangle(0, 0, 1, 1), 4, HALF, ROW)
    what = "element 1 of the array, 70000, has bits above the low 16, as 2 have, which MEMCPY_16BIT"
    with pytest.warns(UserWarning, match=what):
        layout.to_tensor(np.array([0xFFFF, 70000, -0x8000, -0x8001], np.int32), caller_level=0)
    with pytest.warns(
        UserWarning, match=r"element 1 of the array, 0\.5, has bits above the low 16 which"
    ):
        layout.to_tensor(np.array([0, 0.5, 0, 0], np.float32))


@given(st.lists(st.integers(-0x8000, 0xFFFF), min_size=4, max_size=4))
def test_numbers_of_16_bits_are_not(numbers):
    """Warnings are errors in tests."""
    layout = BufferFormat(Rectangle(0, 0, 1, 1), 4, HALF, ROW)
    tensor = layout.to_tensor(np.array(numbers, np.int32))
    assert tensor.ravel().tolist() == [number & 0xFFFF for number in numbers]
    layout.to_tensor(np.array([0xABCD_0000 + (number & 0xFFFF) for number in numbers], np.uint32))
