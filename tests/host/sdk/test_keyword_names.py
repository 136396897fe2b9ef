"""Parameters with more than one name."""

import inspect

import pytest

from onewafer.errors import HostError
from onewafer.host import also_named


@also_named(old="new", older="new")
def double(new, times=2):
    """Return a multiple."""
    return times * new


@pytest.mark.parametrize("name", ["new", "old", "older"])
def test_every_name_is_the_parameter(name):
    assert double(**{name: 3}) == 6
    assert double(**{name: 3, "times": 3}) == 9


def test_the_function_stays_what_it_is():
    assert (double(3), double(3, 4)) == (6, 12)
    assert list(inspect.signature(double).parameters) == ["new", "times"]
    assert double.__doc__ == "Return a multiple."


@pytest.mark.parametrize("names", [("new", "old"), ("old", "older")])
def test_two_names_at_once_are_refused(names):
    with pytest.raises(HostError, match=r"double: old.* is another name of new: leave one out"):
        double(**dict.fromkeys(names, 1))


def test_an_unknown_name_is_the_error_of_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'oldest'"):
        double(oldest=1)
