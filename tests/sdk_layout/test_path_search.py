"""Paths by property: each leads where it should, and none crosses another."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.geometry import Direction
from onewafer.sdk_layout.path_search import NoPathError, Request, Terminal, find_paths

SIZE = 9
LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)
PES = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1))


def anywhere(pe, preferred=Direction.EAST):
    return Terminal(pe, frozenset(LINKS), preferred)


def grid(blocked=()):
    is_blocked = np.zeros((SIZE, SIZE), np.bool_)
    for x, y in blocked:
        is_blocked[y, x] = True
    return is_blocked, np.zeros((SIZE, SIZE), np.int64)


@given(
    ends=st.lists(PES, min_size=2, max_size=10, unique=True),
    blocked=st.sets(PES, max_size=20),
)
def test_paths_lead_from_end_to_end_without_a_common_pe(ends, blocked):
    requests = [
        Request(anywhere(start), anywhere(end))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    ]
    given_ends = {pe for request in requests for pe in (request.start.pe, request.end.pe)}
    blocked |= given_ends
    try:
        paths = find_paths(requests, *grid(blocked))
    except NoPathError as error:
        assert 0 <= error.request < len(requests)  # noqa: PT017 - a wall is no failure
        return
    inner = [pe for path in paths for pe in path[1:-1]]
    assert len(set(inner)) == len(inner)
    assert not blocked.intersection(inner)
    for request, path in zip(requests, paths, strict=True):
        assert (path[0], path[-1]) == (request.start.pe, request.end.pe)
        for (x, y), (next_x, next_y) in pairwise(path):
            assert abs(x - next_x) + abs(y - next_y) == 1


@given(start=PES, end=PES)
def test_a_lone_path_is_a_shortest_one(start, end):
    if start == end:
        return
    (path,) = find_paths([Request(anywhere(start), anywhere(end))], *grid())
    # The other side of a port costs three hops, so that a path may go around for the preferred.
    shortest = abs(start[0] - end[0]) + abs(start[1] - end[1])
    assert shortest <= len(path) - 1 <= shortest + 6


def test_a_path_leaves_by_the_sides_of_its_ends():
    start = Terminal((4, 4), frozenset({Direction.NORTH}), Direction.NORTH)
    end = Terminal((4, 6), frozenset({Direction.SOUTH}), Direction.SOUTH)
    (path,) = find_paths([Request(start, end)], *grid())
    assert (path[1], path[-2]) == ((4, 3), (4, 7))


def test_one_path_makes_room_for_another():
    """The straight way of the first is the only way of the second."""
    wall = [(x, 4) for x in range(SIZE) if x not in (3, 7)]
    first = Request(anywhere((3, 2), Direction.SOUTH), anywhere((3, 6), Direction.NORTH))
    second = Request(
        Terminal((2, 3), frozenset({Direction.EAST}), Direction.EAST),
        Terminal((2, 5), frozenset({Direction.EAST}), Direction.EAST),
    )
    blocked = [*wall, (3, 2), (3, 6), (2, 3), (2, 5), (4, 3)]
    paths = find_paths([first, second], *grid(blocked))
    assert (7, 4) in paths[0]
    assert (3, 4) in paths[1]


def test_a_wall_is_named_by_its_request():
    wall = [(4, y) for y in range(SIZE)]
    free = Request(anywhere((0, 0)), anywhere((2, 0)))
    cut = Request(anywhere((0, 4)), anywhere((8, 4)))
    with pytest.raises(NoPathError) as caught:
        find_paths([free, cut], *grid(wall))
    assert (caught.value.request, caught.value.conflict) == (1, None)


def test_a_bottleneck_is_named_by_its_pe():
    wall = [(4, y) for y in range(SIZE) if y != 4]
    requests = [Request(anywhere((2, y)), anywhere((6, y))) for y in (3, 5)]
    with pytest.raises(NoPathError) as caught:
        find_paths(requests, *grid(wall))
    assert caught.value.conflict is not None


def test_the_nearest_goal_is_taken():
    request = Request(anywhere((4, 4)), None, frozenset({(0, 4), (4, 8), (6, 4)}))
    (path,) = find_paths([request], *grid())
    assert path == ((4, 4), (5, 4), (6, 4))


def test_costs_are_gone_around():
    is_blocked, costs = grid()
    costs[4, 4] = 100
    (path,) = find_paths([Request(anywhere((2, 4)), anywhere((6, 4)))], is_blocked, costs)
    assert (4, 4) not in path
