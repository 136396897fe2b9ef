import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import HostError
from onewafer.host import calculate_cycles, float_to_hex, make_u48, sub_ts

STAMPS = st.integers(0, 2**48 - 1)


def words_of(stamp):
    return [stamp >> 16 * place & 0xFFFF for place in range(3)]


@given(start=STAMPS, end=STAMPS, dtype=st.sampled_from((np.uint32, np.int32, np.float32)))
def test_time_stamps_come_back(start, end, dtype):
    """Packed as programs do it: six 16-bit words in three 32-bit ones, bit for bit."""
    words = [*words_of(start), *words_of(end)]
    assert make_u48(words[:3]) == start
    assert sub_ts(words) == end - start
    packed = np.array(words, np.uint16).view(dtype)
    assert calculate_cycles(packed) == end - start
    assert calculate_cycles(packed.reshape(1, 3)) == end - start


@given(st.integers(0, 2**32 - 1).map(lambda bits: np.array([bits], np.uint32)))
def test_bits_of_numbers(bits):
    value = float(bits.view(np.float32)[0])
    if not np.isnan(value):
        assert int(float_to_hex(value), 16) == bits[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_u48([1, 2]), "3 words of 16 bits, not 2"),
        (lambda: sub_ts([1, 2, 3]), "have 6 words, not 3"),
        (lambda: calculate_cycles(np.zeros(6, np.uint32)), "not 6 of uint32: pass those of one PE"),
        (lambda: calculate_cycles(np.zeros(3, np.uint16)), "not 3 of uint16"),
    ],
)
def test_other_numbers_of_words_are_refused(call, message):
    with pytest.raises(HostError, match=message):
        call()
