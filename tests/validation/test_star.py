"""The star reduce that is built below CSL."""

import pytest

from onewafer.arch import load_architecture
from onewafer.image import verify
from onewafer.validation import Bench, star

WSE2 = load_architecture("wse2", profile="silicon")


@pytest.mark.parametrize("longest", [2, 5, 100])
def test_streams_are_added_in_several_operations_where_extents_end(monkeypatch, longest):
    monkeypatch.setattr(star, "_LONGEST_OPERATION", longest)
    image = star.star_image(WSE2, num_pes=6, num_words=2)
    verify(image, WSE2)
    run = Bench("reference").run_image(image, WSE2)
    run.expect_total("sums", 0, value=10.0)
    assert len(run.stopwatch.starts(0)) == -(-5 // (longest // 2))
