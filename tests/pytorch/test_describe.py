"""Models for comparisons: captured without weights, folded into a few segments."""

from __future__ import annotations

import pytest
import torch

from onewafer.errors import ConfigurationError
from onewafer.graph import DataType
from onewafer.pytorch import capture, describe_module
from onewafer.pytorch.weightless import build_weightless, without_weights
from tests.pytorch.lowering.models import CAUSAL, build


def num_elements(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("family", CAUSAL)
def test_a_model_without_weights_is_captured_as_the_one_with_weights(family):
    module = build(family)
    arguments = {
        "input_ids": torch.zeros(1, 16, dtype=torch.int64),
        "use_cache": False,
        "logits_to_keep": 1,
    }

    expected = capture(module, (), arguments, dtype=DataType.F16).graph

    assert capture(without_weights(module), (), arguments, dtype=DataType.F16).graph == expected


@pytest.mark.parametrize("family", CAUSAL)
def test_layers_are_one_segment_and_all_weights_count(family):
    module = build(family)

    model = describe_module(module)

    assert [segment.repeats for segment in model.segments] == [1, 2, 1]
    assert model.num_weights == num_elements(module)
    assert model.fixed_tokens is None


def test_a_module_on_the_meta_device_is_described_like_another():
    module = build("llama")

    assert describe_module(build("llama").to("meta")) == describe_module(module)


def test_weights_take_no_memory_and_buffers_keep_their_elements():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(1 << 20, 1 << 20)
            self.register_buffer("scale", torch.arange(3.0))

    module = build_weightless(Scaled)

    assert module.linear.weight.untyped_storage().nbytes() == 4
    assert module.scale.tolist() == [0, 1, 2]


def test_a_module_of_the_users_own_is_told_its_arguments():
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

    model = describe_module(module, {"input": torch.zeros(1, 8)}, name="mine")

    assert (model.name, model.title, model.num_weights) == ("mine", "Sequential", 212)
    with pytest.raises(ConfigurationError, match=r"say how it is called"):
        describe_module(module)
