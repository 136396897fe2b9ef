"""The formats of tool calls in a model's text.

    <tool_call>
    {"name": "weather", "arguments": {"city": "Oslo"}}
    </tool_call>

is the format of Hermes, Qwen and SmolLM3; a model whose template has no tools is instructed to use
it. Llama 3 writes only the object, with the key `parameters`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.generation import Tool, ToolCall
    from onewafer.server.contract.json_values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """The texts around the name and the arguments of a call."""

    begin: str
    """The text before the object; empty: a call is the whole answer."""
    arguments: str
    """The key of the arguments."""
    end: str
    """The text after the object."""
    between: str = "\n"
    """The text between two calls."""

    @property
    def is_whole_answer(self) -> bool:
        """True if an answer with a call is that one call, without other text."""
        return not self.begin

    @property
    def head(self) -> str:
        """The text up to the name."""
        return f'{self.begin}{{"name": '

    @property
    def middle(self) -> str:
        """The text between the name and the arguments."""
        return f', "{self.arguments}": '

    @property
    def tail(self) -> str:
        """The text after the arguments."""
        return f"}}{self.end}"

    def write(self, call: ToolCall) -> str:
        """Return a call in this format."""
        return f"{self.head}{json.dumps(call.name)}{self.middle}{call.arguments}{self.tail}"


TAGGED: Final = CallFormat(begin="<tool_call>\n", arguments="arguments", end="\n</tool_call>")
BARE: Final = CallFormat(begin="", arguments="parameters", end="")


def format_of_template(template: str | None) -> CallFormat | None:
    """Return the format of calls in a chat template; None: it has no tools, or another format.

    >>> format_of_template("{{ messages }}") is None
    True
    """
    if template is None or "tools" not in template:
        return None
    if "<tool_call>" in template:
        return TAGGED
    return BARE if '"parameters": ' in template and '"name": ' in template else None


def describe_tool(tool: Tool) -> dict[str, Json]:
    """Return a tool in the form that chat templates take."""
    function: dict[str, Json] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def instructions(tools: Sequence[Tool], form: CallFormat) -> str:
    """Return the instructions about tools for a model whose template has none."""
    lines = "\n".join(json.dumps(describe_tool(tool), ensure_ascii=False) for tool in tools)
    example = f'{form.head}"NAME"{form.middle}{{"ARGUMENT": VALUE}}{form.tail}'
    return (
        f"You can call functions. Their JSON signatures are:\n<tools>\n{lines}\n</tools>\n"
        f"To call one, write its name and its arguments as JSON, in this form:\n{example}"
    )
