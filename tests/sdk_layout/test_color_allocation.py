"""Values by property: no two nets that meet have the same, and fixed ones stay."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onewafer.arch import load_architecture
from onewafer.errors import HostError
from onewafer.sdk_layout import Color
from onewafer.sdk_layout.color_allocation import allocate_colors
from onewafer.sdk_layout.nets import Net

WSE3 = load_architecture("wse3")
MASKS = arrays(np.bool_, (3, 4))


@given(
    masks=st.lists(MASKS, max_size=30),
    has_switches=st.lists(st.booleans(), min_size=30, max_size=30),
    fixed=st.dictionaries(st.integers(0, 29), st.integers(0, 23), max_size=3),
)
def test_nets_that_meet_have_different_values(masks, has_switches, fixed):
    nets = [
        Net({f"c{n}": Color(f"c{n}", fixed.get(n))}, [], mask, has_switches[n])
        for n, mask in enumerate(masks)
    ]
    try:
        values = allocate_colors(nets, WSE3)
    except HostError as error:
        assert len(nets) > len(WSE3.switchable_colors) or fixed, error  # noqa: PT017 - few enough
        return
    for number, (net, value) in enumerate(zip(nets, values, strict=True)):
        assert fixed.get(number, value) == value
        assert value in (WSE3.switchable_colors if net.has_switches else range(24))
        for other, other_value in zip(nets[:number], values, strict=False):
            assert value != other_value or not (net.pes & other.pes).any()
