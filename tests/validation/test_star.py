"""The star reduce, whose streams merge in the routers."""

import pytest

from onewafer.validation import Bench


@pytest.mark.parametrize("longest", [2, 5, 100])
def test_streams_are_added_in_several_operations_where_extents_end(longest):
    params = {"num_pes": 6, "num_words": 2, "longest": longest}
    run = Bench("reference").run("star", "wse2", "silicon", params=params)
    run.expect_total("sums", 0, value=10.0)
    assert len(run.stopwatch.starts(0)) == -(-5 // (longest // 2))
