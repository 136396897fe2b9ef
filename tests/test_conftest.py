"""What CI leaves to the long run, and that it leaves nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TRIED = []


@settings(max_examples=18)
@given(st.integers())
def test_a_property_tries_a_sixth_of_its_cases_in_ci(number):
    TRIED.append(number)
    assert len(TRIED) <= (3 if settings.get_current_profile_name() == "ci" else 18)


@pytest.mark.alternate
@pytest.mark.parametrize(("first", "name"), [(0, "a"), (1, "a"), (2, "b")])
@pytest.mark.parametrize("second", [0, 1])
def test_every_second_combination_is_slow(request, first, name, second):
    assert name in "ab"
    is_slow = request.node.get_closest_marker("slow") is not None
    assert is_slow == (first + second) % 2


@pytest.mark.alternate(3)
@pytest.mark.parametrize("number", range(5))
def test_all_but_every_third_value_are_slow(request, number):
    is_slow = request.node.get_closest_marker("slow") is not None
    assert is_slow == (number % 3 != 0)
