"""Wrong values are found: one bit of one element, and sums that rounding does not explain."""

import numpy as np
import pytest

from onewafer.known_answers import WrongResultError, check_bits, check_bound


def test_bits_are_compared_and_not_values():
    zero = np.zeros((1, 1, 1), np.float32)
    check_bits("sums", zero, zero)
    with pytest.raises(WrongResultError, match=r"'sums'\[0\] of PE \(0, 0\)"):
        check_bits("sums", -zero, zero)


def test_the_bound_is_that_of_the_roundings():
    found, one = np.array([1 + 2.0**-20], np.float32), np.array([1.0])
    check_bound("sums", found, one, magnitude=one, num_additions=16)
    with pytest.raises(WrongResultError, match="15 roundings explain"):
        check_bound("sums", found, one, magnitude=one, num_additions=15)
    with pytest.raises(WrongResultError):
        check_bound("sums", found * np.float32("nan"), one, magnitude=one, num_additions=16)
