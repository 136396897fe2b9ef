"""Answers and refusals about training on GPUs."""

import pytest

from onewafer.arch import GpuCluster, load_gpu
from onewafer.errors import ConfigurationError
from onewafer.perf import Answer, Precision, Refusal
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.gpu.aiconfigurator import is_installed
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.training import TrainingOptions, estimate_training
from onewafer.perf.gpu.training_plan import PinnedPlan
from onewafer.perf.gpu.training_validation import validate_training
from onewafer.perf.published import Role, published_figures
from tests.perf.gpu.training_cases import MODEL, cluster, job


def _answer(
    gpus: GpuCluster | int = 8, *, batch: int = 64, plan: PinnedPlan | None = None
) -> Answer:
    found = _result(gpus, batch=batch, plan=plan)
    assert isinstance(found, Answer)
    return found


def _refusal(
    gpus: GpuCluster | int = 8, *, batch: int = 64, plan: PinnedPlan | None = None
) -> Refusal:
    found = _result(gpus, batch=batch, plan=plan)
    assert isinstance(found, Refusal)
    return found


def _result(gpus: GpuCluster | int, *, batch: int, plan: PinnedPlan | None) -> Answer | Refusal:
    asked = gpus if isinstance(gpus, GpuCluster) else cluster(gpus)
    options = TrainingOptions(plan=plan or PinnedPlan())
    clock = KernelClock(asked.gpu)
    return estimate_training(MODEL, job(batch=batch), asked, options, clock=clock)


def test_rates_times_and_energy_agree_with_each_other() -> None:
    answer = _answer()

    assert answer.tokens_per_second == pytest.approx(64 * 2048 / answer.breakdown.seconds)
    assert answer.total_seconds == pytest.approx(1e12 / answer.tokens_per_second)
    assert answer.watts == 8 * (700 + 575)
    assert answer.joules_per_token == pytest.approx(answer.watts / answer.tokens_per_second)
    assert answer.mfu is not None
    assert 0.2 < answer.mfu < 1
    assert answer.memory.used_bytes <= answer.memory.available_bytes


def test_the_search_takes_the_fastest_of_many_plans_and_says_why() -> None:
    answer = _answer(64)

    assert answer.choice.num_considered > 100
    assert "the fastest of" in answer.choice.reason
    for tensor in (1, 2, 4, 8):
        pinned = _answer(64, plan=PinnedPlan(tensor=tensor))
        assert pinned.choice.is_pinned
        assert pinned.breakdown.seconds >= answer.breakdown.seconds


def test_twice_the_gpus_are_faster_but_not_twice_as_fast() -> None:
    one, two = _answer(8), _answer(16)

    assert 1.5 < one.breakdown.seconds / two.breakdown.seconds <= 2.0


def test_layers_are_recomputed_only_where_memory_is_short() -> None:
    plan = PinnedPlan(tensor=1, pipeline=1, context=1, micro_batch=8, shards_weights=False)
    roomy = _answer(plan=plan)
    tight = _answer(cluster(8, memory_bytes=24 << 30), plan=plan)

    assert "recomputation" not in roomy.choice.text
    assert "full recomputation" in tight.choice.text


def test_a_batch_that_no_plan_divides_names_the_nearest() -> None:
    plan = PinnedPlan(tensor=1, context=1, pipeline=1)

    assert "write --batch 56 or 64" in _refusal(batch=63, plan=plan).reason
    assert "write --batch 8" in _refusal(batch=3, plan=plan).reason


def test_groups_that_do_not_divide_the_gpus_are_refused() -> None:
    assert "do not divide 8 GPUs" in _refusal(plan=PinnedPlan(tensor=3)).reason


def test_a_model_that_does_not_fit_names_the_smallest_cluster_that_would() -> None:
    shape = GptShape(layers=96, hidden=12288, heads=96, vocabulary=50_000, positions=2048)

    found = estimate_training(
        gpt_model("gpt-3", shape), job(), "h100x8", clock=KernelClock(load_gpu("h100"))
    )

    assert isinstance(found, Refusal)
    assert "optimizer states" in found.reason
    assert "h100x64 has room for it" in found.reason


def test_without_measurements_the_answer_says_so() -> None:
    answer = _answer()

    assert any("rooflines" in note for note in answer.notes)


@pytest.mark.parametrize("precision", [Precision.FP4, Precision.FP32])
def test_formats_that_nobody_trains_in_are_refused(precision: Precision) -> None:
    with pytest.raises(ConfigurationError, match="write bf16, fp16 or fp8"):
        TrainingOptions(precision=precision)


def test_a_plan_below_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pipeline = 0"):
        PinnedPlan(pipeline=0)


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core")
def test_published_runs_of_gpt_models_are_met() -> None:
    def no_catalogue(name: str) -> object:
        raise ConfigurationError(name)

    gpt = [f for f in published_figures("gpu_training") if f.name.startswith("megatron-2024")]
    rows = validate_training(lambda name: gpt_model(name, _LIKE_LLAMA)).figures  # not looked at
    ours = [row for row in rows if row.figure in gpt]

    assert len(ours) == 11
    assert all(row.is_hit for row in ours)
    assert sum(row.figure.role is Role.CALIBRATION for row in ours) == 2


_LIKE_LLAMA = GptShape(layers=8, hidden=1024, heads=64, vocabulary=1000, positions=131_072)


def test_fp8_on_a_gpu_without_it_is_refused() -> None:
    found = estimate_training(MODEL, job(), "a100x8", TrainingOptions(precision=Precision.FP8))

    assert isinstance(found, Refusal)
    assert "has no fp8 arithmetic" in found.reason
