"""Regions never overlap, never leave their wafer, and follow each other."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.wafer.packing import Site, crossings, num_wafers, pack
from tests.perf.wafer.sites import has_overlap, is_inside, overlap

WAFER = (755, 1170)
RECTANGLES = st.lists(
    st.tuples(st.integers(1, WAFER[0]), st.integers(1, WAFER[1])), min_size=1, max_size=60
)


@given(RECTANGLES)
def test_sites_are_inside_and_share_no_pe(rectangles):
    sites = pack(rectangles, WAFER)

    assert [(site.width, site.height) for site in sites] == rectangles
    assert all(is_inside(site, WAFER) for site in sites)
    assert not has_overlap(sites)
    assert not any(overlap(a, b) for i, a in enumerate(sites) for b in sites[:i])
    assert crossings(sites) == num_wafers(sites) - 1


@given(st.integers(1, 12), st.integers(1, 12))
def test_equal_regions_that_divide_a_wafer_fill_it(columns, rows):
    sites = pack([(WAFER[0] // columns, WAFER[1] // rows)] * (columns * rows), WAFER)

    assert num_wafers(sites) == 1


def test_regions_that_follow_each_other_are_neighbours():
    """Two a shelf: the third lies above the second, not above the first."""
    sites = pack([(3, 2)] * 4, (7, 4))

    assert [(site.x, site.y) for site in sites] == [(0, 0), (3, 0), (4, 2), (1, 2)]
    assert [a.hops_to(b) for a, b in pairwise(sites)] == [3, 3, 3]


def test_a_region_that_is_larger_than_a_wafer_has_no_site():
    assert pack([(8, 1)], (7, 4)) is None
    assert pack([(1, 5)], (7, 4)) is None


def test_an_overlap_is_found():
    assert has_overlap([Site(0, 0, 0, 3, 3), Site(0, 2, 2, 1, 1)])
    assert not has_overlap([Site(0, 0, 0, 3, 3), Site(1, 2, 2, 1, 1), Site(0, 3, 0, 1, 1)])
