# pyright: basic
# The type hints of transformers are partial.
"""Rendering of conversations by a model's chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.utils.chat_template_utils import render_jinja_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json
    from onewafer.server.models.text_model import Tokenizer


class ChatTemplate:
    """The chat template of a tokenizer; transformers compiles it once, and runs it in a sandbox.

    The result is that of `apply_chat_template`, which also collects all control tokens for every
    conversation: that takes as long as rendering a short template.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._names: dict[str, Any] = dict(tokenizer.special_tokens_map)

    def render(
        self, turns: Sequence[Mapping[str, Json]], tools: Sequence[Mapping[str, Json]]
    ) -> str:
        """Return a conversation as text, with the start of the model's next turn."""
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
