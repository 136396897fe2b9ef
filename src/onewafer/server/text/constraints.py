"""Grammars of answers: any JSON, JSON that conforms to a schema, tool calls.

    answer: text | calls            tools that the model may call
    answer: calls                   tools that it must call
    calls:  call (between call)*    one only, if calls are not parallel; else a few

llguidance evaluates them: only tokens that the grammar allows can be chosen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
from llguidance import LLMatcher

from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import FreeForm, JsonObject, JsonSchema, ToolUse
from onewafer.server.text.schemas import LIMITS, check_schema, laid_out
from onewafer.terminal import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.server.contract.generation import Form, Generation, Tools
    from onewafer.server.contract.json_values import Json
    from onewafer.server.text.call_format import CallFormat
    from onewafer.server.text.vocabulary import Vocabulary

_ANY_OBJECT: Final[dict[str, Json]] = {"type": "object"}
_MOST_CALLS: Final = 16
"""The most calls of one answer: a small model may repeat its call for ever."""
_ANY_TEXT: Final = r"/(.|\n)*/"
_NO_OBJECT: Final = r"/([^{](.|\n)*)?/"
"""Text that cannot be mistaken for a call without markers."""


class Grammar:
    """The compiled grammar of a request's answers."""

    def __init__(self, grammar: str, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._matcher = LLMatcher(vocabulary.grammar_tokens, grammar, log_level=0, limits=LIMITS)
        if self._matcher.is_error():
            reason = quoted(" ".join(self._matcher.get_error().split()))
            raise RequestError(f"the form of the answer cannot be followed: {reason}")

    def begin(self) -> GrammarConstraint:
        """Return the state of the grammar at the start of an answer."""
        return GrammarConstraint(self._matcher.deep_copy(), self._vocabulary)


class GrammarConstraint:
    """The state of the grammar in one answer: a `Constraint`.

    If the grammar exceeds llguidance's limits, the answer ends.
    """

    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._only_end = _bits(vocabulary.end_ids, vocabulary.size)

    def allowed(self) -> bytes | None:
        """Return one bit for each token of the vocabulary, low bits first."""
        if self._matcher.is_stopped():
            return self._only_end
        mask = self._matcher.compute_bitmask()
        return self._only_end if self._matcher.is_error() else mask

    def take(self, token: int) -> None:
        """Advance by a token, which must be allowed."""
        if token not in self._vocabulary.end_ids:
            self._matcher.consume_token(token)


def read_grammar(
    generation: Generation, vocabulary: Vocabulary, calls: CallFormat
) -> Grammar | None:
    """Return the grammar of a request's answers; None: any text is allowed.

    Raises:
        RequestError: a schema is not supported; the message names the part.
    """
    tools, form = generation.tools, generation.form
    has_tools = bool(tools.tools) and tools.use is not ToolUse.NONE
    _check(generation, vocabulary, has_tools=has_tools)
    if has_tools:
        return Grammar(_tool_grammar(tools, form, calls), vocabulary)
    schema = _schema_of(form)
    if schema is None:
        return None
    return Grammar(LLMatcher.grammar_from_json_schema(json.dumps(laid_out(schema))), vocabulary)


def _check(generation: Generation, vocabulary: Vocabulary, *, has_tools: bool) -> None:
    tokens = vocabulary.grammar_tokens
    match generation.form:
        case JsonSchema(schema, param):
            check_schema(schema, tokens, param=param)
        case _:
            pass
    for tool in generation.tools.tools if has_tools else ():
        check_schema(tool.parameters, tokens, param=tool.param)


def _schema_of(form: Form) -> dict[str, Json] | None:
    match form:
        case FreeForm():
            return None
        case JsonObject():
            return _ANY_OBJECT
        case JsonSchema(schema):
            return dict(schema)


def _tool_grammar(tools: Tools, form: Form, calls: CallFormat) -> str:
    """Return the grammar of texts and calls; schemas are separate parts beside it."""
    chosen = [tool for tool in tools.tools if tools.only in (None, tool.name)]
    schemas = {f"arguments_{i}": _arguments(tool.parameters) for i, tool in enumerate(chosen)}
    schema = _schema_of(form)
    if schema is not None:
        schemas["answer"] = schema
    names = [json.dumps(tool.name) for tool in chosen]
    options = [
        f"call_{i}: {_literal(name + calls.middle)} @arguments_{i} {_literal(calls.tail)}"
        for i, name in enumerate(names)
    ]
    any_call = " | ".join(f"call_{i}" for i in range(len(chosen)))
    is_one = calls.is_whole_answer or not tools.is_parallel
    more = (
        ""
        if is_one
        else f"({_literal(calls.between + calls.head)} ({any_call})){{0,{_MOST_CALLS - 1}}}"
    )
    lines = [_start(tools, calls, has_schema=schema is not None), f"calls: ({any_call}) {more}"]
    lark = "\n".join([*lines, *options])
    others = [{"name": name, "json_schema": laid_out(inner)} for name, inner in schemas.items()]
    return json.dumps({"grammars": [{"name": "calls", "lark_grammar": lark}, *others]})


def _start(tools: Tools, calls: CallFormat, *, has_schema: bool) -> str:
    """Return the start rule."""
    head = _literal(calls.head)
    if tools.use is ToolUse.REQUIRED:
        return f"start: {head} calls"
    if has_schema:
        return f"start: {head} calls | @answer"
    if calls.is_whole_answer:
        return f"start: {head} calls | text\ntext: {_NO_OBJECT}"
    begin, rest = _literal(calls.begin.strip()), _literal(calls.head[len(calls.begin.strip()) :])
    return f"start: (head {rest} calls) | text\nhead[lazy]: {_ANY_TEXT} {begin}\ntext: {_ANY_TEXT}"


def _arguments(parameters: Mapping[str, Json]) -> dict[str, Json]:
    """Return the schema of arguments, which defaults to type object."""
    return {"type": "object", **parameters}


def _literal(text: str) -> str:
    """Return a text as a string literal of the grammar language."""
    return json.dumps(text, ensure_ascii=False)


def _bits(tokens: frozenset[int], size: int) -> bytes:
    """Return a set of tokens as a mask of llguidance."""
    bits = np.zeros((size + 31) // 32 * 32, bool)
    bits[sorted(tokens)] = True
    return np.packbits(bits, bitorder="little").tobytes()
