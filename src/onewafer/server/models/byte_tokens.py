# pyright: basic
# The type hints of transformers are partial.
"""A tokenizer without files: one token for each byte of UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from onewafer.server.models import text_model


def byte_tokenizer(*special: str, chat_template: str | None = None) -> text_model.Tokenizer:
    """Return a tokenizer of the 256 bytes and `special` tokens, the last of which is the end."""
    vocabulary = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(list(special))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[-1], chat_template=chat_template
    )
    return cast("text_model.Tokenizer", fast)
