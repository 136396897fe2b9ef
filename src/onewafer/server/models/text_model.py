"""The text side of a model: tokenizer, chat template and limits, without weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    from onewafer.server.contract.json_values import Json


class Tokenizer(Protocol):
    """The used part of a fast tokenizer of transformers."""

    @property
    def backend_tokenizer(self) -> Backend:
        """The inner tokenizer, of package tokenizers."""
        ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """The added tokens by number; control tokens are among them."""
        ...

    def encode(
        self, text: str, *, add_special_tokens: bool = ..., split_special_tokens: bool = ...
    ) -> list[int]:
        """Return the tokens of a text."""
        ...

    @property
    def special_tokens_map(self) -> Mapping[str, str | Sequence[str]]:
        """Control tokens by their names in templates."""
        ...

    def get_chat_template(self, *, tools: Sequence[Mapping[str, Json]] | None = ...) -> str:
        """Return the chat template for conversations with or without tools."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """The text side of a model."""

    id: str
    """The name for clients."""
    tokenizer: Tokenizer
    tokenizer_name: str
    """The tokenizer's owner, as a phrase: `smollm2's, as a stand-in`."""
    chat_template: str | None
    """The chat template in Jinja; None: the model is no chat model."""
    context_length: int
    """Tokens of prompt and answer together."""
    vocabulary_size: int
    """The number of logits, at least the number of the tokenizer's tokens."""
    end_ids: frozenset[int]
    """The tokens that end an answer."""
    fingerprint: str
    """A hash of the files and the version of onewafer."""
