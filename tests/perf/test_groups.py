"""Sizes of groups of GPUs as users write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_cluster
from onewafer.errors import ConfigurationError
from onewafer.perf.groups import parse_groups

SIZES = st.integers(1, 64)


@given(SIZES, SIZES, SIZES)
def test_sizes_become_a_plan_of_inference(tensor, pipeline, replicas):
    count = tensor * pipeline * replicas
    groups = parse_groups(f"tp{tensor}pp{pipeline}dp{replicas}")
    plan = groups.inference_plan(load_cluster(f"h100x{count}"))

    assert (plan.tensor, plan.pipeline, plan.replicas) == (tensor, pipeline, replicas)


def test_all_gpus_have_a_replica_unless_the_user_says_otherwise():
    plan = parse_groups("tp2").inference_plan(load_cluster("h100x9"))

    assert (plan.tensor, plan.pipeline, plan.replicas) == (2, 1, 4)


@given(SIZES, SIZES, SIZES, SIZES)
def test_sizes_become_a_plan_of_training(tensor, context, pipeline, micro_batch):
    plan = parse_groups(f"TP{tensor}cp{context}pp{pipeline}mb{micro_batch}").training_plan()

    assert (plan.tensor, plan.context) == (tensor, context)
    assert (plan.pipeline, plan.micro_batch) == (pipeline, micro_batch)
    assert plan.interleave is None


@pytest.mark.parametrize("text", ["", "8", "tp", "tp8 pp2", "xp2", "tp2tp4", "tp-1", "tp2x"])
def test_what_is_no_plan_is_refused_with_the_form(text):
    with pytest.raises(ConfigurationError, match="write sizes as in tp8pp2"):
        parse_groups(text)


def test_a_group_has_somebody():
    with pytest.raises(ConfigurationError, match="at least one GPU"):
        parse_groups("tp0")


def test_experts_have_groups_of_their_own_in_training():
    plan = parse_groups("tp2ep8et2").training_plan()

    assert (plan.tensor, plan.expert, plan.expert_tensor) == (2, 8, 2)


def test_what_belongs_to_the_other_job_is_refused():
    with pytest.raises(ConfigurationError, match="inference takes no cp, context parallelism"):
        parse_groups("tp2cp2").inference_plan(load_cluster("h100x8"))
    with pytest.raises(ConfigurationError, match="inference takes no ep, groups among which"):
        parse_groups("tp2ep2").inference_plan(load_cluster("h100x8"))
    with pytest.raises(ConfigurationError, match="training takes no dp, replicas"):
        parse_groups("tp2dp2").training_plan()


def test_more_gpus_than_there_are():
    with pytest.raises(ConfigurationError, match="takes 32 GPUs, and h100x8 has 8"):
        parse_groups("tp8pp4").inference_plan(load_cluster("h100x8"))
