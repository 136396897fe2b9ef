"""Tokenization of a rendered conversation, piece by piece between its control tokens.

A tokenizer splits a text at control tokens and tokenizes each piece independently. System prompts
and earlier turns come again with the next request, so recent pieces are cached.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from onewafer.server.text.vocabulary import own_tokenizer

if TYPE_CHECKING:
    from tokenizers import AddedToken

    from onewafer.server.models.text_model import Tokenizer

_KEPT_PIECES: Final = 256
_MOST_KEPT_CHARACTERS: Final = 16_384
"""The most characters of a cached piece: all cached pieces take some megabytes."""


class PieceReader:
    """Tokenizes texts whose control tokens were all written by a chat template."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._literal = own_tokenizer(tokenizer)
        """A tokenizer that treats control tokens as plain text."""
        self._literal.encode_special_tokens = True
        added = tokenizer.added_tokens_decoder.items()
        control = {token: entry for token, entry in added if entry.special}
        self._control = {entry.content: token for token, entry in control.items()}
        spellings = sorted(filter(None, self._control), key=len, reverse=True)
        self.spelled = re.compile(f"({'|'.join(map(re.escape, spellings)) or '(?!)'})")
        """Matches control tokens."""
        self.is_exact = all(map(_stands_alone, control.values())) and (
            "Metaspace" not in str(self._literal.pre_tokenizer)  # it depends on the position
        )
        """True if the result is the same as that of the tokenizer for the whole text."""
        self._read_lately = lru_cache(_KEPT_PIECES)(self._read)

    def read(self, text: str, *, mark: str = "") -> list[int]:
        """Return the tokens of a text, from which all `mark` characters are removed."""
        tokens: list[int] = []
        for place, piece in enumerate(self.spelled.split(text)):
            if place % 2:
                tokens.append(self._control[piece])
            elif piece:
                is_long = len(piece) > _MOST_KEPT_CHARACTERS
                read = self._read if is_long else self._read_lately
                tokens += read(piece.replace(mark, "") if mark else piece)
        return tokens

    def _read(self, piece: str) -> list[int]:
        [encoding] = self._literal.encode_batch_fast([piece], add_special_tokens=False)
        return encoding.ids


def _stands_alone(token: AddedToken) -> bool:
    """Tell whether a control token is matched exactly: without blanks, before normalization."""
    return not (token.lstrip or token.rstrip or token.single_word or token.normalized)
