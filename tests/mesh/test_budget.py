from __future__ import annotations

import re

import pytest

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, TooLargeError, UnsupportedOperationError
from onewafer.graph import DataType, Graph, RmsNorm, Tensor
from onewafer.mesh import footprint, longest_context, shard, verify
from onewafer.mesh.budget import num_tile_programs
from tests.mesh.models import llama
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
def test_there_are_at_most_nine_tile_programs(size):
    assert num_tile_programs(sharded([8, 8], *size)) <= 9


def test_a_rectangle_that_is_too_small_names_one_that_is_not():
    with pytest.raises(TooLargeError, match=r"weights 321,600 B.*at least \d+×\d+") as error:
        verify(sharded([400, 400, 400], 2, 2), WSE3)
    width, height = re.search(r"at least (\d+)×(\d+)", str(error.value)).groups()
    verify(sharded([400, 400, 400], int(width), int(height)), WSE3)
    with pytest.raises(TooLargeError):
        verify(sharded([400, 400, 400], int(width) - 1, int(height) - 1), WSE3)


def test_a_model_that_fits_no_rectangle_is_too_large():
    with pytest.raises(TooLargeError, match="does not fit the whole WSE-3") as e:
        verify(sharded([300_000, 300_000], 100, 100), WSE3)
    assert str(e.value).endswith("755×1170 PEs: use a smaller model")  # f16 has no room, either
    with pytest.raises(TooLargeError, match="does not fit the whole WSE-3") as e:
        verify(sharded([120_000, 80_000], 100, 100), WSE3)
    assert str(e.value).endswith("755×1170 PEs: use f16 or a smaller model")
    verify(sharded([120_000, 80_000], 755, 1170, dtype=DataType.F16), WSE3)


@pytest.mark.parametrize(("features", "has_room"), [(140, True), (280, False)])
def test_f16_is_named_where_it_has_room(features, has_room):
    with pytest.raises(TooLargeError) as error:
        verify(sharded([features, features], 1, 1), WSE3)
    assert str(error.value).endswith(" PEs, or f16") is has_room
    narrow = sharded([features, features], 1, 1, dtype=DataType.F16)
    assert (footprint(narrow, WSE3).total <= WSE3.memory_bytes) is has_room


def long_llama(positions=4000, width=1, height=2, **options):
    graph = llama(layers=4, features=64, kv_heads=4, positions=positions)
    return shard(graph, width=width, height=height, architecture=WSE3, **options)


def test_a_context_that_is_too_long_names_the_longest_that_fits():
    with pytest.raises(TooLargeError, match=r"context of 4,000 positions.* KV cache") as error:
        verify(long_llama(width=6, height=6), WSE3)
    message = str(error.value)
    longest = int(re.search(r"context of at most ([\d,]+) pos", message)[1].replace(",", ""))
    verify(long_llama(width=6, height=6, context=longest), WSE3)
    with pytest.raises(TooLargeError):
        verify(long_llama(width=6, height=6, context=longest + 6), WSE3)  # a slot more
    width, height = map(int, re.search(r"at least (\d+)×(\d+)", message).groups())
    verify(long_llama(width=width, height=height), WSE3)


def test_a_sequence_that_fits_no_rectangle_is_to_be_shorter():
    graph = llama(layers=1, rows=20_000, positions=20_000, dtype=DataType.F16)
    program = shard(graph, width=8, height=8, architecture=WSE3)
    advice = "use a shorter sequence or a smaller model$"
    with pytest.raises(TooLargeError, match=advice):
        verify(program, WSE3)


def test_the_longest_context_is_a_limit_only_where_something_is_kept():
    assert longest_context(sharded([8, 8], 2, 2), WSE3) is None
    assert longest_context(long_llama(positions=50, width=6, height=6), WSE3) == 50
    assert longest_context(long_llama(), WSE3) is None  # its weights alone are too large


def test_more_positions_than_the_model_has_may_fit():
    program = long_llama(positions=50, width=6, height=6)
    longest = longest_context(program, WSE3, has_tables=False)
    assert longest > 50
    options = {"width": 6, "height": 6}
    assert longest == longest_context(long_llama(positions=longest + 100, **options), WSE3)


def test_more_features_than_a_word_counts_are_refused():
    x, y = (Tensor(name, (1, 150_000), DataType.F16) for name in "xy")
    weight = Tensor("w", (150_000,), DataType.F16)
    graph = Graph("wide", (x,), (weight,), (RmsNorm(y, "x", "w", 1e-5),), ("y",))
    program = shard(graph, width=100, height=1, architecture=WSE3)
    with pytest.raises(UnsupportedOperationError, match=r"dimension of 150,000.*count to 65,535"):
        verify(program, WSE3)


def test_rectangles_beyond_the_wafer_are_refused():
    with pytest.raises(ConfigurationError, match="width must be 1–755, height 1–1170"):
        sharded([4, 4], 756, 1)
    with pytest.raises(ConfigurationError, match="not available"):
        sharded([4, 4], 0, 1)
