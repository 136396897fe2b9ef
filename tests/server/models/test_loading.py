import json
import subprocess
import sys

import pytest

from onewafer.errors import ConfigurationError
from onewafer.server.models import find_source, load_model, load_text, load_words
from onewafer.terminal import ProgressBar
from tests.server.small_models import save, skip_without_smollm2, small_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(small_llama(), tmp_path_factory.mktemp("models") / "small")


def load(folder):
    return load_model(str(folder), bar=ProgressBar())


def test_a_folder_becomes_a_model_with_its_words(folder):
    loaded = load(folder)

    assert loaded.text.id == "small"
    assert loaded.text.context_length == 512
    assert loaded.text.end_ids == {257}
    assert loaded.text.vocabulary_size == 258
    assert "im_start" in loaded.text.chat_template
    assert not loaded.module.training
    assert not any(weight.requires_grad for weight in loaded.module.parameters())


def test_the_fingerprint_is_that_of_the_files(folder, tmp_path):
    other = save(small_llama(hidden_size=32, intermediate_size=32), tmp_path / "small")

    assert load(folder).text.fingerprint == load(folder).text.fingerprint
    assert load(folder).text.fingerprint != load(other).text.fingerprint


def test_ends_of_the_generation_configuration_count(tmp_path):
    folder = save(small_llama(), tmp_path)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [3, 257]}))

    assert load_text(find_source(str(folder)), bar=ProgressBar()).end_ids == {3, 257}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", '{"model_type": "nothing"}'),
        ("config.json", '{"model_type": "llama", "hidden_size": "many"}'),
        ("tokenizer.json", "{}"),
        ("model.safetensors", "\x10\0\0\0\0\0\0\0{"),
    ],
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path, file, content):
    folder = save(small_llama(), tmp_path / "damaged")
    (folder / file).write_text(content)

    with pytest.raises(ConfigurationError, match="damaged") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_tokenizer_says_what_to_do(tmp_path):
    folder = save(small_llama(), tmp_path / "small")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ConfigurationError, match=r"has no tokenizer\.json.*save_pretrained"):
        load(folder)


def test_names_of_the_catalogue_get_words_that_say_whose_they_are(monkeypatch):
    monkeypatch.setattr("onewafer.server.models.sources.SMOLLM2_PACKAGE", "not-there")
    words = load_words("llama-3.1-70b", bar=ProgressBar())

    assert words.id == "llama-3.1-70b"
    assert words.tokenizer_name == "one token a byte, as a stand-in"
    assert words.context_length == 131072
    assert len(words.tokenizer.encode("Grüße")) == 7


def test_a_model_without_text_is_refused():
    with pytest.raises(ConfigurationError, match="writes no text"):
        load_words("resnet-50", bar=ProgressBar())


class Steps(ProgressBar):
    """Keeps what a bar is told."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def show(self, done, total):
        self.steps.append((done, total))


@pytest.mark.slow
def test_smollm2_is_loaded_from_its_package(capfd):
    skip_without_smollm2()
    bar = Steps()
    loaded = load_model("smollm2", bar=bar)

    assert bar.steps[-1] == (272, 272)
    assert capfd.readouterr().err == ""

    assert loaded.text.context_length == 8192
    assert loaded.text.end_ids == {2}
    assert str(loaded.module.dtype) == "torch.float32"


def test_words_alone_need_neither_models_nor_what_captures_them():
    code = (
        "import sys, onewafer.server.assembly, onewafer.server.models.stand_ins; "
        "print({'transformers.modeling_utils', 'onewafer.pytorch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "set()"
