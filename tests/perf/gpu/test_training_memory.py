"""What a step keeps on a GPU, against what papers count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.gpu.training_constants import load_training_constants
from onewafer.perf.gpu.training_plan import TrainingPlan
from onewafer.perf.gpu.training_step import in_flight, state_bytes
from onewafer.perf.kept_activations import Recompute, kept_bytes
from onewafer.perf.training_work import training_pieces
from tests.perf.gpu.training_cases import steps


@pytest.mark.parametrize(
    ("recompute", "of_hidden", "of_heads"),
    [(Recompute.NONE, 32, 4), (Recompute.SELECTIVE, 20, 4), (Recompute.FULL, 2, 0)],
)
def test_a_layer_keeps_what_korthikanti_counts(
    recompute: Recompute, of_hidden: int, of_heads: int
) -> None:
    """Table 2 of arXiv 2205.05198: 34 s b h, less 2 for masks of dropout, and no scores."""
    shape = GptShape(layers=2, hidden=512, heads=4, vocabulary=100, positions=1024)
    layer = training_pieces(gpt_model("gpt", shape), 128)[1].graph

    kept = kept_bytes(layer, recompute, operand_bytes=2)

    assert kept == of_hidden * 512 + of_heads * 4


def test_operands_that_only_products_read_are_kept_in_their_format() -> None:
    shape = GptShape(layers=2, hidden=512, heads=4, vocabulary=100, positions=1024)
    layer = training_pieces(gpt_model("gpt", shape), 128)[1].graph
    wide, narrow = (kept_bytes(layer, Recompute.NONE, operand_bytes=size) for size in (2, 1))

    assert wide - narrow == (1 + 1 + 4) * 512  # both norms' results and GELU's


@pytest.mark.parametrize(
    ("plan", "stage", "micro_batches", "expected"),
    [
        (TrainingPlan(pipeline=8), 0, 100, 8),
        (TrainingPlan(pipeline=8), 7, 100, 1),
        (TrainingPlan(pipeline=8), 0, 3, 3),
        (TrainingPlan(pipeline=8, interleave=2), 0, 100, 8 + 7 / 2),
    ],
)
def test_a_stage_keeps_the_micro_batches_behind_it(
    plan: TrainingPlan, stage: int, micro_batches: int, expected: float
) -> None:
    assert in_flight(plan, micro_batches, stage=stage) == expected


def test_states_are_those_of_the_distributed_optimizer() -> None:
    """Megatron-LM's documentation: 6 + 12 / d bytes a weight; 18 / d if all is sharded."""
    constants = load_training_constants()

    replicated = sum(state_bytes(1e9, 0, TrainingPlan(data=4), constants))
    sharded = sum(state_bytes(1e9, 0, TrainingPlan(data=4, shards_weights=True), constants))

    assert replicated == (6 + 12 / 4) * 1e9
    assert sharded == 18 / 4 * 1e9


@given(tensor=st.sampled_from([1, 2, 4, 8]), pipeline=st.sampled_from([1, 2, 4, 8]))
def test_more_gpus_for_a_replica_never_need_more_memory_each(tensor: int, pipeline: int) -> None:
    case = steps()
    one = case.memory(TrainingPlan(tensor=tensor, pipeline=pipeline, micro_batch=2))
    two = case.memory(TrainingPlan(tensor=2 * tensor, pipeline=pipeline, micro_batch=2))

    assert two.total < one.total
