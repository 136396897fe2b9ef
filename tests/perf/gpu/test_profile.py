"""Profiles of the user's own GPU: the file, and what kernels are timed by."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_gpu
from onewafer.errors import ConfigurationError
from onewafer.perf.gpu import (
    AttentionPoints,
    AttentionShape,
    NumberFormat,
    Points,
    Profile,
    profile_to_json,
    read_profile,
)
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.collectives import Collective
from onewafer.perf.gpu.kernels import DecodeAttention, Gemm, PrefillAttention

SECONDS = st.floats(1e-7, 10, allow_subnormal=False)


def _grid(*axes, seconds):
    sizes = np.array(np.meshgrid(*axes, indexing="ij"), dtype=np.float64)
    columns = tuple(sizes.reshape(len(axes), -1))
    return Points(columns, np.array(seconds(len(columns[0]))))


def _profile(seconds):
    def attention(heads, kv_heads):
        points = _grid((1, 8), (128, 512, 4096), seconds=seconds)
        return AttentionPoints(AttentionShape(heads, kv_heads, 128), points)

    return Profile(
        device="a card",
        software="a version",
        copy_bytes_per_second=3e12,
        launch_seconds=2e-6,
        products={NumberFormat.BF16: _grid((1, 16, 512), (64, 4096), (64, 512), seconds=seconds)},
        decode=(attention(32, 8), attention(8, 1)),
        prefill=(attention(32, 8),),
    )


@given(st.data())
def test_kernels_of_measured_sizes_take_what_was_measured(data):
    profile = _profile(lambda n: data.draw(st.lists(SECONDS, min_size=n, max_size=n)))
    clock = KernelClock(load_gpu("h100"), profile)

    points = profile.products[NumberFormat.BF16]
    for *sizes, seconds in zip(*points.sizes, points.seconds, strict=True):
        rows, outputs, inputs = map(int, sizes)
        time = clock.time(Gemm(rows, outputs, inputs, NumberFormat.BF16))
        assert time.seconds == pytest.approx(seconds)
        assert time.is_measured
    (prefill,) = profile.prefill
    for sequences, tokens, seconds in zip(
        *prefill.points.sizes, prefill.points.seconds, strict=True
    ):
        kernel = PrefillAttention(prefill.shape, int(sequences), int(tokens), 0, NumberFormat.BF16)
        assert clock.time(kernel).seconds == pytest.approx(seconds)


def test_attention_is_timed_by_the_nearest_heads():
    profile = _profile(lambda n: np.arange(1, n + 1) * 1e-5)
    found = profile.decode_attention(AttentionShape(7, 1, 128), NumberFormat.BF16)

    assert found is not None
    assert found.shape == AttentionShape(8, 1, 128)


@pytest.mark.parametrize(
    ("shape", "cache"),
    [
        (AttentionShape(32, 8, 64), NumberFormat.BF16),
        (AttentionShape(32, 8, 128), NumberFormat.FP8),
    ],
)
def test_what_was_not_measured_is_left_to_the_formula(shape, cache):
    profile = _profile(lambda n: np.full(n, 1e-5))
    clock = KernelClock(load_gpu("h100"), profile)

    assert profile.decode_attention(shape, cache) is None
    assert profile.prefill_attention(shape, cache) is None
    assert profile.collective(Collective.ALL_REDUCE, 8) is None
    assert profile.gemm(NumberFormat.FP8) is None
    assert not clock.time(DecodeAttention(shape, 4, 1000, cache)).is_measured


@given(st.data())
def test_a_profile_comes_back_from_its_file(tmp_path_factory, data):
    profile = _profile(lambda n: data.draw(st.lists(SECONDS, min_size=n, max_size=n)))
    path = tmp_path_factory.mktemp("profile") / "gpu.json"
    path.write_text(profile_to_json(profile))
    again = read_profile(path)

    assert profile_to_json(again) == profile_to_json(profile)
    assert again.source == profile.source


DOCUMENT = json.loads(profile_to_json(_profile(lambda n: np.full(n, 1e-5))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "is not JSON"),
        ("[1, 2]", "is not a profile of a GPU"),
        ('{"format": "onewafer-comparison-1"}', "is not a profile of a GPU"),
        (json.dumps({**DOCUMENT, "launch_seconds": 0}), "is damaged.*0 is not positive"),
        (json.dumps({**DOCUMENT, "launch_seconds": None}), "is damaged"),
        (json.dumps({k: v for k, v in DOCUMENT.items() if k != "decode"}), "is damaged.*decode"),
        (json.dumps({**DOCUMENT, "products": {"int3": {}}}), "is damaged.*int3"),
        (json.dumps({**DOCUMENT, "prefill": [{"heads": 1}]}), "is damaged.*kv_heads"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, said):
    path = tmp_path / "gpu.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_profile(path)


@pytest.mark.parametrize(
    "change",
    [{"rows": [1]}, {"seconds": []}, {"rows": [[1]], "outputs": [[1]], "inputs": [[1]]}],
)
def test_points_that_do_not_belong_together_are_refused(tmp_path, change):
    fields = {**DOCUMENT["products"]["bfloat16"], **change}
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({**DOCUMENT, "products": {"bfloat16": fields}}))
    with pytest.raises(ConfigurationError, match="is damaged"):
        read_profile(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gpu\.json: No such file"):
        read_profile(tmp_path / "gpu.json")


@pytest.mark.parametrize(
    ("device", "name", "is_of"),
    [
        ("NVIDIA H100 80GB HBM3", "h100", True),
        ("NVIDIA H100 80GB HBM3", "h200", False),
        ("NVIDIA GB200", "gb200", True),
        ("NVIDIA GB200", "b200", False),
    ],
)
def test_whose_profile_it_is(device, name, is_of):
    profile = replace(_profile(lambda n: np.full(n, 1e-5)), device=device)

    assert profile.is_of(load_gpu(name)) == is_of
