from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import HostError
from onewafer.graph import FLOATING
from onewafer.mesh import Role, shard
from onewafer.mesh.layout import held_indices, pack, unpack
from tests.mesh.models import llama
from tests.mesh.strategies import mlp

sizes = st.lists(st.integers(1, 9), min_size=2, max_size=4)


@given(sizes, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from(FLOATING))
def test_unpack_undoes_pack(features, batch, width, height, dtype):
    program = shard(
        mlp(features, batch=batch, dtype=dtype),
        width=width,
        height=height,
        architecture=load_architecture("wse3"),
    )
    for placement in program.placements:
        array = np.arange(1, np.prod(placement.shape) + 1).reshape(placement.shape)
        blocks = pack(placement, array, width, height)
        assert blocks.shape == (height, width, placement.num_elements)
        np.testing.assert_array_equal(unpack(placement, blocks, width, height), array)
        check_held(placement, array, blocks)


def check_held(placement, array, blocks):
    """Every PE has the elements of the rows and columns that it is said to hold, and zeros."""
    height, width = blocks.shape[:2]
    matrix = array.reshape(-1, array.shape[-1])
    (row_axis, rows), (column_axis, columns) = held_indices(placement, width, height)
    for y, x in np.ndindex(height, width):
        place = {"x": x, "y": y, "local": 0}
        held = matrix[rows[place[row_axis]]][:, columns[place[column_axis]]]
        assert set(held.ravel()) - {0} == set(blocks[y, x]) - {0}


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(FLOATING), st.sampled_from([0, 2, 4]))
def test_unpack_undoes_pack_of_heads_in_another_order(width, height, dtype, swapped):
    graph = llama(dtype=dtype, has_head_norms=True, layers=1, swapped=swapped)
    program = shard(graph, width=width, height=height, architecture=load_architecture("wse3"))
    assert any(placement.column_order.members == 2 for placement in program.placements)
    for placement in program.placements:
        array = np.arange(1, np.prod(placement.shape) + 1).reshape(placement.shape)
        blocks = pack(placement, array, width, height)
        np.testing.assert_array_equal(unpack(placement, blocks, width, height), array)
        check_held(placement, array, blocks)


def test_weight_blocks_are_transposed_and_padded():
    program = shard(mlp([3, 2]), width=2, height=1, architecture=load_architecture("toy"))
    (weight, _) = program.with_role(Role.PARAMETER)
    blocks = pack(weight, np.array([[1, 2, 3], [4, 5, 6]]), 2, 1)
    np.testing.assert_array_equal(blocks, [[[1, 4, 2, 5], [3, 6, 0, 0]]])


def test_only_positions_of_the_context_are_on_the_wafer():
    """5 of 8 rows lie over 2 PEs, the features of a head twice beside each other and in pairs."""
    graph = llama(layers=1, features=8, heads=2, kv_heads=2, positions=8)
    program = shard(graph, width=2, height=1, architecture=load_architecture("wse3"), context=5)
    (cosine,) = [item for item in program.placements if item.name == "cosine"]
    table = np.arange(32).reshape(8, 4)
    blocks = pack(cosine, table, 2, 1).reshape(2, 3, 8)
    expected = np.tile(table[:5, [0, 2, 1, 3]], (1, 2))
    np.testing.assert_array_equal(blocks[0], expected[:3])
    np.testing.assert_array_equal(blocks[1], [*expected[3:], np.zeros(8)])


def test_wrong_shapes_are_refused():
    program = shard(mlp([3, 2]), width=2, height=1, architecture=load_architecture("toy"))
    placement = program.placements[0]
    with pytest.raises(
        HostError, match=r"'x' has shape \(3,\), the program was built for \(1, 3\)"
    ):
        pack(placement, np.zeros(3), 2, 1)
    with pytest.raises(HostError, match=r"must be \(1, 2, 2\)"):
        unpack(placement, np.zeros((1, 2, 3)), 2, 1)
