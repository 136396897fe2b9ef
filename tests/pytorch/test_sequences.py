"""Unmodified transformers in a session: generation with the cache on the wafer, encoders."""

from __future__ import annotations

import pytest
import torch

from onewafer.errors import ConfigurationError
from onewafer.graph import DataType
from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from tests.pytorch.lowering.models import CAUSAL, arguments, build

IDS = torch.tensor([[5, 17, 3, 42, 8, 29]])
GREEDY = {"max_new_tokens": 4, "do_sample": False}


def session(fidelity=Fidelity.MODEL, **options):
    return Session(WaferOptions(fidelity=fidelity, **options))


@pytest.mark.parametrize("family", CAUSAL)
def test_generate_gives_the_tokens_of_the_host(family):
    model, wafer = build(family), session()
    expected = model.generate(IDS, **GREEDY)
    with intercept_calls(wafer):
        assert torch.equal(model.generate(IDS, **GREEDY), expected)
    assert not wafer.ledger.fallbacks
    (record,) = wafer.ledger.programs
    assert (record.calls, record.launches, record.samples) == (4, 4, 6 + 3)
    assert record.reason == "a language model with a context of 32 tokens"


def test_generate_on_the_fabric_takes_the_cycles_of_the_closed_form():
    model = build("llama", num_hidden_layers=1)
    expected = model.generate(IDS, **GREEDY)
    cycles = []
    for fidelity in (Fidelity.FABRIC, Fidelity.MODEL):
        wafer = session(fidelity, rectangle=(2, 2))
        with intercept_calls(wafer):
            assert torch.equal(model.generate(IDS, **GREEDY), expected)
        assert not wafer.ledger.fallbacks
        cycles.append(wafer.ledger.programs[0].activity.cycles)
    assert abs(cycles[0] - cycles[1]) < 0.05 * cycles[0]


def test_a_token_costs_its_id_and_its_logits_in_traffic():
    model, wafer = build("llama"), session()
    with intercept_calls(wafer), torch.no_grad():
        output = model(IDS, use_cache=True, logits_to_keep=1)
        record = wafer.ledger.programs[0]
        bytes_in, bytes_out = record.bytes_in, record.bytes_out
        cache = output[1]
        model(IDS[:, :1], use_cache=True, logits_to_keep=1, **{_cache_name(output): cache})
    assert record.bytes_in - bytes_in == 16 * 4  # the rows of a launch
    assert record.bytes_out - bytes_out == 61 * 4


def _cache_name(output):
    return "cache" if "cache" in output else "past_key_values"


def test_half_precision_generates():
    model, wafer = build("llama"), session(dtype=DataType.F16)
    with intercept_calls(wafer), torch.no_grad():
        found = model(IDS, use_cache=False, logits_to_keep=1).logits
    with torch.no_grad():
        expected = model(IDS, use_cache=False, logits_to_keep=1).logits
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    assert not wafer.ledger.fallbacks


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_encoders_take_all_rows_in_one_launch(family):
    model, kwargs, wafer = build(family), arguments(family, 5), session(max_batch=4)
    with torch.no_grad():
        expected = model(**kwargs)
        with intercept_calls(wafer):
            found = model(**kwargs)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=2e-5, atol=2e-5)
    assert not wafer.ledger.fallbacks
    assert wafer.ledger.programs[0].launches == 1


def test_padding_runs_on_the_host_and_the_same_model_without_it_on_the_wafer():
    model, kwargs, wafer = build("bert"), arguments("bert", 5), session()
    with intercept_calls(wafer), torch.no_grad():
        for mask in ([[1, 1, 1, 1, 0]], [[1, 1, 1, 1, 1]], [[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]):
            model(**kwargs, attention_mask=torch.tensor(mask))
    assert wafer.ledger.programs[0].calls == 2
    assert sum(wafer.ledger.fallbacks.values()) == 2
    assert all("neither causal nor empty" in reason for _, reason in wafer.ledger.fallbacks)


def test_several_sequences_go_on_on_the_host_with_what_the_wafer_has_begun():
    model, wafer = build("llama"), session()
    expected = model.generate(IDS, num_beams=2, **GREEDY)
    with intercept_calls(wafer):
        assert torch.equal(model.generate(IDS, num_beams=2, **GREEDY), expected)
    assert any("2 sequences" in reason for _, reason in wafer.ledger.fallbacks)


def test_context_shrinks_until_keys_and_values_fit():
    sizes = {"num_hidden_layers": 1, "max_position_embeddings": 1024}
    model, wafer = build("llama", **sizes), session(rectangle=(2, 2))
    with intercept_calls(wafer):
        model.generate(IDS, **GREEDY)
    (record,) = wafer.ledger.programs
    context = record.program.context
    assert 16 <= context < 1024
    assert record.reason == f"a language model with a context of {context} tokens"


def test_model_that_fits_no_rectangle_of_that_size_is_an_error_with_bytes():
    model, wafer = build("llama"), session(rectangle=(1, 1))
    with intercept_calls(wafer), pytest.raises(ConfigurationError, match="use a rectangle of"):
        model.generate(IDS, **GREEDY)
