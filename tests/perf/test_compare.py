"""Comparing systems: which equations answer, and what they share."""

from dataclasses import replace

import numpy as np
import pytest

from onewafer.errors import ConfigurationError
from onewafer.perf import (
    Answer,
    CompareOptions,
    Decode,
    Forward,
    Precision,
    Prefill,
    Refusal,
    Serve,
    Train,
    compare,
    device_of,
)
from onewafer.perf import gpu as gpus
from onewafer.perf.checks import check_job
from onewafer.perf.gpu import AttentionPoints, AttentionShape, NumberFormat, Points, Profile
from onewafer.perf.groups import parse_groups
from onewafer.perf.published import published_figures, topics
from tests.perf.dense_model import Sizes, dense_model
from tests.perf.feature_map_models import small_network

SIZES = Sizes(layers=2, hidden=256, heads=4, kv_heads=2, features=64, inner=512, vocabulary=1024)
MODEL = dense_model("llama-3.1-8b", SIZES)
JOB = Decode(context=128)


def test_results_come_in_the_order_of_the_systems():
    comparison = compare(MODEL, JOB, ["h100x2", "cs3", "a100"])

    assert [result.system for result in comparison.results] == ["h100x2", "cs3", "a100x1"]
    assert len(comparison.answers) == 3


def test_progress_is_told_each_system_in_order():
    told: list[str] = []
    compare(MODEL, JOB, ["h100x2", "a100"], progress=told.append)

    assert told == ["h100x2", "a100"]


def test_a_system_that_cannot_has_a_refusal_among_the_results():
    comparison = compare(MODEL, Decode(batch=10**6, context=4096), ["h100"])

    assert isinstance(comparison.results[0], Refusal)
    assert comparison.answers == ()


def test_a_gpu_without_the_arithmetic_does_not_end_the_comparison():
    options = CompareOptions(gpu=gpus.GpuOptions(precision=Precision.FP4))
    comparison = compare(MODEL, JOB, ["h100", "b200"], options)

    assert [refusal.system for refusal in comparison.refusals] == ["h100x1"]
    assert "has no nvfp4 arithmetic" in comparison.refusals[0].reason
    assert len(comparison.answers) == 1


def test_python_gets_what_equations_say_of_each_system():
    (answer,) = compare(MODEL, JOB, ["h100x2"]).answers
    alone = gpus.estimate(MODEL, JOB, "h100x2")

    assert isinstance(alone, Answer)
    assert answer.breakdown == alone.breakdown


def test_prices_are_of_a_device_and_sum_over_them():
    (answer,) = compare(MODEL, JOB, ["h100x2"], CompareOptions(prices={"h100": 2.0})).answers

    assert answer.price_per_hour == 2.0 * answer.num_devices
    expected = answer.price_per_hour / 3600 / answer.tokens_per_second * 1e6
    assert answer.price_per_million_tokens == pytest.approx(expected)


def _profile(device):
    points = Points((np.array([1.0]), np.array([64.0])), np.array([1.0]))
    attention = (AttentionPoints(AttentionShape(4, 2, 64), points),)
    products = Points(tuple(np.array([64.0]) for _ in range(3)), np.array([1.0]))
    return Profile(
        device=device,
        software="a version",
        copy_bytes_per_second=1e12,
        launch_seconds=1e-6,
        products={NumberFormat.BF16: products},
        decode=attention,
        prefill=attention,
    )


def test_a_profile_changes_the_gpu_that_it_is_of_and_no_other():
    options = CompareOptions(gpu=gpus.GpuOptions(profile=_profile("NVIDIA H100 80GB HBM3")))
    with_profile = compare(MODEL, JOB, ["h100", "h200"], options).answers
    without = compare(MODEL, JOB, ["h100", "h200"]).answers

    assert with_profile[0].breakdown.seconds > 100 * without[0].breakdown.seconds
    assert with_profile[1].breakdown == without[1].breakdown


def test_a_profile_of_a_gpu_that_nobody_asks_about():
    options = CompareOptions(gpu=gpus.GpuOptions(profile=_profile("NVIDIA L4")))
    with pytest.raises(ConfigurationError, match="profile is of NVIDIA L4, which no system"):
        compare(MODEL, JOB, ["cs3", "h100"], options)


@pytest.mark.parametrize(
    ("name", "device"), [("CS3X4", "cs3"), ("gb200x72", "gb200"), (" h100x8", "h100")]
)
def test_the_device_of_a_system(name, device):
    assert device_of(name) == device


@pytest.mark.parametrize("name", ["", "x8", "h100x", "h100x0", "cs3x-1", "cs", "8"])
def test_what_is_no_system(name):
    with pytest.raises(ConfigurationError):
        device_of(name)


@pytest.mark.parametrize(
    "job",
    [
        Decode(context=131_073),
        Prefill(tokens=131_073),
        Serve(concurrency=1, prompt=131_000, answer=100),
        Train(tokens=1e9, sequence=200_000, batch=1),
    ],
)
def test_sequences_longer_than_the_model_was_made_for(job):
    with pytest.raises(ConfigurationError, match="made for sequences of up to 131,072 tokens"):
        check_job(MODEL, job)


def test_a_model_with_fixed_tokens_takes_no_others():
    picture = replace(MODEL, fixed_tokens=197)

    check_job(picture, Prefill(tokens=197))
    check_job(picture, Forward(batch=8))
    with pytest.raises(ConfigurationError, match="one size, which are 197 rows to it, not 128"):
        check_job(picture, Prefill(tokens=128))


def test_a_pass_over_samples_needs_a_size_that_the_model_fixes():
    with pytest.raises(ConfigurationError, match=r"any length.* ask for Prefill\("):
        check_job(MODEL, Forward(batch=8))


@pytest.mark.parametrize("job", [Forward(batch=4), Prefill(batch=4, tokens=1024)])
def test_samples_are_counted_as_samples(job):
    options = CompareOptions(gpu=gpus.GpuOptions(uses_tables=False), prices={"h100": 3.6})
    comparison = compare(small_network(), job, ["h100x4"], options)
    (answer,) = comparison.answers

    assert comparison.job == answer.job == Forward(batch=4)
    assert answer.ttft_seconds is None
    assert answer.pass_seconds == pytest.approx(answer.breakdown.seconds)
    assert answer.samples_per_second == pytest.approx(4 / answer.breakdown.seconds)
    assert answer.joules_per_sample == pytest.approx(answer.watts / answer.samples_per_second)
    assert answer.price_per_million_samples == pytest.approx(
        4 * 3.6 / 3600 / answer.samples_per_second * 1e6
    )


def test_an_encoder_has_the_time_of_a_batch_and_no_first_token():
    encoder = replace(MODEL, segments=(MODEL.segments[0],))
    options = CompareOptions(gpu=gpus.GpuOptions(uses_tables=False))
    (answer,) = compare(encoder, Prefill(batch=2, tokens=64), ["h100"], options).answers

    assert answer.ttft_seconds is None
    assert answer.pass_seconds == pytest.approx(answer.breakdown.seconds)
    assert answer.samples_per_second is None


def test_a_model_without_a_cache_has_no_next_token():
    encoder = replace(MODEL, segments=(MODEL.segments[0],))

    with pytest.raises(ConfigurationError, match="nothing to decode; ask for --prefill, one pass"):
        check_job(encoder, JOB)
    with pytest.raises(ConfigurationError, match=r"nothing to serve; .* over --batch samples"):
        check_job(small_network(), Serve(concurrency=1, prompt=8, answer=8))


def test_what_no_system_can_is_said_before_any_is_asked():
    asked = []

    def ask(**options):
        options = CompareOptions(**options)
        compare(MODEL, JOB, ["cs3", "h100"], options, progress=asked.append)

    with pytest.raises(ConfigurationError, match="takes 3 GPUs, and h100x1 has 1"):
        ask(groups=parse_groups("tp3"))
    with pytest.raises(ConfigurationError, match="there is no engine 'foo'"):
        ask(gpu=gpus.GpuOptions(engine="foo"))
    assert not asked


def test_runs_on_devices_that_nobody_models_are_not_shown_beside_ours():
    model = dense_model("deepseek-v3", replace(SIZES, layers=2))

    (answer,) = compare(model, Train(tokens=1e9, sequence=128, batch=8), ["h100x8"]).answers

    assert {device_of(figure.system) for figure in answer.published} == {"h100"}


def test_every_figure_that_may_stand_beside_ours_is_of_a_known_system():
    figures = [figure for topic in topics() for figure in published_figures(topic)]
    comparable = [
        figure
        for figure in figures
        if "job" in figure.conditions and figure.conditions.get("is_comparable", True)
    ]

    assert comparable
    for figure in comparable:
        device_of(figure.system)
