"""Checks of JSON schemas: whether llguidance supports them, and which part it does not.

Its errors do not name the part, which is found by checking smaller and smaller subschemas. Its own
limits bound the work to compile and to evaluate a grammar.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from llguidance import LLMatcher, LLParserLimits

from onewafer.server.contract.failures import RequestError
from onewafer.terminal import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llguidance import LLTokenizer

    from onewafer.server.contract.json_values import Json

LIMITS: Final = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=200_000,
    verbose_errors=False,
)
_MOST_CHARACTERS: Final = 200_000
_MOST_LEVELS: Final = 64
_MOST_QUESTIONS: Final = 300
"""The most subschemas that are checked to find the wrong one."""
_LAYOUT: Final[Mapping[str, Json]] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""JSON on one line, as of `json.dumps`: small models else write blank lines without end."""
_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties")


def check_schema(schema: Mapping[str, Json], tokens: LLTokenizer, *, param: str) -> None:
    """Raise RequestError for a schema that is not supported; the message names the part."""
    if _levels(schema) > _MOST_LEVELS:
        raise RequestError(
            f"{param}: the schema is nested deeper than {_MOST_LEVELS} levels", param=param
        )
    size = len(json.dumps(schema))
    if size > _MOST_CHARACTERS:
        most = f"at most {_MOST_CHARACTERS:,} are read"
        raise RequestError(f"{param}: the schema has {size:,} characters; {most}", param=param)
    reason = _reason(schema, tokens)
    if reason is not None:
        place = _narrow(schema, tokens, reason)
        where = "".join(f"/{quoted(key)}" for key in place)
        at = f" at {where}" if where else ""
        raise RequestError(
            f"{param}: the schema cannot be followed{at}: {quoted(reason)}", param=param
        )


def laid_out(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return the schema with the layout of its JSON."""
    return {**schema, "x-guidance": _LAYOUT}


def _reason(schema: Mapping[str, Json], tokens: LLTokenizer) -> str | None:
    """Return the reason why a schema is not supported; None: it is."""
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(laid_out(schema)))
    matcher = LLMatcher(tokens, grammar, log_level=0, limits=LIMITS)
    if not matcher.is_error():
        matcher.compute_bitmask()  # checks the limits of a step
    if not matcher.is_error():
        return None
    return " ".join(matcher.get_error().split()) or "it is too complex"


def _narrow(schema: Mapping[str, Json], tokens: LLTokenizer, reason: str) -> list[str]:
    """Return the path of the smallest subschema that is refused for the same reason."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    place: list[str] = []
    questions = 0
    part: Mapping[str, Json] = schema
    while True:
        for keys, child in _children(part):
            questions += 1
            if questions > _MOST_QUESTIONS:
                return place
            if _reason({**_apart(shared, keys), **child}, tokens) == reason:
                place += keys
                part = child
                break
        else:
            return place


def _apart(shared: Mapping[str, Json], keys: list[str]) -> Mapping[str, Json]:
    """Return the definitions for a subschema; none if it is a definition itself."""
    return {} if keys[0] in shared else shared


def _children(schema: Mapping[str, Json]) -> Iterator[tuple[list[str], Mapping[str, Json]]]:
    """Yield the direct subschemas of a schema, each with its path."""
    for key in _MAPS:
        for name, child in _as_map(schema.get(key)).items():
            if isinstance(child, dict):
                yield [key, name], cast("Mapping[str, Json]", child)
    for key in _LISTS:
        found = schema.get(key)
        for index, child in enumerate(found if isinstance(found, list) else ()):
            if isinstance(child, dict):
                yield [key, str(index)], cast("Mapping[str, Json]", child)
    for key in _SINGLE:
        if child := _as_map(schema.get(key)):
            yield [key], child


def _as_map(value: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, dict) else {}


def _levels(value: Json) -> int:
    """Return the depth of a value's nesting, without recursion."""
    level, row = 0, [value]
    while row and level <= _MOST_LEVELS:
        inner: list[Json] = []
        for item in row:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level, row = level + 1, inner
    return level
