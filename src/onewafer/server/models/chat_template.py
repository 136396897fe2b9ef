# pyright: basic
# The type hints of transformers are partial.
"""Conversations as text, by the template that comes with a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.utils.chat_template_utils import render_jinja_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json
    from onewafer.server.models.text_model import Tokenizer


class ChatTemplate:
    """The template of a tokenizer; transformers compiles it once, and runs it in a sandbox.

    It writes what `apply_chat_template` writes, which collects the names of control tokens anew
    for every conversation, and copies them all: that takes as long as a short template.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._names: dict[str, Any] = dict(tokenizer.special_tokens_map)

    def render(
        self, turns: Sequence[Mapping[str, Json]], tools: Sequence[Mapping[str, Json]]
    ) -> str:
        """Return a conversation as text, up to where the model's next turn begins."""
        offered: list[Any] | None = list(tools) or None
        messages: list[Any] = [*turns]
        template = self._tokenizer.get_chat_template(tools=offered)
        named = {name: token for name, token in self._names.items() if name in template}
        [text], _ = render_jinja_template(
            [messages],
            tools=offered,
            chat_template=template,
            add_generation_prompt=True,
            **named,
        )
        return text
