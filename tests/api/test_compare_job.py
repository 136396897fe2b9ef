"""The job that the arguments of a comparison ask for."""

from dataclasses import replace

import pytest

from onewafer.api import as_option
from onewafer.api.compare_job import (
    USUAL_CONCURRENCIES,
    JobKind,
    Numbers,
    build_jobs,
    check_numbers,
    parse_job,
    split_systems,
    usual_kind,
)
from onewafer.errors import ConfigurationError
from onewafer.graph import DataType, Graph, Linear, Segment, Tensor
from onewafer.perf import Decode, Forward, Model, Prefill, Serve, Train
from tests.perf.dense_model import LLAMA_8B, dense_model


def _model(max_context=None):
    graph = Graph(
        name="layer",
        inputs=(Tensor("x", (4, 8), DataType.F16),),
        parameters=(Tensor("w", (16, 8), DataType.F16),),
        operations=(Linear(Tensor("y", (4, 16), DataType.F16), "x", "w"),),
        outputs=("y",),
    )
    return Model(
        name="m", title="M", segments=(Segment(graph=graph, repeats=10),), max_context=max_context
    )


def test_a_model_that_gives_no_next_token_is_asked_for_a_pass():
    assert usual_kind(_model()) is JobKind.PREFILL
    assert usual_kind(dense_model("8b", LLAMA_8B)) is JobKind.DECODE


@pytest.mark.parametrize(
    ("kind", "numbers", "job"),
    [
        (JobKind.DECODE, Numbers(), Decode(batch=1, context=4096)),
        (JobKind.DECODE, Numbers(batch=8, context=100), Decode(batch=8, context=100)),
        (JobKind.PREFILL, Numbers(context=512), Prefill(batch=1, tokens=512)),
        (
            JobKind.SERVE,
            Numbers(concurrency=4, answer=7),
            Serve(concurrency=4, prompt=1024, answer=7),
        ),
        (JobKind.TRAIN, Numbers(), Train(tokens=20 * 1280, sequence=4096, batch=4096)),
        (
            JobKind.TRAIN,
            Numbers(tokens=1e6, sequence=1),
            Train(tokens=1e6, sequence=1, batch=1 << 19),
        ),
        (
            JobKind.TRAIN,
            Numbers(tokens=1e6, sequence=8, batch=2),
            Train(tokens=1e6, sequence=8, batch=2),
        ),
    ],
)
def test_what_is_not_said_is_usual(kind, numbers, job):
    assert build_jobs(kind, numbers, _model()) == (job,)


def test_a_run_has_the_tokens_of_a_step_at_least():
    with pytest.raises(ConfigurationError, match=r"a step has, 16 tokens .* or a smaller --batch"):
        build_jobs(
            JobKind.TRAIN, Numbers(tokens=1, sequence=8, batch=2), _model(), naming=as_option
        )


def test_usual_numbers_keep_to_the_context_of_the_model():
    model = _model(max_context=1024)

    assert build_jobs(JobKind.DECODE, Numbers(), model)[0].context == 1024
    (serve, *_) = build_jobs(JobKind.SERVE, Numbers(), model)
    assert serve.prompt + serve.answer == 1024


def test_a_model_with_fixed_tokens_has_no_other_usual_number():
    model = replace(_model(), fixed_tokens=197)

    assert build_jobs(JobKind.PREFILL, Numbers(), model) == (Forward(batch=1),)
    assert build_jobs(JobKind.PREFILL, Numbers(context=64), model) == (Prefill(tokens=64),)
    assert build_jobs(JobKind.TRAIN, Numbers(), model)[0].sequence == 197


def test_the_samples_of_the_captured_call_are_the_usual_batch():
    model = replace(_model(), fixed_tokens=197, samples=64)

    assert build_jobs(JobKind.PREFILL, Numbers(), model) == (Forward(batch=64),)
    assert build_jobs(JobKind.PREFILL, Numbers(batch=2), model) == (Forward(batch=2),)


@pytest.mark.parametrize(("sequence", "batch"), [(4096, 4096), (197, 65_536), (1 << 25, 1)])
def test_a_usual_step_is_a_power_of_two_that_replicas_share(sequence, batch):
    (job,) = build_jobs(JobKind.TRAIN, Numbers(sequence=sequence), _model())

    assert job.batch == batch


def test_serving_without_a_number_of_requests_is_a_curve():
    jobs = build_jobs(JobKind.SERVE, Numbers(prompt=10, answer=20), _model())

    assert tuple(job.concurrency for job in jobs) == USUAL_CONCURRENCIES


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (JobKind.DECODE, Numbers(batch=0)),
        (JobKind.PREFILL, Numbers(context=-1)),
        (JobKind.SERVE, Numbers(answer=0)),
        (JobKind.TRAIN, Numbers(sequence=0)),
    ],
)
def test_no_work_is_refused(kind, numbers):
    with pytest.raises(ConfigurationError, match="must be at least 1"):
        build_jobs(kind, numbers, _model())


def test_a_number_of_another_job_is_refused_with_whose_it_is():
    numbers = Numbers(tokens=1e9)
    with pytest.raises(
        ConfigurationError, match="--tokens belongs to --train; --decode takes --batch, --context"
    ):
        check_numbers(JobKind.DECODE, numbers, as_option)
    with pytest.raises(
        ConfigurationError, match=r"^tokens belongs to train; decode takes batch, context$"
    ):
        check_numbers(JobKind.DECODE, numbers)


@pytest.mark.parametrize("value", [True, "8", [1]])
def test_numbers_are_numbers(value):
    with pytest.raises(ConfigurationError, match=r"^--batch=.*: give a number"):
        check_numbers(JobKind.DECODE, Numbers(batch=value), as_option)


def test_a_job_has_one_of_four_names():
    assert parse_job("serve") is JobKind.SERVE
    assert parse_job(None) is JobKind.DECODE
    with pytest.raises(ConfigurationError, match="job 'srv': choose from decode, prefill, serve"):
        parse_job("srv")


@pytest.mark.parametrize("kind", JobKind)
def test_numbers_of_the_job_pass(kind):
    of_all = {
        JobKind.DECODE: Numbers(batch=1, context=2),
        JobKind.PREFILL: Numbers(batch=1, context=2),
        JobKind.SERVE: Numbers(concurrency=1, prompt=1, answer=1),
        JobKind.TRAIN: Numbers(batch=1, tokens=1, sequence=1),
    }
    check_numbers(kind, of_all[kind])


def test_systems_are_named_once():
    assert split_systems("cs3,,", " h100x8 ,cs3") == ("cs3", "h100x8")
