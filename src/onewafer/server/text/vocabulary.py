"""The bytes of each token, for the text of answers and for grammars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llguidance import LLTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

    from onewafer.server.models import TextModel
    from onewafer.server.models.text_model import Tokenizer


class Vocabulary:
    """The tokens of a model as bytes; those of control tokens are empty."""

    def __init__(self, model: TextModel) -> None:
        self.size = model.vocabulary_size
        self.end_ids = model.end_ids
        self.grammar_tokens: LLTokenizer = _grammar_tokens(model)
        """The tokenizer of llguidance."""
        added = model.tokenizer.added_tokens_decoder
        self._control = {token: entry.content for token, entry in added.items() if entry.special}
        self._num_known = model.tokenizer.backend_tokenizer.get_vocab_size()
        self._known: dict[int, bytes] = {}
        self._texts: dict[int, str] = {}

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes of a token; empty for control tokens and unknown ones."""
        known = self._known.get(token)
        if known is None:
            known = self._known[token] = self._read(token)
        return known

    def whole_text_of(self, token: int) -> str:
        """Return the text of a token; '' if it has none, or has parts of characters."""
        text = self._texts.get(token)
        if text is None:
            try:
                text = self.bytes_of(token).decode()
            except UnicodeDecodeError:
                text = ""
            self._texts[token] = text
        return text

    def name_of(self, token: int) -> str:
        """Return the displayed name of a token: its text, or the name of a control token.

        A part of a character becomes U+FFFD.
        """
        text = self.bytes_of(token).decode("utf-8", "replace")
        return text or self._control.get(token) or f"token_id:{token}"

    def text_of(self, tokens: tuple[int, ...]) -> str:
        """Return the text of tokens; parts of characters become U+FFFD."""
        return b"".join(map(self.bytes_of, tokens)).decode("utf-8", "replace")

    def _read(self, token: int) -> bytes:
        if token in self._control or token >= self._num_known:
            return b""
        return self.grammar_tokens.decode_bytes([token])


def own_tokenizer(tokenizer: Tokenizer) -> Backend:
    """Return a copy of the inner tokenizer, without truncation and padding."""
    backend = tokenizer.backend_tokenizer
    copy = backend.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def _grammar_tokens(model: TextModel) -> LLTokenizer:
    tokens = own_tokenizer(model.tokenizer).to_str()
    ends = sorted(model.end_ids) or None
    return LLTokenizer(tokens, n_vocab=model.vocabulary_size, eos_token=ends)
