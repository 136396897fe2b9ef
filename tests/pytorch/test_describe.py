"""Models for comparisons: captured without weights, folded into a few segments."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import Attention, Convolution, DataType, Experts, Linear, Opaque
from onewafer.mesh import shard
from onewafer.perf import find_model, known_models
from onewafer.perf.gpu import validate_samples
from onewafer.perf.jobs import Pass
from onewafer.pytorch import capture, describe_model, describe_module
from onewafer.pytorch.describe import TOKENS
from onewafer.pytorch.weightless import build_weightless, without_weights
from tests.pytorch.lowering.models import DECODERS, SIZES, build


def build_experts(family, **more):
    sizes = SIZES | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
    sizes |= {"num_experts": 4, "moe_intermediate_size": 40} if family == "Qwen3Moe" else {}
    sizes |= {"sliding_window": 99} if family == "GptOss" else {}
    config = getattr(transformers, f"{family}Config")(**sizes, **more)
    return getattr(transformers, f"{family}ForCausalLM")(config)


def num_elements(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.alternate(3)
@pytest.mark.parametrize("family", DECODERS)
def test_a_model_without_weights_is_captured_as_the_one_with_weights(family):
    module = build(family)
    arguments = {
        "input_ids": torch.zeros(1, 16, dtype=torch.int64),
        "use_cache": False,
        "logits_to_keep": 1,
    }

    expected = capture(module, (), arguments, dtype=DataType.F16).graph

    assert capture(without_weights(module), (), arguments, dtype=DataType.F16).graph == expected


@pytest.mark.parametrize("family", DECODERS)
def test_layers_are_one_segment_and_all_weights_count(family):
    module = build(family)

    model = describe_module(module)

    assert [segment.repeats for segment in model.segments] == [1, 2, 1]
    assert model.num_weights == num_elements(module)
    assert model.fixed_tokens is None


@pytest.mark.alternate(3)
@pytest.mark.parametrize(
    ("family", "repeats"),
    [("Mixtral", [1, 2, 1]), ("Qwen3Moe", [1, 2, 1]), ("GptOss", [1])],
)
def test_experts_are_one_operation_that_has_all_their_weights(family, repeats):
    module = build_experts(family)

    model = describe_module(module)

    assert [segment.repeats for segment in model.segments] == repeats
    assert model.num_weights == num_elements(module)
    experts = [op for s in model.segments for op in s.graph.operations if isinstance(op, Experts)]
    assert {(op.num_experts, op.experts_per_row, op.hidden_features) for op in experts} == {
        (4, 2, 40)
    }


def test_causal_attention_with_biases_of_positions_has_a_cache():
    sizes = {"vocab_size": 61, "hidden_size": 24, "n_layer": 2, "n_head": 4}
    module = transformers.BloomForCausalLM(transformers.BloomConfig(**sizes))

    model = describe_module(module)

    assert model.cached_features == 2 * 2 * 24


def test_experts_that_all_get_their_rows_are_captured_as_they_are():
    sizes = SIZES | {"num_local_experts": 4, "intermediate_size_mlp": 40, "head_dim": 8}
    module = transformers.Llama4ForCausalLM(transformers.Llama4TextConfig(**sizes))

    model = describe_module(module)

    assert model.num_weights == num_elements(module)


def test_windows_and_sinks_are_seen_in_short_sequences():
    model = describe_module(build_experts("GptOss"))

    attentions = [
        op for s in model.segments for op in s.graph.operations if isinstance(op, Attention)
    ]
    assert [(op.window, op.sinks is not None) for op in attentions] == [(99, True), (None, True)]
    assert model.cached_elements(1000) == (99 + 1000) * model.cached_features // 2


def test_latent_attention_keeps_one_vector_of_each_token():
    sizes = {"q_lora_rank": 12, "kv_lora_rank": 10, "qk_rope_head_dim": 4, "qk_nope_head_dim": 6}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1}
    others = {"v_head_dim": 8, "moe_intermediate_size": 20, "first_k_dense_replace": 0}
    config = transformers.DeepseekV3Config(
        **(SIZES | {"num_key_value_heads": 4}), **sizes, **experts, **others
    )
    module = transformers.DeepseekV3ForCausalLM(config)

    model = describe_module(module)

    assert model.num_weights == num_elements(module)
    assert model.cached_features == 2 * (10 + 4)
    assert "latent vectors" in model.notes[0]
    ((absorb, _), *_, (expand, _)) = (
        pair
        for pair in model.work(model.segments[1], Pass(sequences=1, new_tokens=1))
        if pair[0].result.name.startswith("latent")
    )
    flop = [op.count_flop(model.graph_for(model.segments[1], 1).by_name) for op in (absorb, expand)]
    assert flop == [2 * 4 * 6 * 10, 2 * 4 * 10 * 8]


def products(model):
    """Return the floating point operations of products, with all pairs of tokens."""
    total = 0
    for segment in model.segments:
        tensor = segment.graph.tensor
        for operation in segment.graph.operations:
            match operation:
                case Linear() | Convolution():
                    flop = operation.count_flop(segment.graph.by_name)
                case Attention(result, query):
                    features = tensor(query).shape[1] + result.shape[1]
                    flop = 2 * result.shape[0] ** 2 * features
                case Experts(result, weights=weights, experts_per_row=count):
                    shapes = [tensor(name).shape for name in weights]
                    one = sum(2 * math.prod(shape[1:]) for shape in shapes if len(shape) == 3)
                    flop = result.shape[0] * count * one
                case _:
                    flop = 0
            total += segment.repeats * flop
    return total


@pytest.mark.alternate
@pytest.mark.parametrize("family", [*DECODERS, "bert", "vit"])
def test_products_are_those_that_pytorch_counts(family):
    module = build(family, "eager").eval()
    model = describe_module(module)

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        match family:
            case "vit":
                module(torch.zeros(1, 3, module.config.image_size, module.config.image_size))
            case "bert":
                module(torch.zeros(1, TOKENS, dtype=torch.int64))
            case _:
                module(torch.zeros(1, TOKENS, dtype=torch.int64), logits_to_keep=1)

    counted = counter.get_total_flops()
    if family == "vit":  # on the wafer the class token is a patch of zeros
        patch = model.segments[0].graph.operations[0]
        counted += patch.count_flop(model.segments[0].graph.by_name) // patch.result.shape[0]
    assert products(model) == counted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-8b"])
def test_products_of_a_whole_model_are_those_that_pytorch_counts(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    entry, tokens = find_model(name), 1024
    kind = getattr(transformers, entry.architecture)
    config = kind.config_class(**entry.config, attn_implementation="eager")
    with torch.device("meta"):
        module = kind(config).eval()
        ids, mask = torch.zeros(1, tokens, dtype=torch.int64), torch.zeros(1, 1, tokens, tokens)
    model = describe_model(name)
    longer = [replace(s, graph=model.graph_for(s, tokens)) for s in model.segments]

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(ids, attention_mask=mask, use_cache=False, logits_to_keep=1)

    assert products(replace(model, segments=(*longer,))) == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("name", known_models())
def test_weights_of_every_known_model_are_counted(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    entry = find_model(name)

    model = describe_model(name)

    hidden_size = entry.config.get("hidden_size", 0)
    joined = {"BertModel": 2, "ViTForImageClassification": 2}  # rows of tables of positions
    missing = joined.get(entry.architecture, 0) * hidden_size
    assert model.num_weights == entry.num_weights - missing


@pytest.mark.alternate(3)
@pytest.mark.parametrize("family", ["Mixtral", "Qwen3Moe", "GptOss"])
def test_products_of_chosen_experts_are_those_that_pytorch_counts(family):
    module = build_experts(family, attn_implementation="eager", experts_implementation="eager")
    model = describe_module(module.eval())

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, TOKENS, dtype=torch.int64), logits_to_keep=1)

    assert products(model) == counter.get_total_flops()


def test_convolutions_are_those_that_pytorch_counts():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[2, 1], layer_type="bottleneck"
    )
    module = transformers.ResNetForImageClassification(config).eval()
    pictures = torch.zeros(1, 3, 32, 32)
    model = describe_module(module, {"pixel_values": pictures})

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(pictures)

    assert products(model) == counter.get_total_flops()
    assert model.fixed_tokens == 32 * 32


@pytest.mark.slow
def test_resnet_50_is_as_large_as_published_and_as_fast_as_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    model = describe_model("resnet-50")

    assert products(model) / 2 == pytest.approx(4.09e9, rel=0.002)  # torchvision: 4.09 GFLOPS
    assert model.num_weights == 25_557_032
    validation = validate_samples(lambda name: {model.name: model}[name])
    if validation.figures:  # with the tables of measured kernels
        errors = [row.error for row in validation.figures if row.ours is not None]
        assert len(errors) == 2
        assert max(map(abs, errors)) < 0.2


def test_functions_without_a_form_keep_the_places_of_maps():
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU6(), torch.nn.Conv2d(8, 4, 3, stride=2)
    )
    model = describe_module(module, {"input": torch.zeros(1, 3, 12, 10)})

    operations = [op for segment in model.segments for op in segment.graph.operations]
    (relu,) = (op for op in operations if isinstance(op, Opaque))
    assert relu.result.shape == (12 * 10, 8)
    assert [type(op) for op in operations].count(Convolution) == 2


def test_what_has_no_form_is_counted_as_pytorch_counts_it():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 8)

        def forward(self, x):
            sorted_, _ = torch.sort(self.linear(x), dim=-1)
            return torch.einsum("brf,bsf->brs", sorted_, sorted_)

    model = describe_module(Odd(), {"x": torch.zeros(1, 17, 8)})

    (segment,) = model.segments
    sort, product = (op for op in segment.graph.operations if isinstance(op, Opaque))
    assert (sort.function, product.function) == ("aten.sort.default", "aten.einsum.default")
    assert sort.count_flop(segment.graph.by_name) == 17 * 8
    assert product.count_flop(segment.graph.by_name) == 2 * 17 * 17 * 8


def test_the_mesh_refuses_what_is_only_counted():
    model = describe_module(build_experts("Mixtral"))

    with pytest.raises(UnsupportedOperationError, match="is not supported on the wafer"):
        shard(model.segments[1].graph, width=2, height=2, architecture=load_architecture("toy"))


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
    with pytest.raises(ConfigurationError, match=r"called, as in {.*} after the module"):
        describe_module(module)


def test_what_code_does_besides_computing_is_undone_and_no_reason_to_refuse():
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 4)
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            print("called")  # noqa: T201
            return self.linear(x)

    module = Counting()

    model = describe_module(module, {"x": torch.zeros(1, 8)})

    assert (model.num_weights, module.calls) == (36, 0)


def test_results_without_elements_are_not_counted():
    class Normed(torch.nn.Module):
        """Its batch norm, of a map that is only counted, gives statistics without elements."""

        def __init__(self):
            super().__init__()
            self.convolution, self.norm = torch.nn.Conv2d(4, 4, 1), torch.nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(self.convolution(torch.sort(x, 1)[0])).relu_()

    model = describe_module(Normed().eval(), {"x": torch.zeros(1, 4, 6, 5)})

    results = [op.result for segment in model.segments for op in segment.graph.operations]
    assert all(result.num_elements for result in results)


def test_a_module_that_cannot_be_captured_is_refused_with_the_line_of_its_code():
    class Choosing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 4)

        def forward(self, x):
            return self.linear(x) if x.sum() > 0 else x

    with pytest.raises(UnsupportedOperationError, match=r"torch\.export cannot capture") as caught:
        describe_module(Choosing(), {"x": torch.zeros(1, 8)})

    assert str(caught.value).startswith("test_describe.py:")
    assert "`return self.linear(x) if x.sum() > 0 else x`: torch.export" in str(caught.value)
    (way_out,) = caught.value.__notes__
    assert way_out.startswith("What Choosing costs is counted in what torch.export captures")
