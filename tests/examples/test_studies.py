"""The studies that ship: they can be read, and the stencil computes what it says."""

from pathlib import Path

import numpy as np
import pytest

import onewafer
from onewafer.sweep import read_study

FOLDER = Path(__file__).parents[2] / "examples" / "studies"
WIDTH, HEIGHT, DEPTH, REACH = 6, 5, 5, 4
WEIGHTS = (-2.847222, 1.6, -0.2, 0.025396825, -0.0017857143)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_a_study_can_be_read(path):
    study = read_study(path)
    assert study.title != path.stem
    assert study.objectives


def test_the_stencil_has_four_points_to_each_side():
    params = {"width": WIDTH, "height": HEIGHT, "depth": DEPTH, "num_rounds": 2}
    program = onewafer.compile_csl(FOLDER / "stencil" / "layout.csl", params=params)
    points = np.random.default_rng(7).normal(size=(HEIGHT, WIDTH, DEPTH)).astype(np.float32)
    around = np.pad(points, REACH)
    expected = 3 * WEIGHTS[0] * points
    for distance in range(1, REACH + 1):
        for axis in range(3):
            both = np.roll(around, distance, axis) + np.roll(around, -distance, axis)
            inside = both[REACH:-REACH, REACH:-REACH, REACH:-REACH]
            expected = expected + WEIGHTS[distance] * inside

    with onewafer.load(program) as run:
        run.write("points", np.pad(points, ((0, 0), (0, 0), (REACH, REACH))))
        run.launch("main")
        np.testing.assert_allclose(run.read("result"), expected, rtol=0, atol=1e-4)
