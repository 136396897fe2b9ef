# pyright: basic
# The type hints of transformers are partial; this file is the only one here that touches it.
"""Loading of a model by transformers: the tokenizer, then the weights.

An error of transformers becomes one sentence. Nothing is downloaded, no code of a model's folder
runs, and no pickle is read.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from transformers import (
    AutoConfig,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging

from onewafer.errors import ConfigurationError
from onewafer.server.models.fingerprints import fingerprint_of_files
from onewafer.server.models.gguf_reading import reading_once
from onewafer.server.models.sources import find_source, no_tokenizer, refuse_without_memory
from onewafer.server.models.text_model import TextModel
from onewafer.terminal import cut_words, quoted
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

    from onewafer.server.models.sources import ModelSource
    from onewafer.server.models.text_model import Tokenizer
    from onewafer.terminal import ProgressBar

_CONTEXT_FIELDS: Final = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
_USUAL_CONTEXT: Final = 8192
_MOST_CONTEXT: Final = 1 << 24
"""Larger values mean no limit: tokenizers without one have 10³⁰."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with its weights."""

    text: TextModel
    module: PreTrainedModel
    """The module in evaluation mode, in the dtype that transformers chooses for its files."""


def load_model(
    name: str, *, bar: ProgressBar, max_memory: int | None = None, dtype: torch.dtype | None = None
) -> LoadedModel:
    """Load a model by name or path; `dtype` None: that of its files.

    Raises:
        ConfigurationError: it is unknown, cannot be read, or does not fit into `max_memory` bytes
            (None: what is free).
    """
    source = find_source(name)
    refuse_without_memory(source, limit=max_memory)
    with reading_once():
        return _load(source, bar, dtype)


def _load(source: ModelSource, bar: ProgressBar, dtype: torch.dtype | None) -> LoadedModel:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  # words alone need no models

    text = _load_text(source, bar)
    bar.say(f"{quoted(source.id)}: reading the weights ({format_size(_file_bytes(source))})")
    options: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    with _one_sentence(source), _unpacking_on(bar):
        module: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            source.folder,
            gguf_file=source.gguf_file,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
        module.requires_grad_(requires_grad=False)
    return LoadedModel(text=text, module=module.eval())


def build_without_weights(source: ModelSource) -> torch.nn.Module:
    """Build the module of a configuration, with weights that take no memory.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  # words alone need no models

    from onewafer.pytorch import build_weightless  # noqa: PLC0415  # likewise

    with _one_sentence(source):
        config = AutoConfig.from_pretrained(
            source.folder,
            gguf_file=source.gguf_file,
            local_files_only=True,
            trust_remote_code=False,
        )
        return build_weightless(lambda: AutoModelForCausalLM.from_config(config))


def load_text(source: ModelSource, *, bar: ProgressBar) -> TextModel:
    """Load the tokenizer, the chat template and the limits of a model.

    Raises:
        ConfigurationError: it cannot be read.
    """
    with reading_once():
        return _load_text(source, bar)


def _load_text(source: ModelSource, bar: ProgressBar) -> TextModel:
    bar.say(f"{quoted(source.id)}: reading the words")
    with _one_sentence(source):
        place: dict[str, Any] = {
            "gguf_file": source.gguf_file,
            "local_files_only": True,
            "trust_remote_code": False,
        }
        config = AutoConfig.from_pretrained(source.folder, **place)
        tokenizer = _read_tokenizer(source, place)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigurationError(no_tokenizer(source))
    words = config.get_text_config()
    return TextModel(
        id=source.id,
        tokenizer=cast("Tokenizer", tokenizer),
        tokenizer_name=f"{source.id}'s",
        chat_template=_chat_template(tokenizer),
        context_length=_context_length(words, tokenizer),
        vocabulary_size=max(int(words.vocab_size), len(tokenizer)),
        end_ids=frozenset(_end_ids(source, words, tokenizer)),
        fingerprint=fingerprint_of_files(source),
    )


def _chat_template(tokenizer: PreTrainedTokenizerFast) -> str | None:
    try:
        return tokenizer.get_chat_template()
    except ValueError:  # there is none, or there are several without a default
        return None


def _context_length(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> int:
    known = [getattr(config, name, None) for name in _CONTEXT_FIELDS]
    lengths = [length for length in known if isinstance(length, int) and length > 0]
    if lengths:
        return lengths[0]
    length = tokenizer.model_max_length
    return length if length < _MOST_CONTEXT else _USUAL_CONTEXT


def _end_ids(
    source: ModelSource, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast
) -> set[int]:
    """Return the end tokens named by the configuration, the tokenizer or the generation config."""
    named: list[Any] = [config.eos_token_id, tokenizer.eos_token_id]
    if (source.folder / "generation_config.json").is_file():
        with _one_sentence(source):
            named.append(GenerationConfig.from_pretrained(source.folder).eos_token_id)
    return {end for ends in named for end in _as_numbers(ends)}


def _as_numbers(ends: int | Iterable[int] | None) -> Iterable[int]:
    if ends is None:
        return ()
    return (ends,) if isinstance(ends, int) else ends


def _file_bytes(source: ModelSource) -> int:
    return sum(file.stat().st_size for file in source.weight_files)


@contextmanager
def _unpacking_on(bar: ProgressBar) -> Generator[None]:
    """Show the progress of unpacking a GGUF file on our bar instead of a bar of tqdm."""

    def shown_on_bar(tensors: Iterable[Any], **_look: object) -> Generator[Any]:
        known = list(tensors)
        for done, tensor in enumerate(known, 1):
            yield tensor
            bar.show(done, len(known))

    unpacking: Any = modeling_gguf_pytorch_utils
    usual = getattr(unpacking, "tqdm", None)
    unpacking.tqdm = shown_on_bar
    try:
        yield
    finally:
        unpacking.tqdm = usual


def _read_tokenizer(source: ModelSource, place: dict[str, Any]) -> object:
    try:
        return AutoTokenizer.from_pretrained(source.folder, **place)
    except Exception as error:
        if source.gguf_file or (source.folder / "tokenizer.json").exists():
            raise
        raise ConfigurationError(no_tokenizer(source)) from error


@contextmanager
def _one_sentence(source: ModelSource) -> Generator[None]:
    """Silence transformers in the block, and convert its errors to one sentence."""
    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:  # tokenizers raises plain exceptions for damaged files
        first = next(
            (line for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise ConfigurationError(
            f"transformers cannot load {quoted(source.id)}: {cut_words(first.strip())}"
        ) from error
    finally:
        logging.set_verbosity(level)
        if shows_bars:
            logging.enable_progress_bar()
