"""Unmodified classes of transformers: the captured graph computes what PyTorch does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    ActivationFunction,
    Attention,
    DataType,
    Embedding,
    Evaluator,
    FirstRow,
    LastRow,
    Linear,
    PositionEmbedding,
    RmsNorm,
    Rotary,
)
from onewafer.pytorch import WaferOptions, capture
from onewafer.pytorch.guarded import GuardedCall
from tests.pytorch.lowering.models import (
    CAUSAL,
    FAMILIES,
    VARIANTS,
    arguments,
    build,
    build_biased,
    build_pair,
    build_variant,
)


def captured(model, **kwargs):
    with torch.no_grad():
        return capture(model, (), kwargs)


def computed(call):
    """Return the module's result as the host evaluates the graph, in float64."""
    return call.restore(joined([evaluated(part) for part in call.split()]))


def evaluated(call):
    parameters = {
        name: tensor.detach().double().numpy() for name, tensor in call.parameters.items()
    }
    inputs = {name: tensor.numpy() for name, tensor in call.inputs.items()}
    return Evaluator(call.graph, parameters).run(inputs)


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=2e-5, atol=2e-5)


def of_kind(call, kind):
    return [operation for operation in call.graph.operations if isinstance(operation, kind)]


@pytest.mark.parametrize(("attention", "rows"), [("sdpa", 1), ("sdpa", 7), ("eager", 5)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.alternate(4)
def test_graph_computes_what_the_module_does(family, attention, rows):
    model, kwargs = build(family, attention), arguments(family, rows)
    call = captured(model, **kwargs)
    with torch.no_grad():
        assert_same(computed(call), model(**kwargs))
    assert len(of_kind(call, Attention)) == 2
    causal = family in CAUSAL and rows > 1
    assert all(attend.is_causal == causal for attend in of_kind(call, Attention))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.alternate(8)
def test_other_spellings_of_norms_and_rotary_positions(name, attention):
    model, kwargs = build_variant(name, attention), arguments("llama", 6)
    call = captured(model, **kwargs)
    with torch.no_grad():
        assert_same(computed(call), model(**kwargs))
    assert len(of_kind(call, Attention)) == 2
    assert len(of_kind(call, Rotary)) == 4


def test_a_language_model_is_captured_anew_once_its_scale_of_embeddings_has_changed():
    model, kwargs = build_variant("Gemma"), arguments("llama", 4)
    call = captured(model, **kwargs)
    leaves = [kwargs["input_ids"], False]
    assert call.capture.holds_for(leaves)
    model.model.embed_tokens.embed_scale.mul_(2)
    assert not call.capture.holds_for(leaves)
    with torch.no_grad():
        assert_same(computed(captured(model, **kwargs)), model(**kwargs))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_keys_and_values_are_not_repeated(kv_heads):
    model, kwargs = build("llama", num_key_value_heads=kv_heads), arguments("llama", 6)
    call = captured(model, **kwargs)
    with torch.no_grad():
        assert_same(computed(call), model(**kwargs))
    assert all((a.heads, a.kv_heads) == (4, kv_heads) for a in of_kind(call, Attention))
    assert {call.graph.tensor(a.key).shape for a in of_kind(call, Attention)} == {(6, 6 * kv_heads)}


def test_llama_layer_has_no_superfluous_operation():
    call = captured(build("llama"), **arguments("llama", 4))
    kinds = Counter(type(operation).__name__ for operation in call.graph.operations)
    layers = {"Linear": 7, "RmsNorm": 2, "Rotary": 2, "Attention": 1, "Add": 2}
    layers |= {"Activation": 1, "Multiply": 1}
    assert kinds == Counter({n: 2 * count for n, count in layers.items()}) + Counter(
        ["Embedding", "RmsNorm", "Linear"]
    )
    tables = {operation.cosine for operation in of_kind(call, Rotary)}
    assert len(tables) == 1  # all layers share it


def test_tied_embedding_is_one_parameter():
    call = captured(build("smollm"), **arguments("smollm", 4))
    (embedding,) = of_kind(call, Embedding)
    assert of_kind(call, Linear)[-1].weight == embedding.table
    (ids,) = call.graph.inputs
    assert (ids.shape, ids.dtype) == ((4, 1), DataType.I32)


def test_norms_of_qwen3_heads_are_groups():
    call = captured(build("qwen3"), **arguments("qwen3", 4))
    assert Counter(norm.groups for norm in of_kind(call, RmsNorm)) == {1: 5, 4: 2, 2: 2}


def test_fused_weights_of_gpt2_are_cut_and_its_function_is_recognised():
    model = build("gpt2")
    call = captured(model, **arguments("gpt2", 4))
    assert len(of_kind(call, Linear)) == 2 * (3 + 1 + 2) + 1
    (positions,) = of_kind(call, PositionEmbedding)
    assert call.graph.tensor(positions.table).shape == (4, 24)
    functions = {o.function for o in call.graph.operations if hasattr(o, "function")}
    assert functions == {ActivationFunction.GELU_TANH}
    stored = sum(t.num_elements for t in call.graph.parameters)
    assert stored == sum(p.numel() for p in model.parameters()) - (32 - 4) * 24


def test_token_types_are_looked_up_if_they_come_with_the_call():
    model, kwargs = build("bert"), arguments("bert", 5)
    kwargs["token_type_ids"] = torch.tensor([[0, 0, 1, 1, 0]])
    call = captured(model, **kwargs)
    with torch.no_grad():
        assert_same(computed(call), model(**kwargs))
    assert len(of_kind(call, Embedding)) == 2
    assert len(of_kind(captured(model, **arguments("bert", 5)), Embedding)) == 1


def test_pooler_takes_the_first_row():
    for family in ("bert", "vit"):
        call = captured(build(family), **arguments(family, 5))
        assert len(of_kind(call, FirstRow)) == 1
        assert call.graph.operations[-1].result.shape == (1, 24)


def test_image_is_cut_by_the_host_and_the_class_token_is_a_row_of_a_table():
    call = captured(build("vit"), **arguments("vit", 0))
    (source,) = call.graph.inputs
    assert source.shape == (1 + 16, 3 * 6 * 6)
    assert not call.inputs[source.name][0].any()
    assert len(of_kind(call, PositionEmbedding)) == 1
    assert call.capture.on_host == (
        "cutting 'pixel_values' into patches",
        "adding 1 row of zeros",
    )


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_only_the_last_row_reaches_the_head_if_only_its_logits_are_kept(family):
    model, kwargs = build(family), arguments(family, 6) | {"logits_to_keep": 1}
    call = captured(model, **kwargs)
    with torch.no_grad():
        assert_same(computed(call), model(**kwargs))
    assert len(of_kind(call, LastRow)) == 1
    assert call.graph.operations[-1].result.shape == (1, 61)


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
@pytest.mark.alternate(3)
def test_keys_and_values_come_back_in_the_cache_of_the_module(family):
    """Dynamo follows what the module does with its cache, which `torch.export` does not."""
    calls = []

    def run(module, call, _on_host):
        assert type(module) is type(model)
        calls.append(call)
        return computed(call)

    model, guarded = build(family), GuardedCall(run, WaferOptions())
    kwargs = arguments(family, 5) | {"use_cache": True}
    with torch.no_grad():
        found, expected = guarded(model, (), kwargs), model(**kwargs)
        guarded(model, (), kwargs)
    assert calls[0].capture is calls[1].capture
    torch.testing.assert_close(found.logits, expected.logits, rtol=2e-5, atol=2e-5)
    caches = [result.get("cache", result.get("past_key_values")) for result in (found, expected)]
    for mine, theirs in zip(*(cache.layers for cache in caches), strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys, rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(mine.values, theirs.values, rtol=2e-5, atol=2e-5)


def test_half_precision_is_stored_as_such_and_normalised_in_single():
    model = build("llama").half()
    kwargs = arguments("llama", 5)
    call = captured(model, **kwargs)
    assert call.graph.dtype is DataType.F16
    with torch.no_grad():
        expected = model(**kwargs)
    torch.testing.assert_close(computed(call).logits, expected.logits, rtol=2e-2, atol=2e-2)


def test_fewer_positions_than_rows_of_the_input_are_refused():
    class Halved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.narrow = torch.nn.Conv1d(24, 24, 3, stride=2, padding=1)
            self.inner = build("bert").encoder.layer[0]

        def forward(self, x):
            return self.inner(self.narrow(x).transpose(1, 2))

    with (
        torch.no_grad(),
        pytest.raises(UnsupportedOperationError, match=r"covers 4 tokens.*have 8"),
    ):
        capture(Halved(), (torch.randn(1, 24, 8),), {})


class TestEncodersWithDecoders:
    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.parametrize("rows", [(7, 4), (4, 7), (5, 5), (3, 1)], ids=str)
    @pytest.mark.parametrize("name", ["Bart", "T5"])
    @pytest.mark.alternate(8)
    def test_all_inputs_get_the_rows_of_the_longest(self, name, rows, attention):
        model, kwargs = build_pair(name, attention), pair_of_sequences(*rows)
        call = captured(model, **kwargs)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs))
        assert {tensor.shape[0] for tensor in call.graph.inputs} == {max(rows)}
        assert len(of_kind(call, Attention)) == 3

    def test_only_what_has_keys_behind_its_sequence_gets_a_bias(self):
        model = build_pair("Bart")
        for rows, num_biases in (((7, 4), 0), ((4, 7), 2), ((5, 5), 0)):
            call = captured(model, **pair_of_sequences(*rows))
            biases = [attend.bias for attend in of_kind(call, Attention)]
            assert len(biases) - biases.count(None) == num_biases

    @pytest.mark.parametrize("rows", [(7, 4), (4, 7)], ids=str)
    @pytest.mark.alternate
    def test_with_padding(self, rows):
        model, kwargs = build_pair("T5"), pair_of_sequences(*rows)
        mask = torch.ones(1, rows[0], dtype=torch.int64)
        mask[0, -2:] = 0
        call = captured(model, **kwargs, attention_mask=mask)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs, attention_mask=mask))

    @pytest.mark.parametrize("rows", [(5, 2), (2, 5)], ids=str)
    def test_features_of_the_shorter_sequence_are_joined(self, rows):
        class Joined(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = torch.nn.Embedding(9, 4)
                self.attend = torch.nn.MultiheadAttention(4, 1, batch_first=True)
                self.join = torch.nn.Linear(8, 4)

            def forward(self, ids, others):
                keys, queries = self.embed(ids), self.embed(others)
                seen, _ = self.attend(queries, keys, keys, need_weights=False)
                return self.join(torch.cat([queries, seen], -1)).softmax(-1)

        torch.manual_seed(0)
        model = Joined().eval()
        ids, others = (torch.arange(count)[None] for count in rows)
        call = captured(model, ids=ids, others=others)
        with torch.no_grad():
            torch.testing.assert_close(computed(call), model(ids, others), rtol=2e-5, atol=2e-5)

    def test_the_last_row_of_a_shorter_sequence_is_refused(self):
        class Last(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = build_pair("Bart")

            def forward(self, **kwargs):
                return self.inner(**kwargs).logits[:, -1].tanh()

        call = captured(Last(), **pair_of_sequences(4, 7))
        with torch.no_grad():
            expected = Last()(**pair_of_sequences(4, 7))
        torch.testing.assert_close(computed(call), expected, rtol=2e-5, atol=2e-5)
        with pytest.raises(
            UnsupportedOperationError, match="the last token over inputs of different lengths"
        ):
            captured(Last(), **pair_of_sequences(7, 4))


def pair_of_sequences(rows, decoder_rows):
    torch.manual_seed(rows)
    return {
        "input_ids": torch.randint(1, 61, (1, rows)),
        "decoder_input_ids": torch.randint(1, 61, (1, decoder_rows)),
        "use_cache": False,
    }


class TestMasks:
    def test_a_mask_of_ones_is_no_mask(self):
        model, kwargs = build("llama"), arguments("llama", 5)
        kwargs["attention_mask"] = torch.ones(1, 5, dtype=torch.int64)
        call = captured(model, **kwargs)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs))

    def test_capture_holds_for_equal_masks_only(self):
        ones = torch.ones(1, 5, dtype=torch.int64)
        model = build("bert")
        ids = arguments("bert", 5)["input_ids"]
        call = captured(model, input_ids=ids, attention_mask=ones)
        assert call.capture.holds_for([ids + 1, ones.clone()])
        assert not call.capture.holds_for([ids, torch.tensor([[1, 1, 1, 1, 0]])])

    @pytest.mark.parametrize("family", ["llama", "bert"])
    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.alternate
    def test_padding_is_a_bias_that_other_padding_shares_the_graph_with(self, family, attention):
        model, kwargs = build(family, attention), arguments(family, 5)
        paddings = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
        calls = []
        for padding in paddings:
            kwargs["attention_mask"] = torch.tensor([padding])
            calls.append(captured(model, **kwargs))
            with torch.no_grad():
                assert_same(computed(calls[-1]), model(**kwargs))
        assert calls[0].graph == calls[1].graph
        assert {attend.is_causal for attend in of_kind(calls[0], Attention)} == {False}
        leaves = [kwargs["input_ids"], kwargs["attention_mask"]]
        bound = calls[0].capture
        assert bound.holds_for(leaves if family == "bert" else [leaves[0], False, leaves[1]])

    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.alternate
    def test_sliding_window_is_a_bias_where_it_hides_something(self, attention):
        model = build("mistral", attention, sliding_window=3)
        for rows, is_causal in ((3, True), (6, False)):
            kwargs = arguments("mistral", rows)
            call = captured(model, **kwargs)
            with torch.no_grad():
                assert_same(computed(call), model(**kwargs))
            assert all(a.is_causal is is_causal for a in of_kind(call, Attention))

    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    def test_a_row_that_sees_nothing_is_refused(self, attention):
        model = build("bert", attention)
        mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
        mask[..., 2, :] = False
        with pytest.raises(UnsupportedOperationError, match="hides all keys from a query"):
            captured(model, **arguments("bert", 5), attention_mask=mask)

    @pytest.mark.parametrize("name", ["Bloom", "Mpt", "GPTNeo", "MPNet"])
    @pytest.mark.alternate
    def test_biases_by_position_and_head(self, name):
        model, kwargs = build_biased(name), arguments("bert" if name == "MPNet" else "llama", 6)
        call = captured(model, **kwargs)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs))
        biases = [attend.bias for attend in of_kind(call, Attention)]
        assert len(biases) == 2
        assert any(bias is not None for bias in biases)


class TestBatches:
    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.alternate(8)
    def test_sequences_share_the_graph_of_one(self, family, attention):
        model, kwargs = build(family, attention), batch(family, 3, rows=5)
        call = captured(model, **kwargs)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs))
        assert call.graph == captured(model, **arguments(family, 5)).graph
        assert call.capture.sequences == 3

    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.parametrize("family", ["bert", "llama"])
    def test_each_sequence_has_its_own_padding(self, family, attention):
        model, kwargs = build(family, attention), batch(family, 3, rows=5)
        kwargs["attention_mask"] = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
        call = captured(model, **kwargs)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs))
        biases = {a.bias for a in of_kind(call, Attention)}
        assert len(biases) == 1
        assert call.graph.tensor(*biases).shape == (4 * 5, 5)

    @pytest.mark.parametrize("first", [0, 1])
    @pytest.mark.parametrize("sequences", [1, 3])
    def test_the_mean_of_rows_with_and_without_the_first(self, sequences, first):
        class Mean(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = build("bert")

            def forward(self, **kwargs):
                return self.inner(**kwargs).last_hidden_state[:, first:].mean(1)

        kwargs = batch("bert", sequences, rows=5)
        call = captured(Mean(), **kwargs)
        with torch.no_grad():
            expected = Mean()(**kwargs)
        torch.testing.assert_close(computed(call), expected, rtol=2e-5, atol=2e-5)
        assert len(of_kind(call, FirstRow)) == first

    def test_the_mean_of_other_rows_is_refused(self):
        class Mean(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = build("bert")

            def forward(self, **kwargs):
                return self.inner(**kwargs).last_hidden_state[:, 2:].mean(1)

        with pytest.raises(
            UnsupportedOperationError, match="taking other tokens of a computed sequence"
        ):
            captured(Mean(), **batch("bert", 1, rows=5))

    def test_the_last_rows_of_sequences(self):
        model = build("llama")
        kwargs = batch("llama", 2, rows=4) | {"logits_to_keep": 1}
        call = captured(model, **kwargs)
        with torch.no_grad():
            assert_same(computed(call), model(**kwargs))
        assert len(of_kind(call, LastRow)) == 1

    def test_positions_that_differ_are_refused(self):
        kwargs = batch("llama", 2, rows=4)
        kwargs["position_ids"] = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
        with pytest.raises(UnsupportedOperationError, match="has no row for each position"):
            captured(build("llama"), **kwargs)

    def test_several_encoders_with_decoders_are_refused(self):
        pair = {n: v.repeat(2, 1) for n, v in pair_of_sequences(4, 6).items() if n != "use_cache"}
        with pytest.raises(
            UnsupportedOperationError, match="8 and 12 rows, and 2 sequences have equal lengths"
        ):
            captured(build_pair("Bart"), **pair, use_cache=False)


def batch(family, sequences, rows):
    """Return the keywords of a call with several sequences that differ."""
    torch.manual_seed(sequences)
    if family == "vit":
        return {"pixel_values": torch.randn(sequences, 3, 24, 24)}
    kwargs = arguments(family, rows)
    return kwargs | {"input_ids": torch.randint(0, 61, (sequences, rows))}


def test_refusal_names_the_line_of_the_model():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build("bert")

        def forward(self, input_ids):
            return self.inner(input_ids).last_hidden_state.cumsum(1)

    reason = r"test_transformers\.py:\d+: `self.*\.cumsum\(1\)`: `cumsum` is not supported"
    with pytest.raises(UnsupportedOperationError, match=reason):
        captured(Odd(), **arguments("bert", 3))
