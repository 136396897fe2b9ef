"""Grids that are tried: they have room, and the rough count orders them as their programs do."""

import math

from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import Linear
from onewafer.perf.wafer.grids import Grids, group_of
from onewafer.perf.wafer.map_blocks import WHOLE
from tests.perf.dense_model import LLAMA_8B, dense_model
from tests.perf.map_models import block, graph_of, tensor

GRIDS = Grids(block(32, 64))
PLENTY = 40_000


def test_a_group_is_a_rectangle_divided_by_the_grid():
    assert group_of((100, 70), (7, 7)) == (14, 10)


@given(st.integers(1, 755), st.integers(1, 1170))
def test_grids_are_a_few_whose_groups_have_a_pe(width, height):
    grids = GRIDS.best((width, height), lambda _: PLENTY)

    assert len(grids) <= 6
    assert all(min(group_of((width, height), grid)) >= 1 for grid in grids)


def test_nothing_is_tried_without_room():
    assert not GRIDS.best((100, 100), lambda _: -1)
    assert not GRIDS.best((100, 100), lambda _: 5)


def test_groups_are_large_where_only_large_ones_have_room_for_weights():
    grids = GRIDS.best((128, 128), lambda group: PLENTY if math.prod(group) > 3000 else -1)

    assert grids
    assert all(math.prod(group_of((128, 128), grid)) > 3000 for grid in grids)


def test_a_model_of_tokens_has_no_grid():
    layer = dense_model("8b", LLAMA_8B).segments[1].graph

    grids = Grids(layer, has_maps=False)

    assert grids.best((64, 64), lambda _: PLENTY) == (WHOLE,)
    assert not grids.best((64, 64), lambda _: -1)


def test_products_alone_have_grids_too_among_maps():
    linear = graph_of(
        Linear(tensor("p", 4096, 64), "x", "w"),
        parameters=(tensor("w", 64, 64),),
        inputs=(tensor("x", 4096, 64),),
    )

    assert WHOLE not in Grids(linear).best((128, 128), lambda _: PLENTY)
