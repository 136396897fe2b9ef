"""The model of a script is that of the first call of a module with matrices."""

from __future__ import annotations

import pytest

from onewafer.errors import ConfigurationError
from onewafer.graph import Linear
from onewafer.pytorch import describe_script

PERCEPTRON = """
import sys
import torch
from torch import nn

print("starting", sys.argv[1:])
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4)).to("cuda")
{more}
optimizer = torch.optim.SGD(model.parameters())
loss = nn.CrossEntropyLoss()(model(torch.rand(32, 8, device="cuda")), torch.zeros(32).long())
loss.backward()
print("never reached")
"""
GENERATION = """
import torch
import transformers

sizes = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4)
config = transformers.LlamaConfig(**sizes, vocab_size=61)
model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
model.generate(torch.ones(2, 3, dtype=torch.int64), max_new_tokens=4, do_sample=False)
"""


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "script.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("more", ["", "model = torch.compile(model)"])
def test_a_training_script_is_stopped_at_its_model(script, capsys, more):
    model = describe_script(script(PERCEPTRON.format(more=more)), ["--fast"])

    assert (model.title, model.num_weights, model.fixed_tokens) == ("Sequential", 212, 1)
    assert model.samples == 32
    shapes = [o.result.shape for o in model.segments[0].graph.operations if isinstance(o, Linear)]
    assert shapes == [(1, 16), (1, 4)]
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "starting ['--fast']\n"


def test_generation_is_a_model_of_any_length(script):
    model = describe_script(script(GENERATION))

    assert model.title == "LlamaForCausalLM"
    assert [segment.repeats for segment in model.segments] == [1, 2, 1]
    assert (model.fixed_tokens, model.cached_features) == (None, 2 * 2 * 24)
    assert model.samples == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print(1)", "ended without a call of a module"),
        ("import torch; torch.nn.ReLU()(torch.ones(2))", "ended without a call of a module"),
        ("raise SystemExit(3)", r"ended by sys.exit\(3\) without a call of a module"),
        ("import sys; sys.exit('usage: N')", "ended by sys.exit\\('usage: N'\\) without"),
        ("1 / 0", "raised ZeroDivisionError before it called a module"),
    ],
)
def test_a_script_without_a_model_is_refused(script, capsys, text, message):
    with pytest.raises(ConfigurationError, match=message):
        describe_script(script(text))
    output = capsys.readouterr()
    assert output.out == ""
    assert "describe_script" not in output.err, "tracebacks have no frames of ours"


def test_no_script_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no script"):
        describe_script(tmp_path / "none.py")
