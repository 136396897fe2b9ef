import pytest

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.blocks import PLAIN_ORDER, FeatureOrder
from onewafer.mesh.relations import Heads, Relations


def test_heads_of_several_sizes_go_together_in_plain_order():
    relations = Relations()
    relations.arrange("x", Heads.of(4))
    relations.arrange("x", Heads.of(2, 1))
    assert relations.order("x") == PLAIN_ORDER


def test_heads_of_one_size_take_the_order_that_one_operation_needs():
    relations = Relations()
    relations.arrange("x", Heads.of(4))
    relations.arrange("x", Heads.of(4, 3, swapped=4))
    assert relations.order("x") == FeatureOrder(4, 3, swapped=4)


@pytest.mark.parametrize(
    "other",
    [
        Heads.of(2),
        Heads.of(4, 3),
        Heads.of(4, swapped=0),
        Heads.of(2, swapped=2),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_first", [True, False])
def test_an_order_that_another_operation_forbids_is_refused(other, is_first):
    wish = Heads.of(4, 2, swapped=4)
    relations = Relations()
    relations.arrange("x", wish if is_first else other)
    with pytest.raises(UnsupportedOperationError, match=r"different orders of features of 'x'"):
        relations.arrange("x", other if is_first else wish)
