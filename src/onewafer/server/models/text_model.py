"""How a model's text becomes tokens: its tokenizer and chat template, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    from onewafer.server.contract.json_values import Json


class Tokenizer(Protocol):
    """The part of a fast tokenizer of transformers that is used here."""

    @property
    def backend_tokenizer(self) -> Backend:
        """The tokenizer of package tokenizers inside it."""
        ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """Tokens that no merging makes, by number: the control tokens are among them."""
        ...

    def encode(
        self, text: str, *, add_special_tokens: bool = ..., split_special_tokens: bool = ...
    ) -> list[int]:
        """Return the tokens of a text."""
        ...

    @property
    def special_tokens_map(self) -> Mapping[str, str | Sequence[str]]:
        """Control tokens by the names that templates have for them."""
        ...

    def get_chat_template(self, *, tools: Sequence[Mapping[str, Json]] | None = ...) -> str:
        """Return the template for conversations with some tools, or with none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """The tokenizer, which reads prompts and writes answers."""

    id: str
    """The name that clients see."""
    tokenizer: Tokenizer
    tokenizer_name: str
    """Whose tokenizer it is; for a stand-in a phrase: `smollm2's, as a stand-in`."""
    chat_template: str | None
    """The Jinja source; None: the model is no chat model."""
    context_length: int
    """Tokens of prompt and answer together."""
    vocabulary_size: int
    """Logits of a token: at least as many as the tokenizer has tokens."""
    end_ids: frozenset[int]
    """Tokens by which the model ends an answer."""
    fingerprint: str
    """A short text that is the same for the same files and version of onewafer."""
