"""Unmodified transformers in a session: generation with the cache on the wafer, encoders."""

from __future__ import annotations

import pytest
import torch

from onewafer.graph import DataType
from onewafer.pytorch import Fidelity, Session, WaferOptions, build_report, intercept_calls
from tests.pytorch.lowering.models import DECODERS, arguments, build, build_pair

IDS = torch.tensor([[5, 17, 3, 42, 8, 29]])
GREEDY = {"max_new_tokens": 4, "do_sample": False}


def session(fidelity=Fidelity.MODEL, **options):
    return Session(WaferOptions(fidelity=fidelity, **options))


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.alternate
def test_generate_gives_the_tokens_of_the_host(family):
    model, wafer = build(family), session()
    expected = model.generate(IDS, **GREEDY)
    with intercept_calls(wafer):
        assert torch.equal(model.generate(IDS, **GREEDY), expected)
    assert not wafer.ledger.fallbacks
    (record,) = wafer.ledger.programs
    assert (record.calls, record.launches, record.samples) == (4, 4, 6 + 3)
    assert record.reason == "a language model with a context of 32 tokens"


@pytest.mark.parametrize("token", [-1, 61, 2**40])
@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.slow
def test_a_token_that_the_model_does_not_have_is_the_host_s_error(family, token):
    model, wafer = build(family), session()
    with torch.no_grad(), intercept_calls(wafer):
        model(IDS)
        with pytest.raises(IndexError, match="index out of range in self"):
            model(torch.tensor([[5, 17, token, 42, 8, 29]]))
        model(IDS)
    assert sum(record.calls for record in wafer.ledger.programs) == 2
    (reason,) = {str(refusal) for _, refusal in wafer.ledger.fallbacks}
    low, high = min(token, 5), max(token, 42)
    assert reason == f"its indices are {low} to {high}; the table has rows 0 to 60"


@pytest.mark.slow
def test_generate_on_the_fabric_takes_the_cycles_of_the_closed_form():
    model = build("llama", num_hidden_layers=1)
    expected = model.generate(IDS, **GREEDY)
    cycles, reports = [], []
    for fidelity in (Fidelity.FABRIC, Fidelity.MODEL):
        wafer = session(fidelity, rectangle=(2, 2))
        with intercept_calls(wafer):
            assert torch.equal(model.generate(IDS, **GREEDY), expected)
        assert not wafer.ledger.fallbacks
        cycles.append(wafer.ledger.programs[0].activity.cycles)
        reports.append(build_report(wafer.ledger).programs[0])
    for simulated, modelled in zip(*(report.phases for report in reports), strict=True):
        assert (simulated.phase, simulated.rows) == (modelled.phase, modelled.rows)
        assert abs(simulated.expected_error) < 0.05
        assert simulated.expected_cycles_per_row == modelled.cycles_per_row
        measured = [part.cycles_per_row for part in simulated.parts]
        assert sum(measured) == pytest.approx(simulated.cycles_per_row)
        assert sum(part.expected_cycles_per_row for part in modelled.parts) == pytest.approx(
            modelled.cycles_per_row
        )
    decode = reports[0].phases[1]
    for part in decode.parts:  # one row: the mean of all PEs is near the one that is last
        distance = abs(part.expected_cycles_per_row - part.cycles_per_row)
        assert distance < 0.05 * decode.cycles_per_row, part
    assert abs(cycles[0] - cycles[1]) < 0.05 * cycles[0]


@pytest.mark.slow
def test_a_batch_of_padded_sequences_on_the_fabric():
    model = build("bert", num_hidden_layers=1)
    kwargs = {
        "input_ids": torch.stack([IDS[0], IDS[0] + 2, IDS[0] + 5]),
        "attention_mask": torch.tensor(
            [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
        ),
    }
    with torch.no_grad():
        expected = model(**kwargs)
    cycles = []
    for fidelity in (Fidelity.FABRIC, Fidelity.MODEL):
        wafer = session(fidelity, rectangle=(2, 2))
        with torch.no_grad(), intercept_calls(wafer):
            found = model(**kwargs)
        assert not wafer.ledger.fallbacks
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
        (record,) = wafer.ledger.programs
        assert (record.calls, record.launches, record.samples) == (1, 3, 18)
        assert record.parameters_resent == 2
        cycles.append(record.activity.cycles)
    assert abs(cycles[0] - cycles[1]) < 0.05 * cycles[0]


@pytest.mark.slow
def test_batches_of_any_size_share_a_program():
    model, wafer = build("vit"), session()
    for size in (1, 3, 2):
        pixels = torch.randn(size, 3, 24, 24)
        with torch.no_grad():
            expected = model(pixel_values=pixels)
            with intercept_calls(wafer):
                found = model(pixel_values=pixels)
        torch.testing.assert_close(
            found.pooler_output, expected.pooler_output, rtol=1e-4, atol=1e-4
        )
    assert not wafer.ledger.fallbacks
    (record,) = wafer.ledger.programs
    assert (record.calls, record.launches) == (3, 6)


@pytest.mark.parametrize("name", ["Bart", "T5"])
@pytest.mark.slow
def test_an_encoder_with_a_decoder_on_the_fabric(name):
    model = build_pair(name)
    kwargs = {
        "input_ids": IDS,
        "decoder_input_ids": IDS[:, :4] + 1,
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0]]),
        "use_cache": False,
    }
    with torch.no_grad():
        expected = model(**kwargs)
    cycles = []
    for fidelity in (Fidelity.FABRIC, Fidelity.MODEL):
        wafer = session(fidelity, rectangle=(2, 2))
        with torch.no_grad(), intercept_calls(wafer):
            found = model(**kwargs)
        assert not wafer.ledger.fallbacks
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
        cycles.append(wafer.ledger.programs[0].activity.cycles)
    assert abs(cycles[0] - cycles[1]) < 0.05 * cycles[0]


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.alternate
def test_prompt_and_tokens_are_reported_apart_with_all_parts_of_a_layer(family):
    model, wafer = build(family), session()
    with intercept_calls(wafer):
        model.generate(IDS, **GREEDY)
    (program,) = build_report(wafer.ledger).programs
    prefill, decode = program.phases
    assert (prefill.phase, prefill.rows, prefill.calls) == ("prefill", 6, 1)
    assert (decode.phase, decode.rows, decode.calls) == ("decode", 3, 3)
    assert prefill.cycles_per_row < decode.cycles_per_row
    assert decode.rows_per_second == pytest.approx(1 / decode.seconds_per_row)
    parts = {part.part for part in decode.parts}
    assert parts == {"embedding", "attention", "MLP", "norms", "head", None}
    cache = program.cache
    heads = getattr(model.config, "num_key_value_heads", model.config.num_attention_heads)
    head_dim = getattr(model.config, "head_dim", None)
    head_dim = head_dim or model.config.hidden_size // model.config.num_attention_heads
    layers = model.config.num_hidden_layers
    assert cache.bytes_per_token == layers * 2 * heads * head_dim * 4
    assert cache.bytes_per_token <= cache.bytes_per_token_per_pe * program.num_pes
    assert cache.longest_context > cache.context == 32


def test_what_the_host_does_first_is_in_the_report():
    wafer = session()
    with intercept_calls(wafer), torch.no_grad():
        build("vit")(**arguments("vit", 0))
    (program,) = build_report(wafer.ledger).programs
    cutting, adding = program.on_host
    assert cutting.startswith("cutting")
    assert cutting.endswith("into patches")
    assert adding == "adding 1 row of zeros"
    (batch,) = program.phases
    assert {part.part for part in batch.parts} == {
        "embedding", "attention", "MLP", "norms", "head", None,
    }  # fmt: skip


def test_a_token_costs_its_id_and_its_logits_in_traffic():
    model, wafer = build("llama"), session()
    with intercept_calls(wafer), torch.no_grad():
        output = model(IDS, use_cache=True, logits_to_keep=1)
        record = wafer.ledger.programs[0]
        bytes_in, bytes_out = record.figures.bytes_in, record.figures.bytes_out
        cache = output[1]
        model(IDS[:, :1], use_cache=True, logits_to_keep=1, **{_cache_name(output): cache})
    assert record.figures.bytes_in - bytes_in == 16 * 4  # the rows of a launch
    assert record.figures.bytes_out - bytes_out == 61 * 4


@pytest.mark.slow
def test_tokens_differ_first_where_the_host_has_a_tie():
    """In f16 the wafer cannot tell two tokens apart that f32 separates by a hair, and takes one."""
    model = build("llama")
    options = {**GREEDY, "output_logits": True, "return_dict_in_generate": True}
    plain = model.generate(IDS, **options)
    token = int(plain.sequences[0, -2])
    rival = model.config.vocab_size - 1
    assert token < rival, "the first of equals wins"
    with torch.no_grad():
        sign = 1 if plain.logits[-2][0, token] > 0 else -1
        model.lm_head.weight[rival] = model.lm_head.weight[token] * (1 + sign * 3e-6)
    expected = model.generate(IDS, **options)
    wafer = session(Fidelity.FABRIC, rectangle=(2, 2), dtype=DataType.F16)
    with intercept_calls(wafer):
        found = model.generate(IDS, **GREEDY)
    assert not wafer.ledger.fallbacks
    (first, *_) = (found != expected.sequences)[0].nonzero().flatten().tolist()
    assert (int(expected.sequences[0, first]), int(found[0, first])) == (rival, token)
    logits = expected.logits[first - IDS.shape[1]][0]
    best, second, third = logits.topk(3).values
    assert 0 < best - second < 1e-5 * best.abs() < 1e-2 * (second - third)


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
@pytest.mark.alternate
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


@pytest.mark.slow
def test_all_paddings_share_a_program_and_calls_without_padding_another():
    model, kwargs, wafer = build("bert"), arguments("bert", 5), session()
    for mask in ([[1, 1, 1, 1, 0]], [[1, 1, 1, 1, 1]], [[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]):
        with torch.no_grad():
            expected = model(**kwargs, attention_mask=torch.tensor(mask))
            with intercept_calls(wafer):
                found = model(**kwargs, attention_mask=torch.tensor(mask))
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
    assert not wafer.ledger.fallbacks
    assert [record.calls for record in wafer.ledger.programs] == [2, 2]


def test_context_shrinks_until_keys_and_values_fit():
    sizes = {"num_hidden_layers": 1, "max_position_embeddings": 1024}
    model, wafer = build("llama", **sizes), session(rectangle=(2, 2))
    with intercept_calls(wafer):
        model.generate(IDS, **GREEDY)
    (record,) = wafer.ledger.programs
    context = record.program.context
    assert 16 <= context < 1024
    assert record.reason == f"a language model with a context of {context} tokens"
    with intercept_calls(wafer), torch.no_grad():
        model.generate(IDS.repeat(1, context), max_new_tokens=1, do_sample=False)
    (reason,) = {str(why) for name, why in wafer.ledger.fallbacks if name == "LlamaForCausalLM"}
    assert f"{6 * context} tokens are more than the {context} of its context" in reason
    assert "for a context of 1,024 positions" in reason
    assert "use a rectangle of at least" in reason


def test_context_and_rows_of_a_launch_are_options():
    model, wafer = build("llama"), session(context=16, rows_per_launch=4)
    with intercept_calls(wafer):
        model.generate(IDS, **GREEDY)
    (record,) = wafer.ledger.programs
    assert (record.program.context, record.program.sequence_rows) == (16, 4)
    assert record.launches == 2 + 3  # the prompt has 6 tokens


@pytest.mark.slow
def test_language_model_that_does_not_fit_runs_on_the_host():
    model, wafer = build("llama"), session(rectangle=(1, 1))
    expected = model.generate(IDS, **GREEDY)
    with intercept_calls(wafer):
        assert torch.equal(model.generate(IDS, **GREEDY), expected)
    reasons = [why.reason for name, why in wafer.ledger.fallbacks if name == "LlamaForCausalLM"]
    assert "use a rectangle of" in reasons[0]
