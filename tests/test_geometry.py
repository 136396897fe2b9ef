"""Directions and rectangles."""

import pytest

from onewafer.errors import ConfigurationError
from onewafer.geometry import Direction, Rectangle, parse_size


@pytest.mark.parametrize("direction", Direction)
def test_opposites_undo_a_step(direction):
    dx, dy = direction.step
    assert direction.opposite.step == (-dx, -dy)
    assert direction.opposite.opposite is direction


def test_y_grows_south():
    assert Direction.SOUTH.step == (0, 1)
    assert Direction.EAST.step == (1, 0)
    assert Direction.RAMP.step == (0, 0)


def test_a_rectangle_knows_its_pes():
    rectangle = Rectangle(2, 3, 2, 2)
    assert list(rectangle.pes()) == [(2, 3), (3, 3), (2, 4), (3, 4)]
    assert rectangle.num_pes == 4
    assert all(rectangle.contains(x, y) for x, y in rectangle.pes())
    assert not rectangle.contains(4, 3)
    assert not rectangle.contains(1, 3)
    assert str(rectangle) == "2×2 at (2, 3)"


@pytest.mark.parametrize("text", ["0x0", "-1x3", "1x", "2X2", "nanx1", "1.5x2", "9" * 5000 + "x1"])
def test_a_size_is_two_numbers(text):
    with pytest.raises(ConfigurationError, match="write WIDTHxHEIGHT"):
        parse_size(text)
