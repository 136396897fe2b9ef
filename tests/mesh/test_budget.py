from __future__ import annotations

import re

import pytest

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.mesh import footprint, num_tile_programs, shard, verify
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")


def sharded(sizes, width, height, **options):
    return shard(mlp(sizes, **options), width=width, height=height, architecture=WSE3)


def test_footprint_adds_up():
    program = sharded([8, 8, 8], 2, 2, batch=3)
    needed = footprint(program, WSE3)
    assert needed.weights == 4 * 2 * (4 * 4 + 4)
    assert needed.activations == 4 * (1 + 2 * 3 * 4)  # they begin a word behind a whole period
    assert needed.schedule == 16 * (len(program.operations) + 1)
    assert needed.total <= WSE3.memory_bytes


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (100, 100)])
def test_tile_programs_stay_within_sixteen(size):
    assert num_tile_programs(sharded([8, 8], *size)) <= 16


def test_a_rectangle_that_is_too_small_names_one_that_is_not():
    with pytest.raises(ConfigurationError, match=r"weights 321,600 B.*at least \d+×\d+") as error:
        verify(sharded([400, 400, 400], 2, 2), WSE3)
    width, height = re.search(r"at least (\d+)×(\d+)", str(error.value)).groups()
    verify(sharded([400, 400, 400], int(width), int(height)), WSE3)
    with pytest.raises(ConfigurationError):
        verify(sharded([400, 400, 400], int(width) - 1, int(height) - 1), WSE3)


def test_a_model_that_fits_no_rectangle_is_unsupported():
    with pytest.raises(UnsupportedOperationError, match="does not fit the largest rectangle"):
        verify(sharded([300_000, 300_000], 100, 100), WSE3)


def test_rectangles_beyond_the_wafer_are_refused():
    with pytest.raises(ConfigurationError, match="width must be 1–755, height 1–1170"):
        sharded([4, 4], 756, 1)
    with pytest.raises(ConfigurationError, match="not available"):
        sharded([4, 4], 0, 1)
