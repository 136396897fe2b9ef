"""Experts in training: terms against hand-made cases, and what must hold of any plan."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError
from onewafer.perf import Answer, Model, Refusal
from onewafer.perf.breakdown import Breakdown, Item
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.kernels import (
    Communication,
    Elementwise,
    ExpertShape,
    Gemm,
    Kernel,
    NumberFormat,
)
from onewafer.perf.gpu.training import TrainingOptions, estimate_training
from onewafer.perf.gpu.training_constants import load_training_constants
from onewafer.perf.gpu.training_experts import (
    EXPERT_PARALLELISM,
    EXPERT_TENSOR_PARALLELISM,
    EXPERTS,
    PERMUTATION,
    ExpertClock,
    ExpertTime,
    reached,
)
from onewafer.perf.gpu.training_layer import ROUTER
from onewafer.perf.gpu.training_plan import (
    PinnedPlan,
    TrainingPlan,
    lack_of_experts,
    training_plans,
)
from onewafer.perf.kept_activations import Recompute, kept_bytes
from onewafer.perf.training_work import training_pieces
from tests.perf.dense_model import Sizes, dense_model
from tests.perf.gpu.training_cases import H100, MODEL, SPEEDS, cluster, job, steps

CONSTANTS = load_training_constants()
SHARE = CONSTANTS.sustained_share
SIZES = Sizes(
    layers=16,
    hidden=1024,
    heads=8,
    kv_heads=8,
    features=128,
    inner=512,
    vocabulary=4096,
    experts=32,
    experts_per_row=4,
)
MIXTURE = dense_model("mixture", SIZES, positions=8192)
SHAPE = ExpertShape(
    features=1024, hidden=512, elements=3 * 1024 * 512, num_experts=32, experts_per_row=4
)
ROWS = 2048
PLANS = st.builds(
    TrainingPlan,
    tensor=st.sampled_from([1, 2, 4]),
    context=st.sampled_from([1, 2]),
    pipeline=st.sampled_from([1, 2, 4]),
    data=st.just(32),
    interleave=st.sampled_from([1, 2]),
    micro_batch=st.sampled_from([1, 2]),
    recompute=st.sampled_from(Recompute),
    expert=st.sampled_from([1, 2, 8, 16]),
    expert_tensor=st.sampled_from([1, 2]),
    overlaps_experts=st.booleans(),
    sends_once=st.booleans(),
)


def of_experts(
    plan: TrainingPlan,
    *,
    shape: ExpertShape = SHAPE,
    products: NumberFormat = NumberFormat.BF16,
) -> ExpertTime:
    clock = ExpertClock(KernelClock(H100), plan, products=products, constants=CONSTANTS)
    return clock.time(shape, ROWS)


def seconds_of(items: Iterable[Item], name: str) -> float:
    return sum(item.seconds for item in items if item.name == name)


def share_of(breakdown: Breakdown, name: str) -> float:
    return breakdown.by(lambda item: item.name).get(name, 0.0)


def time_of(kernel: Kernel) -> float:
    return KernelClock(H100).time(kernel).seconds


@pytest.mark.parametrize(
    ("units", "experts", "chosen"), [(2, 4, 2), (4, 8, 3), (3, 6, 1), (2, 6, 6)]
)
def test_a_row_reaches_as_many_units_as_a_count_of_all_choices_says(
    units: int, experts: int, chosen: int
) -> None:
    own = experts // units
    choices = [{expert // own for expert in each} for each in combinations(range(experts), chosen)]

    mean = sum(map(len, choices)) / len(choices)
    assert reached(units, experts, chosen) == pytest.approx(mean)


def test_every_expert_of_a_gpu_has_its_share_of_all_rows() -> None:
    """2,048 rows × 4 from each of 8 groups to 32 experts: 4 experts a GPU, 2,048 rows each."""
    time = of_experts(TrainingPlan(data=8, expert=8))
    first, last = ((2048, 2 * 512, 1024), (2048, 1024, 512))
    forward = sum(time_of(Gemm(*size, NumberFormat.BF16)) for size in (first, last))
    backward = sum(
        time_of(Gemm(*size, NumberFormat.BF16))
        for rows, outputs, inputs in (first, last)
        for size in ((rows, inputs, outputs), (outputs, inputs, rows))
    )

    assert seconds_of(time.forward, EXPERTS) == pytest.approx(4 * forward / SHARE)
    assert seconds_of(time.backward, EXPERTS) == pytest.approx(4 * backward / SHARE)


def test_gpus_that_share_an_expert_see_each_others_rows() -> None:
    """Two GPUs an expert, all in one group: 32 experts, 512 rows of each GPU's 8,192 copies."""
    time = of_experts(TrainingPlan(tensor=2, expert_tensor=2))
    one = [time_of(Gemm(512, *size, NumberFormat.BF16)) for size in ((512, 1024), (1024, 256))]
    copies = 2 * ROWS * 4 * 1024 * 2
    gather, scatter = (
        time_of(Communication(collective, copies, Group(2)))
        for collective in (Collective.ALL_GATHER, Collective.REDUCE_SCATTER)
    )
    first, last = (32 * seconds / SHARE for seconds in one)

    left = max(gather - first, gather / 2) + max(scatter - last, scatter / 2)
    assert seconds_of(time.forward, EXPERTS) == pytest.approx(first + last)
    assert seconds_of(time.forward, EXPERT_TENSOR_PARALLELISM) == pytest.approx(left)
    assert not time.transfers


def test_copies_are_made_sorted_and_added_up() -> None:
    """A row is read and 4 are written, 4 are read and written to sort them; and back."""
    row = ROWS * 1024 * 2
    expected = 2 * time_of(Elementwise(5 * row)) + 2 * time_of(Elementwise(8 * row))

    time = of_experts(TrainingPlan(data=8, expert=8))
    alone = of_experts(TrainingPlan(data=32, expert=32))

    assert seconds_of(time.forward, PERMUTATION) == pytest.approx(expected)
    assert seconds_of(time.backward, PERMUTATION) == pytest.approx(expected)
    assert seconds_of(alone.forward, PERMUTATION) == pytest.approx(
        2 * time_of(Elementwise(5 * row))
    )


def test_every_copy_goes_its_own_way_unless_tokens_are_sent_once() -> None:
    row = ROWS * 1024 * 2
    each = Communication(Collective.ALL_TO_ALL, 4 * row, Group(16))
    near = Communication(Collective.ALL_TO_ALL, row * reached(16, 32, 4), Group(8))
    far = Communication(Collective.ALL_TO_ALL, row * reached(2, 32, 4), Group(2, stride=8))

    plan = TrainingPlan(data=16, expert=16, sends_once=False)
    apart, once = (of_experts(p).transfers for p in (plan, replace(plan, sends_once=True)))

    assert seconds_of(apart, EXPERT_PARALLELISM) == pytest.approx(2 * time_of(each))
    assert seconds_of(once, EXPERT_PARALLELISM) == pytest.approx(2 * (time_of(near) + time_of(far)))


def test_groups_of_shared_experts_lie_further_apart() -> None:
    """8 groups of 2 GPUs: 4 groups in a domain, 2 domains."""
    plan = TrainingPlan(data=16, expert=8, expert_tensor=2, sends_once=False)
    message = Communication(Collective.ALL_TO_ALL, 4 * ROWS * 1024 * 2, Group(8, stride=2))

    transfers = of_experts(plan).transfers

    assert seconds_of(transfers, EXPERT_PARALLELISM) == pytest.approx(2 * time_of(message))


def test_operands_of_fp8_are_cast_for_every_copy() -> None:
    time = of_experts(TrainingPlan(data=8, expert=8), products=NumberFormat.FP8)
    casts = [
        time_of(Elementwise(ROWS * 4 * width * CONSTANTS.cast_traffic_bytes))
        for width in (1024, 512, 2 * 512, 1024)
    ]

    assert seconds_of(time.forward, "casts to fp8") == pytest.approx(sum(casts[:2]))
    assert seconds_of(time.backward, "casts to fp8") == pytest.approx(sum(casts[2:]))


def test_another_micro_batch_hides_the_ways_to_experts_but_once() -> None:
    """With compute enough, a step has them once forward and once backward, in every stage."""
    plan = TrainingPlan(data=8, expert=8)
    apart = replace(plan, overlaps_experts=False)
    ways = 16 * 2 * seconds_of(of_experts(plan).transfers, EXPERT_PARALLELISM)

    hidden, exposed = (
        share_of(steps(model=MIXTURE, batch=64).breakdown(one), EXPERT_PARALLELISM)
        for one in (plan, apart)
    )

    assert hidden == pytest.approx(ways)
    assert exposed == pytest.approx(8 * ways)


def test_a_slow_network_leaves_what_takes_longer_than_the_other_micro_batch() -> None:
    plan = TrainingPlan(data=16, expert=16)
    slow = replace(H100, network_bytes_per_second=H100.network_bytes_per_second / 1000)

    whole = steps(model=MIXTURE, gpu=slow).breakdown(plan)
    computed = whole.seconds - share_of(whole, EXPERT_PARALLELISM)

    assert computed < share_of(whole, EXPERT_PARALLELISM)


def test_all_is_exposed_when_there_is_one_micro_batch() -> None:
    plan = TrainingPlan(data=16, expert=16)
    hidden, exposed = (
        steps(model=MIXTURE, batch=16).seconds(one)
        for one in (plan, replace(plan, overlaps_experts=False))
    )

    assert hidden == pytest.approx(exposed)


@given(plan=PLANS)
def test_the_breakdown_adds_up_to_the_step(plan: TrainingPlan) -> None:
    case = steps(model=MIXTURE)

    assert case.breakdown(plan).seconds == pytest.approx(case.seconds(plan), rel=1e-9)


@given(
    plan=PLANS,
    field=st.sampled_from(SPEEDS),
)
def test_a_better_gpu_is_never_slower(plan: TrainingPlan, field: str) -> None:
    better = replace(H100, **{field: 2 * getattr(H100, field)})
    usual, faster = (steps(model=MIXTURE, gpu=gpu).seconds(plan) for gpu in (H100, better))

    assert faster <= usual * (1 + 1e-9)


@given(plan=PLANS)
def test_more_work_takes_longer(plan: TrainingPlan) -> None:
    """Unless all of it is hidden behind what replicas exchange, as in a step of one micro-batch."""
    exposed = replace(plan, is_overlapped=False)
    wider = dense_model("wider", replace(SIZES, experts_per_row=8), positions=8192)
    one = steps(model=MIXTURE)

    for more in (
        steps(model=MIXTURE, batch=128),
        steps(model=MIXTURE, sequence=4096),
        steps(model=wider),
    ):
        assert more.seconds(exposed) > one.seconds(exposed)
        assert more.seconds(plan) >= one.seconds(plan) * (1 - 1e-9)


@given(plan=PLANS)
def test_what_is_not_hidden_takes_longer(plan: TrainingPlan) -> None:
    hidden, exposed, nothing = (
        steps(model=MIXTURE).seconds(one)
        for one in (
            replace(plan, overlaps_experts=True),
            replace(plan, overlaps_experts=False),
            replace(plan, is_overlapped=False),
        )
    )

    assert hidden <= exposed * (1 + 1e-9)
    assert exposed <= nothing * (1 + 1e-9)


@pytest.mark.parametrize("recompute", Recompute)
def test_one_expert_costs_what_a_dense_layer_does(recompute: Recompute) -> None:
    """Apart from the choice, and the copy of the row that is kept for its products."""
    dense = dense_model("dense", replace(SIZES, experts=0), positions=8192)
    single = dense_model("single", replace(SIZES, experts=1, experts_per_row=1), positions=8192)
    plan = TrainingPlan(data=4, micro_batch=2, recompute=recompute)

    one, other = (steps(model=model).breakdown(plan) for model in (single, dense))

    choice = share_of(one, ROUTER)
    if recompute is Recompute.FULL:
        router = Gemm(2 * 2048, 1, 1024, NumberFormat.BF16)
        choice += 8 * 16 * time_of(router) / SHARE
    weights = share_of(one, "optimizer") - share_of(other, "optimizer")
    replicas = share_of(one, "data parallelism") - share_of(other, "data parallelism")
    assert one.seconds - choice - weights - replicas == pytest.approx(other.seconds, rel=1e-9)
    assert EXPERT_PARALLELISM not in one.by(lambda item: item.name)
    assert PERMUTATION not in one.by(lambda item: item.name)


def test_a_gpu_has_its_experts_and_shares_their_states_with_those_that_have_the_same() -> None:
    """32 experts of 1.57 million weights over 8 groups: 4 a GPU and layer, over 4 replicas."""
    case, plan = steps(model=MIXTURE), TrainingPlan(data=32, expert=8)
    experts = 16 * 4 * 3 * 1024 * 512
    others = MIXTURE.num_weights - 8 * experts

    memory = case.memory(plan)

    assert plan.expert_replicas == 4
    assert memory.weights == 2 * (others + experts)
    assert memory.gradients == 4 * (others + experts)
    assert memory.optimizer == pytest.approx(12 * (others / 32 + experts / 4))


def test_sharded_experts_are_spread_over_those_that_have_the_same() -> None:
    plan = TrainingPlan(data=32, expert=8, shards_weights=True)
    layer, others = 4 * 3 * 1024 * 512, MIXTURE.num_weights - 8 * 16 * 4 * 3 * 1024 * 512
    largest = 4 * 1024**2 + 32 * 1024 + 2 * 1024  # a layer without its experts

    memory = steps(model=MIXTURE).memory(plan)

    whole = others / 32 + 2 * largest + 16 * layer / 4 + 2 * layer
    assert memory.weights == pytest.approx(2 * whole)


def test_gradients_of_experts_go_to_those_that_have_the_same() -> None:
    case, plan = steps(model=MIXTURE), TrainingPlan(data=32, expert=8, is_overlapped=False)
    experts = 16 * 4 * 3 * 1024 * 512
    others = MIXTURE.num_weights - 8 * experts
    expected = sum(
        time_of(Communication(collective, count * size, group))
        for count, group in ((others, Group(32)), (experts, Group(4, stride=8)))
        for collective, size in ((Collective.REDUCE_SCATTER, 4), (Collective.ALL_GATHER, 2))
    )

    found = share_of(case.breakdown(plan), "data parallelism")
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("copies", [0, 1, 2])
def test_every_copy_of_a_row_is_kept_with_what_its_expert_makes(copies: int) -> None:
    """4 experts: a copy of 1,024 features, 1,024 of gate and up, 512 between products."""
    layer = training_pieces(MIXTURE, 128)[1].graph
    dense = dense_model("dense", replace(SIZES, experts=0), positions=8192)
    without = kept_bytes(training_pieces(dense, 128)[1].graph, Recompute.NONE, operand_bytes=2)
    alone = without - 2 * (2 * 512 + 512)  # what the gated MLP keeps

    kept = {
        recompute: kept_bytes(layer, recompute, operand_bytes=2, copies_of_rows=copies)
        for recompute in Recompute
    }

    assert kept[Recompute.NONE] == alone + 4 * 2 * (copies * 1024 + 2 * 512 + 512)
    assert kept[Recompute.FULL] == 2 * 1024
    less = 4 * 2 * 512 + 2 * 2 * 1024  # operands of second products, both norms
    assert kept[Recompute.SELECTIVE] == kept[Recompute.NONE] - less


@given(expert=st.sampled_from([1, 2, 4, 8]))
def test_more_groups_of_experts_never_need_more_memory(expert: int) -> None:
    case = steps(model=MIXTURE)
    one, two = (case.memory(TrainingPlan(data=16, expert=size)) for size in (expert, 2 * expert))

    assert two.weights < one.weights
    assert two.total <= one.total


def test_a_middle_stage_may_be_the_fullest() -> None:
    """Layers of experts between outer stages without any: `run_lengths` makes outer runs short."""
    case = steps(model=MIXTURE)
    memory = case.memory(TrainingPlan(pipeline=5, data=1))  # 3, 3, 4, 3 and 3 of 16 layers

    assert memory.weights == 2 * 4 * (32 * 3 * 1024 * 512 + 4 * 1024**2 + 32 * 1024 + 2 * 1024)


def plans_of(model: Model, gpus: int = 16, pinned: PinnedPlan | None = None) -> list[TrainingPlan]:
    return [*training_plans(model, job(), cluster(gpus), pinned or PinnedPlan())]


def test_a_dense_model_has_no_expert_parallelism() -> None:
    assert {(plan.expert, plan.expert_tensor) for plan in plans_of(MODEL)} == {(1, 1)}


def test_groups_of_experts_divide_experts_and_the_gpus_of_a_stage() -> None:
    plans = plans_of(MIXTURE)

    assert {plan.expert for plan in plans} == {1, 2, 4, 8, 16}
    for plan in plans:
        stage = plan.tensor * plan.context * plan.data
        assert plan.expert_replicas * plan.expert * plan.expert_tensor == stage
        assert plan.expert_tensor in (1, plan.tensor)


def test_a_pinned_plan_is_kept() -> None:
    pinned = PinnedPlan(expert=4, expert_tensor=2, overlaps_experts=False, sends_once=False)

    plans = plans_of(MIXTURE, pinned=pinned)

    assert {(plan.expert, plan.expert_tensor) for plan in plans} == {(4, 2)}
    assert not any(plan.overlaps_experts or plan.sends_once for plan in plans)


@pytest.mark.parametrize(
    ("model", "pinned", "message"),
    [
        (MIXTURE, PinnedPlan(expert=5), "does not share the 32 experts of mixture evenly"),
        (MIXTURE, PinnedPlan(expert=64), "choose one of 1, 2, 4, 8, 16, 32"),
        (MIXTURE, PinnedPlan(expert_tensor=3), "3 GPUs do not share the 512 features"),
        (MODEL, PinnedPlan(expert=2), "has no experts that a plan could deal out"),
        (MODEL, PinnedPlan(expert_tensor=2), "leave et2 out of it"),
    ],
)
def test_plans_of_other_experts_are_refused(model: Model, pinned: PinnedPlan, message: str) -> None:
    lack = lack_of_experts(model, pinned)
    found = estimate_training(model, job(), cluster(16), TrainingOptions(plan=pinned))

    assert lack is not None
    assert message in lack
    assert isinstance(found, Refusal)
    assert found.reason == lack


def test_groups_of_experts_that_do_not_divide_the_gpus_are_refused() -> None:
    pinned = PinnedPlan(expert=16, expert_tensor=2)

    found = estimate_training(
        MIXTURE, job(), cluster(16), TrainingOptions(plan=pinned), clock=KernelClock(H100)
    )

    assert isinstance(found, Refusal)
    assert "(16 × 2 GPUs) do not divide 16 GPUs" in found.reason


def test_a_group_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expert = 0"):
        PinnedPlan(expert=0)


def test_an_answer_says_how_experts_are_dealt_out_and_that_they_are_chosen_equally() -> None:
    pinned = PinnedPlan(tensor=2, expert=8, overlaps_experts=False)

    found = estimate_training(
        MIXTURE, job(), cluster(16), TrainingOptions(plan=pinned), clock=KernelClock(H100)
    )

    assert isinstance(found, Answer)
    assert "expert parallelism 8" in found.choice.text
    assert "transfers to experts not overlapped" in found.choice.text
    assert any("chosen equally often" in note for note in found.notes)
    assert found.memory.used_bytes <= found.memory.available_bytes
