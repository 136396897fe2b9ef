"""Measuring kernels, on the host in place of a GPU: what comes out, not how fast it is."""

import pytest
import torch

from onewafer.cli.main import execute
from onewafer.errors import ConfigurationError
from onewafer.perf.gpu import AttentionShape, NumberFormat
from onewafer.pytorch import calibration
from onewafer.pytorch.calibration import FULL, QUICK, Grid, find_device, measure_gpu

SMALL = Grid(
    rows=(1, 4),
    features=(16, 32),
    heads=((4, 2),),
    head_features=(8,),
    sequences=(1, 2),
    lengths=(4, 16),
    most_attention_elements=700,
    copy_bytes=1 << 12,
    least_seconds=1e-4,
)


def test_every_point_is_measured_once_and_progress_reaches_the_end():
    heard = []
    profile = measure_gpu(torch.device("cpu"), SMALL, progress=lambda *news: heard.append(news))

    products = profile.products[NumberFormat.BF16]
    assert len(products.seconds) == 2 * 2 * 2
    assert all(products.seconds > 0)
    assert profile.copy_bytes_per_second > 0
    assert profile.launch_seconds > 0
    assert [done for _, done, _ in heard] == [*range(1, SMALL.num_points + 1)]


def test_points_of_attention_that_are_too_large_are_left_out():
    profile = measure_gpu(torch.device("cpu"), SMALL, progress=lambda *_: None)
    (decode,), (prefill,) = profile.decode, profile.prefill

    assert decode.shape == AttentionShape(4, 2, 8)
    # A point has sequences × length × heads × features elements: of keys, or of queries.
    assert [*zip(*decode.points.sizes, strict=True)] == [(1, 4), (1, 16), (2, 4), (2, 16)]
    assert [*zip(*prefill.points.sizes, strict=True)] == [(1, 4), (1, 16), (2, 4)]


@pytest.mark.parametrize("grid", [FULL, QUICK])
def test_every_shape_of_a_grid_has_points(grid):
    smallest = min(grid.sequences) * min(grid.lengths)

    assert all(
        smallest * heads * features <= grid.most_attention_elements
        for heads, _ in grid.heads
        for features in grid.head_features
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_measure(tmp_path, capsys):
    target = tmp_path / "gpu.json"

    assert execute(["calibrate", "gpu", "--output", str(target)]) == 2
    assert "PyTorch sees no GPU here" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("name", ["cpu", "cuda:7", "gpu", "cuda:x"])
def test_a_device_that_is_no_gpu_of_this_computer(monkeypatch, name):
    monkeypatch.setattr(calibration.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(calibration.torch.cuda, "device_count", lambda: 2)

    with pytest.raises(ConfigurationError, match=name):
        find_device(name)
    assert find_device("cuda:1") == torch.device("cuda:1")
    assert find_device(None) == torch.device("cuda:0")
