"""Unmodified `generate` with several sequences: padded prompts, beams, samples of one prompt."""

from __future__ import annotations

import pytest
import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.execution import launch_files
from onewafer.pytorch import Fidelity, Session, WaferOptions, build_report, intercept_calls
from onewafer.pytorch.causal_calls import read_request
from tests.pytorch.lowering.models import build
from tests.pytorch.test_generation import CACHE, Wafer, cache_of

TOKENS = torch.tensor([[5, 17, 3, 42, 8, 29], [9, 1, 33, 20, 6, 50], [7, 7, 12, 2, 60, 31]])


def padded(*lengths, side="left"):
    """Return arguments of prompts of some lengths."""
    longest = max(lengths)
    mask = torch.tensor([[0] * (longest - length) + [1] * length for length in lengths])
    ids = TOKENS[: len(lengths), :longest] * mask
    if side == "right":
        ids, mask = ids.flip(1), mask.flip(1)
    return {"input_ids": ids, "attention_mask": mask}


def generate(model, arguments, **options):
    torch.manual_seed(3)
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0} | options
    return model.generate(**arguments, **options)


ONE_PROMPT = {"input_ids": TOKENS[:1]}
CASES = {
    "equal lengths": (padded(6, 6, 6), {}),
    "padding on the left": (padded(6, 2, 4), {}),
    "padding on the right": (padded(6, 2, 4, side="right"), {}),
    "equal prompts": ({"input_ids": TOKENS[:1].repeat(2, 1)}, {}),
    "samples of a prompt": (ONE_PROMPT, {"num_return_sequences": 3, "do_sample": True, "top_k": 9}),
    "beams": (padded(4, 6), {"num_beams": 3}),
    "beams in groups": (ONE_PROMPT, {"num_beams": 4, "num_return_sequences": 2}),
}


@pytest.mark.parametrize(
    ("family", "case"),
    [*(("llama", case) for case in CASES), ("gpt2", "padding on the right"), ("gpt2", "beams")],
)
@pytest.mark.alternate(7)
def test_tokens_are_those_of_the_host(family, case):
    (arguments, options), model = CASES[case], build(family)
    expected = generate(model, arguments, **options)
    wafer = Wafer(model)
    with wafer.intercept():
        assert torch.equal(generate(model, arguments, **options), expected)
    assert not wafer.reasons
    (program,) = wafer.programs
    assert program.record.program.sequences == {"equal prompts": 2, "beams": 6}.get(
        case, 4 if case == "beams in groups" else 3
    )
    assert (program.again > 0) == ("beams" in case)


def test_a_sequence_may_end_before_the_others():
    model, arguments = build("llama"), padded(3, 3, 3)
    free = generate(model, arguments)
    end = next(t for t in free[0, 3:-1].tolist() if not (free[1:, 3:] == t).any())
    expected = generate(model, arguments, eos_token_id=end)
    wafer = Wafer(model)
    with wafer.intercept():
        assert torch.equal(generate(model, arguments, eos_token_id=end), expected)
    assert not wafer.reasons
    assert wafer.launches[-1] == [(6, 1)] * 3  # transformers goes on with padding behind the end


def test_launches_have_rows_of_all_sequences():
    model = build("llama")
    wafer = Wafer(model, rows_per_launch=8)
    with wafer.intercept():
        generate(model, padded(6, 2, 4), max_new_tokens=3)
    assert wafer.launches == [
        [(0, 6), (0, 2)],
        (0, 4),
        [(6, 1), (2, 1), (4, 1)],
        [(7, 1), (3, 1), (5, 1)],
    ]


@pytest.mark.slow
def test_fewer_sequences_have_room_in_a_program_for_more():
    model = build("llama")
    expected = generate(model, padded(4, 3))
    wafer = Wafer(model)
    with wafer.intercept():
        generate(model, padded(6, 2, 4))
        assert torch.equal(generate(model, padded(4, 3)), expected)
        generate(model, ONE_PROMPT)
    assert [program.record.program.sequences for program in wafer.programs] == [3, 1]


def positions_of(mask):
    return (mask.cumsum(-1) - 1).clamp(min=0)


def test_positions_may_be_any():
    """One sequence with positions of its own has a program for two."""
    model = build("gpt2")
    positions = torch.tensor([[3, 4, 5, 9, 10, 2]])
    wafer, found = Wafer(model, context=16), []
    for context in (torch.no_grad(), wafer.intercept()):
        with context:
            first = model(TOKENS[:1], position_ids=positions, use_cache=True)
            logits = first.logits
            more = {"position_ids": positions[:, :2], CACHE: cache_of(first)}
            found.append((logits, model(TOKENS[:1, :2], **more).logits))
    for expected, of_wafer in zip(*found, strict=True):
        torch.testing.assert_close(of_wafer, expected, rtol=2e-5, atol=2e-5)
    assert wafer.launches == [(0, 3), (3, 2), (5, 1), (6, 2)]
    with wafer.intercept():
        model(TOKENS[:1], position_ids=positions + 9)
    assert wafer.reasons == ["position 19 is beyond the 16 of its context"]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.alternate
def test_calls_of_a_script_with_prompts_of_different_length(family, side):
    """All logits are those of the host, those behind padding too, which it computes."""
    model, arguments = build(family), padded(6, 2, 4, side=side)
    mask = arguments["attention_mask"]
    arguments["position_ids"] = positions_of(mask)
    token, longer = TOKENS[:, :1], torch.nn.functional.pad(mask, (0, 1), value=1)
    more = {"attention_mask": longer, "position_ids": positions_of(longer)[:, -1:]}
    wafer = Wafer(model)
    found = []
    for context in (torch.no_grad(), wafer.intercept()):
        with context:
            first = model(**arguments, use_cache=True)
            logits = first.logits
            found.append((logits, model(token, **{CACHE: cache_of(first)}, **more).logits))
    for expected, of_wafer in zip(*found, strict=True):
        torch.testing.assert_close(of_wafer, expected, rtol=2e-5, atol=2e-5)
    assert not wafer.reasons
    (program,) = wafer.programs
    assert program.on_host == ["computing the logits behind padding"]
    assert [call[1] for call in program.calls] == [12, 3]


def test_keys_and_values_of_several_sequences_come_from_the_host_when_asked_for():
    model, arguments = build("llama"), padded(6, 2, 4)
    mask = arguments["attention_mask"]
    arguments["position_ids"] = positions_of(mask)
    with torch.no_grad():
        expected = cache_of(model(**arguments, use_cache=True))
    with Wafer(model).intercept():
        cache = cache_of(model(**arguments, use_cache=True, logits_to_keep=1))
        order = torch.tensor([2, 0])
        cache.reorder_cache(order)
        cache.batch_repeat_interleave(2)
        cache.crop(-1)
        assert cache.get_seq_length() == 5
        keys = cache.layers[1].keys
    is_shown = mask[order].repeat_interleave(2, 0)[:, :5].bool()
    wanted = expected.layers[1].keys[order].repeat_interleave(2, 0)[:, :, :5]
    torch.testing.assert_close(
        keys.mT[is_shown.nonzero()[:, 0], ..., is_shown.nonzero()[:, 1]],
        wanted.mT[is_shown.nonzero()[:, 0], ..., is_shown.nonzero()[:, 1]],
    )


MASK = padded(6, 2)["attention_mask"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"attention_mask": MASK}, "it has padding before tokens and no position_ids"),
        ({"attention_mask": MASK * 2}, "other numbers than 0 and 1"),
        ({"attention_mask": MASK[:1]}, r"not of shape \(2, 6\)"),
        ({"position_ids": torch.arange(6) - 1}, "its position_ids are negative"),
        ({"position_ids": torch.zeros(2, 5, dtype=torch.int64)}, "not one for each token"),
        ({"cache_position": torch.arange(1, 7)}, "do not count the tokens from 0"),
    ],
)
def test_masks_and_positions_that_are_refused(more, reason):
    with pytest.raises(UnsupportedOperationError, match=reason):
        read_request(build("llama"), (TOKENS[:2],), more)


def test_a_cache_is_refused_with_another_mask_or_other_sequences():
    model = build("llama")
    with Wafer(model).intercept():
        cache = cache_of(model(TOKENS, use_cache=True, logits_to_keep=1))
    mask = torch.ones(3, 7, dtype=torch.int64)
    mask[0, 2] = 0
    with pytest.raises(UnsupportedOperationError, match="shows other tokens of the cache"):
        read_request(model, (TOKENS[:, :1],), {CACHE: cache, "attention_mask": mask})
    with pytest.raises(UnsupportedOperationError, match="has 3 sequences, the call has 2"):
        read_request(model, (TOKENS[:2, :1],), {CACHE: cache})


def test_padding_that_a_window_counts_is_refused():
    model = build("mistral", sliding_window=6)
    arguments = padded(6, 2, side="right")
    with Wafer(model).intercept():
        cache = cache_of(model(**arguments, use_cache=True))
    longer = torch.nn.functional.pad(arguments["attention_mask"], (0, 1), value=1)
    more = {"attention_mask": longer, "position_ids": positions_of(longer)[:, -1:]}
    with pytest.raises(UnsupportedOperationError, match="padding between tokens, which its window"):
        read_request(model, (TOKENS[:2, :1],), {CACHE: cache, **more})


@pytest.fixture
def no_files(monkeypatch):
    """No launch is known from earlier runs, and none is kept."""
    monkeypatch.setattr(launch_files.LaunchFile, "of", lambda *_: launch_files.LaunchFile(None))


def run_beams(model, fidelity):
    """Return the report and tokens of padded prompts with beams."""
    wafer = Session(WaferOptions(fidelity=fidelity, rectangle=(2, 2)))
    with intercept_calls(wafer):
        found = generate(model, padded(2, 3), num_beams=2, max_new_tokens=4)
    assert not wafer.ledger.fallbacks
    (program,) = build_report(wafer.ledger).programs
    return program, found


@pytest.mark.usefixtures("no_files")
@pytest.mark.slow
def test_beams_of_padded_prompts_in_all_fidelities():
    model = build("llama", num_hidden_layers=1)
    expected = generate(model, padded(2, 3), num_beams=2, max_new_tokens=4)
    reports = {}
    for fidelity in Fidelity:
        reports[fidelity], found = run_beams(model, fidelity)
        assert torch.equal(found, expected)
    fabric = reports[Fidelity.FABRIC]
    prefill, decode = fabric.phases
    assert (prefill.phase, prefill.rows) == ("prefill", 10)
    assert (decode.phase, decode.rows, decode.calls) == ("decode", 12, 3)
    assert decode.again > 0
    assert fabric.cache.sequences == 4
    reason = f"4 sequences of a language model with a context of {fabric.cache.context} tokens"
    assert fabric.compiled_because == reason
    for other in (reports[Fidelity.MODEL], reports[Fidelity.AUTO]):
        assert [(p.rows, p.again, p.launches) for p in other.phases] == [
            (p.rows, p.again, p.launches) for p in fabric.phases
        ]
        assert other.cycles == pytest.approx(fabric.cycles, rel=0.02)
    simulation = reports[Fidelity.AUTO].simulation
    assert simulation.other_bits == 0
    assert simulation.distance < 1e-5


def test_sequences_that_no_call_goes_on_with_have_one_place():
    """One after the other: a batch of any size needs no more memory than one sequence."""
    model = build("llama")
    arguments = padded(6, 2, 4, side="right") | {"use_cache": False}
    with torch.no_grad():
        expected = model(**arguments).logits
    wafer = Wafer(model, rows_per_launch=8)
    with wafer.intercept():
        torch.testing.assert_close(model(**arguments).logits, expected, rtol=2e-5, atol=2e-5)
    assert wafer.launches == [(0, 6), (0, 2), (0, 4)]
    assert wafer.programs[0].record.program.sequences == 1


def test_caches_of_the_host_note_tokens_through_reordering():
    """Fidelity auto, with nothing to simulate: launches are those of the tokens that are left."""
    model, arguments = build("llama", num_hidden_layers=1), padded(6, 2, 4)
    mask = arguments["attention_mask"]
    arguments["position_ids"] = positions_of(mask)
    wafer = Session(WaferOptions(fidelity=Fidelity.AUTO, rectangle=(2, 2), simulate_budget=1))
    with torch.no_grad(), intercept_calls(wafer):
        cache = cache_of(model(**arguments, use_cache=True, logits_to_keep=1))
        cache.reorder_cache(torch.tensor([2, 0, 2]))
        cache.crop(-1)
        longer = torch.nn.functional.pad(mask[[2, 0, 2], :5], (0, 1), value=1)
        more = {"attention_mask": longer, "position_ids": positions_of(longer)[:, -1:]}
        model(TOKENS[:, :1], **{CACHE: cache}, **more)
    assert not wafer.ledger.fallbacks
    (program,) = build_report(wafer.ledger).programs
    prefill, decode = program.phases
    assert (prefill.rows, decode.rows, decode.again) == (12, 3, 3)
