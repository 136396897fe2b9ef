"""Stand-in tokenizers and templates for models of the catalogue, to count tokens with.

The tokenizer is SmolLM2's if that is installed, else one token a byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from onewafer.errors import ConfigurationError
from onewafer.perf import known_models
from onewafer.server.models.byte_tokens import byte_tokenizer
from onewafer.server.models.fingerprints import fingerprint
from onewafer.server.models.loading import load_text
from onewafer.server.models.sources import SMOLLM2, find_source, find_writer
from onewafer.server.models.text_model import TextModel

if TYPE_CHECKING:
    from onewafer.perf import KnownModel
    from onewafer.terminal import ProgressBar

_USUAL_CONTEXT: Final = 8192
_END: Final = "<|im_end|>"
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def stand_in_text(name: str, template: TextModel | None) -> TextModel:
    """Return a text model for an entry of the catalogue, with the tokenizer of `template`.

    If that is None, each byte is a token.

    Raises:
        ConfigurationError: there is no such entry, or it writes no text.
    """
    entry = find_writer(name)
    return _byte_text(entry) if template is None else _text_like(entry, template)


def _text_like(entry: KnownModel, template: TextModel) -> TextModel:
    return TextModel(
        id=entry.name,
        tokenizer=template.tokenizer,
        tokenizer_name=f"{template.id}'s, as a stand-in",
        chat_template=template.chat_template,
        context_length=entry.max_context or _USUAL_CONTEXT,
        vocabulary_size=template.vocabulary_size,
        end_ids=template.end_ids,
        fingerprint=fingerprint(entry.name, template.fingerprint),
    )


def _byte_text(entry: KnownModel) -> TextModel:
    tokenizer = byte_tokenizer("<|im_start|>", _END, chat_template=CHAT_TEMPLATE)
    return TextModel(
        id=entry.name,
        tokenizer=tokenizer,
        tokenizer_name="one token a byte, as a stand-in",
        chat_template=CHAT_TEMPLATE,
        context_length=entry.max_context or _USUAL_CONTEXT,
        vocabulary_size=tokenizer.backend_tokenizer.get_vocab_size(),
        end_ids=frozenset(tokenizer.encode(_END)),
        fingerprint=fingerprint(entry.name, "bytes"),
    )


def load_words(name: str, *, bar: ProgressBar) -> TextModel:
    """Load the text side of a model, without its weights.

    Raises:
        ConfigurationError: no such model is known, its files cannot be read, or it writes no text.
    """
    if name.lower() in known_models() and not Path(name).exists():
        return stand_in_text(name, _usual_words(bar))
    return load_text(find_source(name), bar=bar)


def _usual_words(bar: ProgressBar) -> TextModel | None:
    try:
        source = find_source(SMOLLM2)
    except ConfigurationError:
        return None
    return load_text(source, bar=bar)
