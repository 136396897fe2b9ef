"""Stand-in tokenizers and templates for models of the catalogue, to count tokens with.

The tokenizer is SmolLM2's if that is installed, else one token a byte.
"""

from __future__ import annotations

from dataclasses import replace
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
    from onewafer.terminal import ProgressBar

_USUAL_CONTEXT: Final = 8192
_END: Final = "<|im_end|>"
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def load_words(name: str, *, bar: ProgressBar) -> TextModel:
    """Load the text side of a model, without its weights.

    Raises:
        ConfigurationError: no such model is known, its files cannot be read, or it writes no text.
    """
    if name.lower() not in known_models() or Path(name).exists():
        return load_text(find_source(name), bar=bar)
    entry, words = find_writer(name), _usual_words(bar)
    return replace(
        words,
        id=entry.name,
        tokenizer_name=f"{words.tokenizer_name}, as a stand-in",
        context_length=entry.max_context or _USUAL_CONTEXT,
        fingerprint=fingerprint(entry.name, words.fingerprint),
    )


def _usual_words(bar: ProgressBar) -> TextModel:
    try:
        source = find_source(SMOLLM2)
    except ConfigurationError:
        return _byte_words()
    return load_text(source, bar=bar)


def _byte_words() -> TextModel:
    tokenizer = byte_tokenizer("<|im_start|>", _END, chat_template=CHAT_TEMPLATE)
    return TextModel(
        id="bytes",
        tokenizer=tokenizer,
        tokenizer_name="one token a byte",
        chat_template=CHAT_TEMPLATE,
        context_length=_USUAL_CONTEXT,
        vocabulary_size=tokenizer.backend_tokenizer.get_vocab_size(),
        end_ids=frozenset(tokenizer.encode(_END)),
        fingerprint="bytes",
    )
