"""Unmodified `generate` and loops with a cache: tokens of the host, launches counted.

The program is the host evaluator of the graph; one on a wafer has the same face.
"""

from __future__ import annotations

import copy
import inspect
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import DynamicCache, LlamaForCausalLM, StaticCache
from transformers.cache_utils import DynamicLayer

from onewafer.errors import UnsupportedOperationError
from onewafer.execution import Fidelity, Launched, Phase, WaferOptions
from onewafer.execution.activity import Activity
from onewafer.execution.launch_times import Origin
from onewafer.execution.resident_program import ResidentTensors
from onewafer.graph import Evaluator, with_rows
from onewafer.pytorch.causal_calls import is_language_model, read_request
from onewafer.pytorch.generation import Generation
from onewafer.pytorch.language_model import capture_causal
from onewafer.pytorch.wafer_cache import WaferLayer
from tests.pytorch.lowering.models import DECODERS, arguments, build


class HostProgram:
    """The face of a program on a wafer over the host evaluator."""

    def __init__(self, graph, context, sequences):
        self.graph = graph
        mesh = SimpleNamespace(
            graph=graph, context=context, sequences=sequences, check=lambda _: None
        )
        self.record = SimpleNamespace(program=mesh)
        self.tensors, self.parameters = ResidentTensors(), {}
        self.evaluator = None
        self.launches, self.calls, self.on_host, self.again = [], [], [], 0

    def keep(self, tensors):
        written = self.tensors.changed(tensors, {})
        self.tensors.note(written, {})
        if written:
            self.parameters |= {name: array.copy() for name, array in written.items()}
            self.evaluator = Evaluator(self.graph, self.parameters)
        return frozenset(written)

    def launch(self, inputs, launch, *, host):
        assert host is None
        for tensor in self.graph.inputs:
            assert inputs[tensor.name].shape == tensor.shape
            assert inputs[tensor.name].dtype == np.int32
        slots = [(slot.position, slot.rows) for slot in launch.slots]
        self.launches.append(slots[0] if len(slots) == 1 else slots)
        outputs = self.evaluator.run_slots(inputs, launch.slots)
        return Launched(launch, outputs, Activity(), Origin.CLOSED_FORM)

    def alone(self):
        return nullcontext()

    def note_on_host(self, what):
        self.on_host.append(what)

    def count_call(self, phase, _, *, rows, flop, again=0):
        self.calls.append((phase, rows, flop))
        self.again += again


class Wafer:
    """Sends the outermost calls of one model to a `Generation`, as a session does."""

    def __init__(self, model, **options):
        self.model = model
        self.programs = []
        self.reasons = []
        self._depth = 0
        options = {"fidelity": Fidelity.MODEL, "context": 32, "rows_per_launch": 4} | options
        self._generation = Generation(
            self._build, self._no_interception, self._leave, WaferOptions(**options)
        )

    @property
    def launches(self):
        return [launch for program in self.programs for launch in program.launches]

    def _leave(self, _module, error, _flop):
        raise error

    def _build(self, module, graph, context, sequences):
        assert module is self.model
        self.programs.append(HostProgram(graph, context, sequences))
        return self.programs[-1]

    @contextmanager
    def _no_interception(self):
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    @contextmanager
    def intercept(self):
        original = torch.nn.Module.__call__

        def call(module, *args, **kwargs):
            if self._depth or not is_language_model(module, args, kwargs):
                return original(module, *args, **kwargs)
            try:
                return self._generation.call(module, args, kwargs)
            except UnsupportedOperationError as error:
                self.reasons.append(str(error))
            with self._no_interception():
                return original(module, *args, **kwargs)

        torch.nn.Module.__call__ = call
        try:
            with torch.no_grad():
                yield
        finally:
            torch.nn.Module.__call__ = original


CACHE = (
    "cache"
    if "cache" in inspect.signature(LlamaForCausalLM.forward).parameters
    else "past_key_values"
)


def cache_of(output):
    """Return the cache of a module's result, under the name that transformers gives it."""
    return getattr(output, CACHE)


IDS = torch.tensor([[5, 17, 3, 42, 8, 29]])


def generate(model, ids=IDS, **options):
    return model.generate(ids, **({"max_new_tokens": 5, "do_sample": False} | options))


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.alternate
def test_greedy_tokens_are_those_of_the_host(family):
    model = build(family)
    expected = generate(model)
    wafer = Wafer(model)
    with wafer.intercept():
        assert torch.equal(generate(model), expected)
    assert not wafer.reasons
    assert wafer.launches == [(0, 4), (4, 2), (6, 1), (7, 1), (8, 1), (9, 1)]
    (program,) = wafer.programs
    assert program.graph.operations[-1].result.shape == (1, 61)


def test_sampled_tokens_are_those_of_the_host():
    model = build("llama")
    options = {"do_sample": True, "top_k": 7, "temperature": 0.9, "attention_mask": IDS * 0 + 1}
    torch.manual_seed(1)
    expected = generate(model, **options)
    wafer = Wafer(model)
    with wafer.intercept():
        torch.manual_seed(1)
        assert torch.equal(generate(model, **options), expected)
    assert not wafer.reasons


def test_loop_of_a_script_with_its_own_cache():
    model = build("qwen2")
    wafer = Wafer(model)
    with wafer.intercept():
        first = model(IDS, use_cache=True)
        assert first.logits.shape == (1, 6, 61)
        cache = cache_of(first)
        assert isinstance(cache, DynamicCache)
        assert cache.get_seq_length() == 6
        second = model(torch.tensor([[1, 2]]), **{CACHE: cache}, return_dict=False)
        assert second[1] is cache
        assert cache.get_seq_length() == 8
    with torch.no_grad():
        whole = model(torch.cat([IDS, torch.tensor([[1, 2]])], 1)).logits
    torch.testing.assert_close(first.logits, whole[:, :6], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(second[0], whole[:, 6:], rtol=2e-5, atol=2e-5)
    assert not wafer.reasons
    assert wafer.launches == [(0, 4), (4, 2), (6, 2)]
    (program,) = wafer.programs
    assert program.calls == [
        (Phase.PREFILL, 6, flop_of(program.graph, 6, before=0)),
        (Phase.PREFILL, 2, flop_of(program.graph, 2, before=6)),
    ]


def flop_of(graph, rows, *, before):
    graph = with_rows(graph, rows)
    counts = (op.count_product_flop(graph.by_name, cached_tokens=before) for op in graph.operations)
    return sum(counts)


def test_two_sequences_go_on_from_what_they_share():
    model = build("llama")
    wafer = Wafer(model)
    one, other = torch.cat([IDS, IDS], 1), torch.cat([IDS, IDS.flip(1)], 1)
    with wafer.intercept():
        a = model(one, use_cache=True, logits_to_keep=1)
        b = model(other, use_cache=True, logits_to_keep=1)
        next_a = model(IDS[:, :1], **{CACHE: cache_of(a)}, logits_to_keep=1)
    assert wafer.launches[3:] == [(6, 4), (10, 2), (6, 4), (10, 3)]
    with torch.no_grad():
        for found, ids in ((a, one), (b, other), (next_a, torch.cat([one, IDS[:, :1]], 1))):
            expected = model(ids).logits[:, -1:]
            torch.testing.assert_close(found.logits, expected, rtol=2e-5, atol=2e-5)


def test_keys_and_values_come_from_the_host_when_somebody_asks_for_them():
    model = build("qwen3")
    wafer = Wafer(model)
    with wafer.intercept():
        cache = cache_of(model(IDS, use_cache=True))
        assert all(isinstance(layer, WaferLayer) for layer in cache.layers)
        copied = copy.deepcopy(cache)
        keys = cache.layers[1].keys
        following = model(IDS[:, :2], **{CACHE: cache})
        assert copied.get_seq_length() == 6
        again = model(IDS[:, :2], **{CACHE: copied})
    assert len(wafer.reasons) == 1
    assert "keys and values that the host computed" in wafer.reasons[0]
    with torch.no_grad():
        expected = cache_of(model(IDS, use_cache=True))
        torch.testing.assert_close(keys, expected.layers[1].keys)
        logits = model(IDS[:, :2], **{CACHE: expected}).logits
    for found in (following, again):
        torch.testing.assert_close(found.logits, logits, rtol=2e-5, atol=2e-5)
    assert cache.get_seq_length() == 8


def test_cropped_cache_goes_on_from_its_new_end():
    model = build("llama")
    wafer = Wafer(model)
    with wafer.intercept():
        cache = cache_of(model(IDS, use_cache=True))
        cache.crop(-3)
        found = model(IDS[:, :1], **{CACHE: cache}).logits
    assert wafer.launches[2:] == [(3, 1)]
    with torch.no_grad():
        expected = model(torch.cat([IDS[:, :3], IDS[:, :1]], 1)).logits[:, -1:]
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


def test_longer_than_the_context_goes_on_on_the_host():
    model = build("llama", max_position_embeddings=8)
    expected = generate(model)
    wafer = Wafer(model)
    with wafer.intercept():
        assert torch.equal(generate(model), expected)
    assert wafer.reasons[0] == "9 tokens are more than the 8 of its context"
    assert wafer.launches == [(0, 4), (4, 2), (6, 1), (7, 1)]


def test_changed_parameters_are_sent_and_the_sequence_begins_anew():
    model = build("llama")
    wafer = Wafer(model)
    with wafer.intercept():
        model(IDS, logits_to_keep=1)
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
        found = model(IDS, logits_to_keep=1).logits
    assert wafer.launches == [(0, 4), (4, 2)] * 2
    with torch.no_grad():
        expected = model(IDS, logits_to_keep=1).logits
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_replaced_parameter_makes_a_new_program():
    model = build("llama")
    wafer = Wafer(model)
    with wafer.intercept():
        model(IDS, logits_to_keep=1)
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)
        found = model(IDS, logits_to_keep=1).logits
    assert len(wafer.programs) == 2
    with torch.no_grad():
        expected = model(IDS, logits_to_keep=1).logits
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"output_attentions": True}, "output_attentions is not supported: they stay on the wafer"),
        ({"labels": IDS}, "its argument 'labels' is not supported"),
        ({"logits_to_keep": torch.tensor([1, 2])}, "not a number of rows"),
        ({"inputs_embeds": torch.zeros(1, 6, 24)}, "its argument 'inputs_embeds'"),
    ],
)
def test_uncommon_calls_are_refused(kwargs, reason):
    with pytest.raises(UnsupportedOperationError, match=reason):
        read_request(build("llama"), (IDS,), kwargs)


def test_other_caches_are_refused():
    model = build("llama")
    static = StaticCache(config=model.config, max_cache_len=16)
    with pytest.raises(UnsupportedOperationError, match="its cache is a StaticCache"):
        read_request(model, (IDS,), {CACHE: static})
    with torch.no_grad():
        filled = cache_of(model(IDS, use_cache=True))
    with pytest.raises(UnsupportedOperationError, match="that the host computed"):
        read_request(model, (IDS,), {CACHE: filled})


class WithoutLength:
    """A layer of a cache that does not say how many tokens it has, as those of Mamba do not."""


def test_caches_with_layers_of_other_classes_are_refused():
    cache = DynamicCache()
    cache.layers = [DynamicLayer(), WithoutLength()]
    with pytest.raises(UnsupportedOperationError, match="its cache has a WithoutLength; only keys"):
        read_request(build("llama"), (IDS,), {CACHE: cache})


def test_what_depends_on_the_number_of_tokens_is_refused():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build("llama")

        def forward(self, input_ids, **_):
            logits = self.inner(input_ids, use_cache=False).logits
            return logits / input_ids.shape[1]

    with pytest.raises(UnsupportedOperationError, match="depend on the number of tokens"):
        capture_causal(Scaled(), 16, gives_all_rows=True)


def test_table_that_depends_on_the_context_is_refused():
    class Stretched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build("llama")
            self.positions = torch.nn.Linear(1, 24, bias=False)

        def forward(self, input_ids, **_):
            count = input_ids.shape[1]
            positions = torch.arange(count)[:, None] / count
            hidden = self.inner.model.embed_tokens(input_ids)
            return self.inner.lm_head(hidden + self.positions(positions))

    with pytest.raises(UnsupportedOperationError, match="depends on more than the position"):
        capture_causal(Stretched(), 16, gives_all_rows=True)


def test_encoder_is_no_language_model():
    model = build("bert")
    assert not is_language_model(model, (), arguments("bert", 3))
    assert is_language_model(build("gpt2"), (IDS,), {})
