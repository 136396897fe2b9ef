"""How long a step takes: terms against hand-made cases, and what must hold of any plan."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.breakdown import Breakdown, Limit
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.kernels import Communication, Elementwise, Gemm, NumberFormat
from onewafer.perf.gpu.sharding import Exchange, Product, Rows
from onewafer.perf.gpu.training_constants import load_training_constants
from onewafer.perf.gpu.training_layer import (
    CONTEXT_PARALLELISM,
    TENSOR_PARALLELISM,
    MicroBatch,
    PieceClock,
)
from onewafer.perf.gpu.training_plan import TrainingPlan
from onewafer.perf.kept_activations import Recompute
from tests.perf.gpu.training_cases import H100, MODEL, SPEEDS, steps

_CONSTANTS = load_training_constants()
_PLANS = st.builds(
    TrainingPlan,
    tensor=st.sampled_from([1, 2, 4, 8]),
    context=st.sampled_from([1, 2]),
    pipeline=st.sampled_from([1, 2, 4]),
    data=st.sampled_from([1, 2, 4]),
    interleave=st.sampled_from([1, 2, 3]),
    micro_batch=st.sampled_from([1, 2]),
    recompute=st.sampled_from(Recompute),
)


def _seconds(breakdown: Breakdown, name: str) -> float:
    return breakdown.by(lambda item: item.name).get(name, 0.0)


def _piece_clock(plan: TrainingPlan) -> PieceClock:
    rows = MicroBatch(tokens=2048, outputs=2048, sequences=1, sequence=2048)
    return PieceClock(
        KernelClock(H100), plan, rows, products=NumberFormat.BF16, constants=_CONSTANTS
    )


def test_a_product_has_two_in_the_backward_pass() -> None:
    product = Product("MLP", 8192, 2048, Rows.ALL, is_quantized=True)
    clock = KernelClock(H100)
    kernels = [Gemm(2048, 2048, 8192, NumberFormat.BF16), Gemm(8192, 2048, 2048, NumberFormat.BF16)]

    time = _piece_clock(TrainingPlan()).time((product,), whole=frozenset())

    both = sum(clock.time(kernel).seconds for kernel in kernels) / _CONSTANTS.sustained_share
    assert time.backward.seconds == pytest.approx(both)


def test_a_transfer_leaves_one_part_that_no_product_hides() -> None:
    product = Product("MLP", 2048, 1024, Rows.ALL, is_quantized=True)
    whole = Exchange(Collective.ALL_REDUCE, 2048, Rows.ALL)
    scatter = Communication(Collective.REDUCE_SCATTER, 2048 * 2048 * 2, Group(8))
    seconds = KernelClock(H100).time(scatter).seconds
    hidden = KernelClock(H100).time(Gemm(2048, 2048, 1024, NumberFormat.BF16)).seconds

    time = _piece_clock(TrainingPlan(tensor=8)).time((product, whole), whole=frozenset())

    left = max(seconds / 8, seconds - hidden / _CONSTANTS.sustained_share)
    assert _seconds(time.forward, TENSOR_PARALLELISM) == pytest.approx(left)


def test_logits_stay_where_they_are_and_whole_norms_gather_features() -> None:
    gather = Exchange(Collective.ALL_GATHER, 4096, Rows.ALL)
    clock = _piece_clock(TrainingPlan(tensor=8))

    def transfers(*, is_quantized: bool) -> float:
        product = Product("product", 512, 2048, Rows.ALL, is_quantized=is_quantized)
        time = clock.time((product, gather), whole=frozenset())
        return _seconds(time.forward, TENSOR_PARALLELISM)

    assert transfers(is_quantized=True) > transfers(is_quantized=False)


def test_the_bubble_is_that_of_narayanan_where_stages_are_equal() -> None:
    """SC'21, section 2.2.2: (p − 1) / (v · m) of the ideal time."""
    layers = replace(MODEL, segments=MODEL.segments[1:2])
    breakdown = steps(model=layers, batch=32).breakdown(TrainingPlan(pipeline=4, interleave=3))
    rest = ("pipeline bubble", "between stages", "data parallelism", "optimizer")
    ideal = breakdown.seconds - sum(_seconds(breakdown, name) for name in rest)

    assert _seconds(breakdown, "pipeline bubble") == pytest.approx(ideal * 3 / (3 * 32))


def test_the_optimizer_moves_its_states_once() -> None:
    case = steps()
    breakdown = case.breakdown(TrainingPlan(data=8))
    moved = MODEL.num_weights * _CONSTANTS.optimizer_traffic_bytes / 8

    expected = KernelClock(H100).time(Elementwise(moved)).seconds
    assert _seconds(breakdown, "optimizer") == pytest.approx(expected, rel=1e-6)


@given(plan=_PLANS)
def test_the_breakdown_adds_up_to_the_step(plan: TrainingPlan) -> None:
    case = steps()

    assert case.breakdown(plan).seconds == pytest.approx(case.seconds(plan), rel=1e-9)


@given(
    plan=_PLANS,
    field=st.sampled_from(SPEEDS),
)
def test_a_better_gpu_is_never_slower(plan: TrainingPlan, field: str) -> None:
    better = replace(H100, **{field: 2 * getattr(H100, field)})

    assert steps(gpu=better).seconds(plan) <= steps().seconds(plan) * (1 + 1e-9)


@given(plan=_PLANS)
def test_what_is_not_hidden_takes_longer(plan: TrainingPlan) -> None:
    hidden, exposed, gathered = (
        steps().seconds(one)
        for one in (
            plan,
            replace(plan, is_overlapped=False),
            replace(plan, is_overlapped=False, gathers_context=True),
        )
    )

    assert hidden <= exposed * (1 + 1e-9)
    assert gathered >= exposed if plan.context > 1 else gathered == exposed


def test_gathered_keys_and_values_are_waited_for() -> None:
    """2,048 tokens, 16 heads of 128 features, bf16: 16.8 MB, forward once and backward twice."""
    layers = replace(MODEL, segments=MODEL.segments[1:2])
    breakdown = steps(model=layers).breakdown(TrainingPlan(context=2, gathers_context=True))
    gather, scatter = (
        KernelClock(H100).time(Communication(collective, 2048 * 16 * 128 * 2 * 2, Group(2))).seconds
        for collective in (Collective.ALL_GATHER, Collective.REDUCE_SCATTER)
    )

    expected = 24 * 64 * (2 * gather + scatter)
    assert _seconds(breakdown, CONTEXT_PARALLELISM) == pytest.approx(expected)


def test_data_parallelism_that_nothing_hides_sends_everything() -> None:
    case, plan = steps(), TrainingPlan(data=4, is_overlapped=False)
    gradients, weights = (
        MODEL.num_weights * size for size in (_CONSTANTS.gradient_bytes, _CONSTANTS.weight_bytes)
    )
    expected = sum(
        KernelClock(H100).time(Communication(collective, size, Group(4))).seconds
        for collective, size in (
            (Collective.REDUCE_SCATTER, gradients),
            (Collective.ALL_GATHER, weights),
        )
    )

    found = _seconds(case.breakdown(plan), "data parallelism")
    assert found == pytest.approx(expected, rel=1e-6)


@given(plan=_PLANS)
def test_more_sequences_take_longer_and_longer_sequences_too(plan: TrainingPlan) -> None:
    one = steps().seconds(plan)

    assert steps(batch=128).seconds(plan) > one
    assert steps(sequence=4096).seconds(plan) > one


@given(plan=_PLANS)
def test_the_bubble_vanishes_as_micro_batches_grow_in_number(plan: TrainingPlan) -> None:
    shares = [
        _seconds(b, "pipeline bubble") / b.seconds
        for b in (steps(batch=batch).breakdown(plan) for batch in (64, 640, 6400))
    ]

    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.1


def test_recomputing_layers_costs_their_forward_pass() -> None:
    none, full = (
        steps().breakdown(TrainingPlan(recompute=recompute))
        for recompute in (Recompute.NONE, Recompute.FULL)
    )

    assert full.seconds / none.seconds == pytest.approx(4 / 3, abs=0.05)
    assert _seconds(full, "recomputation") == pytest.approx(full.seconds - none.seconds)


def test_sharded_weights_are_gathered_for_every_micro_batch() -> None:
    plan = TrainingPlan(data=64, shards_weights=True)
    slow = replace(H100, network_bytes_per_second=1e9)

    assert steps(gpu=slow).breakdown(plan).limit is Limit.NETWORK


def test_fp8_products_are_faster_than_bf16_ones_and_have_casts() -> None:
    bf16, fp8 = (
        steps(products=products).breakdown(TrainingPlan(micro_batch=8))
        for products in (NumberFormat.BF16, NumberFormat.FP8)
    )

    assert _seconds(fp8, "MLP") < _seconds(bf16, "MLP") / 1.5
    assert _seconds(fp8, "casts to fp8") > 0
