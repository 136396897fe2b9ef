"""Captured models are kept: read as they were, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError, GraphError
from onewafer.graph import Graph, fold
from onewafer.perf import Model, keep_model, kept_model
from onewafer.perf.model_files import model_from_json, model_to_json
from tests.graph.strategies import graphs, sequences


def model_of(graph, **fields):
    fields = {"name": "llama-3.1-8b", "title": "Llama 3.1 8B"} | fields
    return Model(segments=fold(graph, constants=[t.name for t in graph.parameters[:1]]), **fields)


EMPTY = Graph("empty", (), (), (), ())
NAMES = st.text(max_size=5)
MODELS = st.builds(
    model_of,
    graphs() | sequences(),
    name=NAMES,
    title=NAMES,
    max_context=st.none() | st.integers(1, 9),
    source=NAMES,
    notes=st.lists(NAMES, max_size=2).map(tuple),
    fixed_tokens=st.none() | st.integers(1, 9),
)


@given(MODELS)
def test_round_trip(model):
    assert model_from_json(model_to_json(model)) == model


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"segments": []}', '{"segments": 1}'])
def test_text_that_is_no_model_is_refused(text):
    with pytest.raises(GraphError, match="not a captured model"):
        model_from_json(text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("folder")
@given(graph=graphs())
def test_what_was_kept_is_found(graph):
    model = model_of(graph)
    keep_model(model)

    assert kept_model("llama-3.1-8b") == model


@pytest.mark.usefixtures("folder")
def test_nothing_is_found_before():
    assert kept_model("llama-3.1-8b") is None
    with pytest.raises(ConfigurationError, match="no model 'llama-9'"):
        kept_model("llama-9")


@given(position=st.integers(0, 1 << 12), graph=graphs())
def test_a_damaged_file_counts_as_none(position, graph, folder):
    keep_model(model_of(graph))
    (path,) = folder.glob("models/*.json")
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1

    path.write_bytes(content)

    assert kept_model("llama-3.1-8b") is None


@pytest.mark.usefixtures("folder")
def test_a_file_of_another_version_counts_as_none(monkeypatch):
    keep_model(model_of(EMPTY))
    monkeypatch.setattr("onewafer.__version__", "0.0.0")

    assert kept_model("llama-3.1-8b") is None


def test_a_folder_that_cannot_be_written_is_not_missed(folder):
    (folder / "models").write_text("in the way")

    keep_model(model_of(EMPTY))

    assert kept_model("llama-3.1-8b") is None


@pytest.mark.usefixtures("folder")
def test_a_kept_model_is_read_without_torch():
    keep_model(model_of(EMPTY))
    code = (
        "import sys; from onewafer.perf import kept_model;"
        "assert kept_model('llama-3.1-8b'); assert 'torch' not in sys.modules;"
        "assert 'onewafer.perf.gpu.training' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
