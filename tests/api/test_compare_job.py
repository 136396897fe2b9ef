"""The job that the arguments of a comparison ask for."""

from dataclasses import replace

import pytest

from onewafer.api import JobOptions
from onewafer.api.compare_job import USUAL_CONCURRENCIES, build_jobs, split_systems
from onewafer.errors import ConfigurationError
from onewafer.graph import DataType, Graph, Linear, Segment, Tensor
from onewafer.options import COMMAND_LINE, errors_in
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
    assert build_jobs(JobOptions(), _model()) == (Prefill(batch=1, tokens=4096),)
    assert build_jobs(JobOptions(), dense_model("8b", LLAMA_8B)) == (Decode(batch=1, context=4096),)


@pytest.mark.parametrize(
    ("asked", "job"),
    [
        (JobOptions(job="decode"), Decode(batch=1, context=4096)),
        (JobOptions(job="decode", batch=8, context=100), Decode(batch=8, context=100)),
        (JobOptions(job="prefill", context=512), Prefill(batch=1, tokens=512)),
        (
            JobOptions(job="serve", concurrency=4, answer=7),
            Serve(concurrency=4, prompt=1024, answer=7),
        ),
        (JobOptions(job="train"), Train(tokens=20 * 1280, sequence=4096, batch=4096)),
        (
            JobOptions(job="train", tokens=1e6, sequence=1),
            Train(tokens=1e6, sequence=1, batch=1 << 19),
        ),
        (
            JobOptions(job="train", tokens=1e6, sequence=8, batch=2),
            Train(tokens=1e6, sequence=8, batch=2),
        ),
    ],
)
def test_what_is_not_said_is_usual(asked, job):
    assert build_jobs(asked, _model()) == (job,)


def test_a_run_has_the_tokens_of_a_step_at_least():
    message = r"a step has, 16 tokens .* or a smaller --batch"
    with pytest.raises(ConfigurationError, match=message), errors_in(COMMAND_LINE):
        build_jobs(JobOptions(job="train", tokens=1, sequence=8, batch=2), _model())


def test_usual_numbers_keep_to_the_context_of_the_model():
    model = _model(max_context=1024)

    assert build_jobs(JobOptions(job="decode"), model)[0].context == 1024
    (serve, *_) = build_jobs(JobOptions(job="serve"), model)
    assert serve.prompt + serve.answer == 1024


def test_a_model_with_fixed_tokens_has_no_other_usual_number():
    model = replace(_model(), fixed_tokens=197)

    assert build_jobs(JobOptions(job="prefill"), model) == (Forward(batch=1),)
    assert build_jobs(JobOptions(job="prefill", context=64), model) == (Prefill(tokens=64),)
    assert build_jobs(JobOptions(job="train"), model)[0].sequence == 197


def test_the_samples_of_the_captured_call_are_the_usual_batch():
    model = replace(_model(), fixed_tokens=197, samples=64)

    assert build_jobs(JobOptions(job="prefill"), model) == (Forward(batch=64),)
    assert build_jobs(JobOptions(job="prefill", batch=2), model) == (Forward(batch=2),)


@pytest.mark.parametrize(("sequence", "batch"), [(4096, 4096), (197, 65_536), (1 << 25, 1)])
def test_a_usual_step_is_a_power_of_two_that_replicas_share(sequence, batch):
    (job,) = build_jobs(JobOptions(job="train", sequence=sequence), _model())

    assert job.batch == batch


def test_serving_without_a_number_of_requests_is_a_curve():
    jobs = build_jobs(JobOptions(job="serve", prompt=10, answer=20), _model())

    assert tuple(job.concurrency for job in jobs) == USUAL_CONCURRENCIES


@pytest.mark.parametrize(
    ("number", "value"), [("batch", 0), ("context", -1), ("answer", 0), ("sequence", 1.5)]
)
def test_no_work_is_refused(number, value):
    with pytest.raises(
        ConfigurationError, match=f"^{number}={value}: write a whole number of at least 1"
    ):
        JobOptions(**{number: value})


def test_a_number_of_another_job_is_refused_with_whose_it_is():
    with (
        pytest.raises(
            ConfigurationError,
            match="--tokens belongs to --train; --decode takes --batch, --context",
        ),
        errors_in(COMMAND_LINE),
    ):
        JobOptions(tokens=1e9)
    with pytest.raises(
        ConfigurationError, match=r"^tokens belongs to train; decode takes batch, context$"
    ):
        JobOptions(job="decode", tokens=1e9)


@pytest.mark.parametrize("value", [True, "8", [1]])
def test_numbers_are_numbers(value):
    with (
        pytest.raises(ConfigurationError, match=r"^--batch .*: write a whole"),
        errors_in(COMMAND_LINE),
    ):
        JobOptions(batch=value)


def test_a_job_has_one_of_four_names():
    with pytest.raises(ConfigurationError, match="job='srv': choose from decode, prefill, serve"):
        JobOptions(job="srv")


@pytest.mark.parametrize(
    "asked",
    [
        {"job": "decode", "batch": 1, "context": 2},
        {"job": "prefill", "batch": 1, "context": 2},
        {"job": "serve", "concurrency": 1, "prompt": 1, "answer": 1},
        {"job": "train", "batch": 1, "tokens": 1, "sequence": 1},
    ],
)
def test_numbers_of_the_job_pass(asked):
    assert {name: value for name, value in vars(JobOptions(**asked)).items() if value} == asked


def test_systems_are_named_once():
    assert split_systems("cs3,,", " h100x8 ,cs3") == ("cs3", "h100x8")
