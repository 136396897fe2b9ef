"""Queues of fabric DSDs that name none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.codegen.queue_plan import choose_queues
from onewafer.image import DsdDescriptor, DsdKind, QueueBinding

WSE2 = load_architecture("wse2")
SIDES = (DsdKind.FABIN, DsdKind.FABOUT)


def queues(*dsds, bindings=(), uses_memcpy=True):
    """Return the queues that DSDs of `(kind, color, queue)` get."""
    chosen = choose_queues(
        [DsdDescriptor(kind, color, queue) for kind, color, queue in dsds],
        bindings,
        WSE2,
        uses_memcpy=uses_memcpy,
    )
    return [dsd.queue for dsd in chosen]


def test_each_color_has_its_own_that_the_program_does_not_name():
    into = DsdKind.FABIN
    assert queues((into, 7, -1), (into, 5, 1), (into, 6, -1), (into, 7, -1)) == [2, 1, 0, 2]


def test_the_two_sides_do_not_count_as_one():
    out, into = DsdKind.FABOUT, DsdKind.FABIN
    assert queues((out, 7, -1), (into, 7, -1), uses_memcpy=False) == [0, 0]
    assert queues((out, 7, 0), (into, 7, -1)) == [0, 0]


def test_a_color_keeps_the_queue_that_the_program_names_for_it():
    into, out = SIDES
    assert queues((out, 7, -1), (out, 7, 4)) == [4, 4]
    bindings = [QueueBinding(5, 8, is_input=True)]
    assert queues((into, 7, -1), (into, 8, -1), bindings=bindings) == [0, 5]


def test_colors_share_queues_if_there_are_too_few():
    out = DsdKind.FABOUT
    assert queues(*((out, color, -1) for color in range(7))) == [0, 1, 2, 3, 4, 5, 0]
    named = [(out, color, color) for color in range(6)]
    assert queues(*named, (out, 9, -1)) == [0, 1, 2, 3, 4, 5, 0]


def test_memory_has_no_queue():
    memory = DsdDescriptor(DsdKind.MEM1D)
    assert choose_queues([memory], (), WSE2, uses_memcpy=True) == (memory,)


USABLE = {
    (DsdKind.FABIN, False): set(range(8)),
    (DsdKind.FABIN, True): set(range(8)),
    (DsdKind.FABOUT, False): set(range(6)),
    (DsdKind.FABOUT, True): set(range(6)),
}
DSDS = st.lists(st.tuples(st.sampled_from(SIDES), st.integers(0, 20), st.integers(-1, 5)))


@given(DSDS, st.booleans())
def test_named_ones_stay_and_all_others_can_be_used(dsds, uses_memcpy):
    chosen = queues(*dsds, uses_memcpy=uses_memcpy)
    for (kind, color, before), after in zip(dsds, chosen, strict=True):
        here = [(c, q) for k, c, q in dsds if k is kind and q >= 0]
        if before >= 0:
            assert after == before
        elif any(c == color for c, _ in here):
            assert (color, after) in here
        else:
            taken, usable = {q for _, q in here}, USABLE[kind, uses_memcpy]
            assert after in usable
            assert after not in taken or taken >= usable


@given(DSDS)
def test_a_color_without_a_name_has_one_queue(dsds):
    found = {}
    for (kind, color, before), after in zip(dsds, queues(*dsds), strict=True):
        if before < 0:
            assert found.setdefault((kind, color), after) == after
