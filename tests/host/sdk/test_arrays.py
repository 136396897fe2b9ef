import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from onewafer.errors import HostError
from onewafer.host import input_array_to_u32, memcpy_view

shapes = npst.array_shapes(max_dims=3, max_side=6)
halves = npst.arrays(np.uint16, shapes)
containers = npst.arrays(np.uint32, shapes)


@given(containers, st.sampled_from([np.int16, np.uint16, np.float16]))
def test_a_narrow_view_shows_and_writes_the_low_halves(container, dtype):
    view = memcpy_view(container, np.dtype(dtype))
    assert view.shape == container.shape
    np.testing.assert_array_equal(view.view(np.uint16), container.astype(np.uint16))
    high = container >> 16
    view[...] = 1
    expected = int(np.array(1, dtype).view(np.uint16))
    np.testing.assert_array_equal(container, high << 16 | expected)


@given(containers, st.sampled_from([np.int8, np.uint8, np.bool_]))
def test_a_view_of_bytes_shows_and_writes_the_low_ones(container, dtype):
    view = memcpy_view(arr=container, datatype=np.dtype(dtype))
    assert (view.shape, view.dtype) == (container.shape, dtype)
    np.testing.assert_array_equal(view.view(np.uint8), container.astype(np.uint8))
    high = container >> 8
    view[...] = 1
    np.testing.assert_array_equal(container, high << 8 | 1)


@given(containers, st.sampled_from([np.int32, np.uint32, np.float32]))
def test_a_wide_view_shares_memory(container, dtype):
    view = memcpy_view(container, dtype)
    assert view.shape == container.shape
    assert np.shares_memory(view, container)


def test_views_of_strided_containers_work():
    container = np.arange(12, dtype=np.uint32).reshape(3, 4)
    np.testing.assert_array_equal(memcpy_view(container[:, ::2], np.int16), container[:, ::2])


@given(halves)
def test_without_sentinel_values_are_zero_extended(array):
    np.testing.assert_array_equal(input_array_to_u32(array, None, 1), array.astype(np.uint32))


@given(halves, st.integers(0, 3), st.integers(1, 2**16))
def test_with_sentinel_the_high_half_is_the_running_index(array, sentinel, fast_dim_sz):
    words = input_array_to_u32(array, sentinel, fast_dim_sz)
    assert words.shape == array.shape
    np.testing.assert_array_equal(words.astype(np.uint16), array)
    indices = np.arange(array.size).reshape(array.shape) % fast_dim_sz
    np.testing.assert_array_equal(words >> 16, indices)


@given(
    npst.arrays(st.sampled_from([np.int32, np.uint32, np.float32]), shapes),
    st.none() | st.integers(0, 3),
)
def test_words_are_viewed_whatever_the_sentinel(array, sentinel):
    words = input_array_to_u32(array, sentinel, 0)
    assert words.dtype == np.uint32
    assert np.shares_memory(words, array)
    np.testing.assert_array_equal(words, array.view(np.uint32))


def test_older_names_of_the_parameters_stay():
    half, word = np.array([7], np.int16), np.array([0x3C00], np.uint32)
    assert input_array_to_u32(np_arr=half, sentinel=0, fast_dim_sz=1) == [7]
    assert input_array_to_u32(arr=half, sentinel=0, fast_dim_sz=1) == [7]
    assert memcpy_view(word, dtype=np.float16) == [1]


@given(npst.arrays(np.float16, shapes))
def test_widening_and_viewing_are_inverse(array):
    view = memcpy_view(input_array_to_u32(array, None, 1), np.float16)
    np.testing.assert_array_equal(view.view(np.uint16), array.view(np.uint16))


def test_unfit_arrays_are_refused():
    with pytest.raises(HostError, match="array of 32-bit words, not of float64"):
        memcpy_view(np.zeros(1), np.int16)
    with pytest.raises(HostError, match="types of 8, 16 or 32 bits, not float64"):
        memcpy_view(np.zeros(1, np.uint32), np.float64)
    with pytest.raises(HostError, match=r"16 or 32 bits an element, not of float64: .*astype"):
        input_array_to_u32(np.zeros(1), None, 1)
    for call in (lambda a: memcpy_view(a, np.int16), lambda a: input_array_to_u32(a, None, 1)):
        with pytest.raises(HostError, match="needs a NumPy array, not list"):
            call([1, 2])
    with pytest.raises(HostError, match="1 to 65536"):
        input_array_to_u32(np.zeros(1, np.int16), 1, 0)
