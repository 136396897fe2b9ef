"""`<random>`: numbers within the bounds, evenly."""

from __future__ import annotations

import numpy as np

from tests.csl.library.kernel import apply


def test_numbers_lie_evenly_between_the_bounds():
    draws, _ = apply("random.random_f32(-1.0, 1.0)", np.zeros(4096, np.float32))
    assert np.all((draws >= -1) & (draws < 1))
    assert abs(draws.mean()) < 0.03
    assert abs(draws.var() - 1 / 3) < 0.02
    assert len(np.unique(draws)) > 4000
