"""True if a JSON schema can be followed, and which part of it cannot.

llguidance says what is wrong, not where; the part is found by asking about smaller and smaller
ones. Its own limits bound the steps that a grammar takes to build and to follow.
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
"""Parts of a wrong schema that are tried to find the wrong one."""
_LAYOUT: Final[Mapping[str, Json]] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""Answers are on one line, as `json.dumps` writes them: small models else end in blank lines."""
_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties")


def check_schema(schema: Mapping[str, Json], tokens: LLTokenizer, *, param: str) -> None:
    """Raise RequestError, with the name of the part, for a schema that cannot be followed."""
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
    """Return a schema that also says how its JSON is laid out."""
    return {**schema, "x-guidance": _LAYOUT}


def _reason(schema: Mapping[str, Json], tokens: LLTokenizer) -> str | None:
    """Return why a schema cannot be followed; None: it can."""
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(laid_out(schema)))
    matcher = LLMatcher(tokens, grammar, log_level=0, limits=LIMITS)
    if not matcher.is_error():
        matcher.compute_bitmask()  # reaches the limits of a step, if it has too many
    if not matcher.is_error():
        return None
    return " ".join(matcher.get_error().split()) or "it is too complex"


def _narrow(schema: Mapping[str, Json], tokens: LLTokenizer, reason: str) -> list[str]:
    """Return the keys on the way to the smallest part that is wrong for the same reason."""
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
    """Return what references of a part point to; nothing if the part is a definition itself."""
    return {} if keys[0] in shared else shared


def _children(schema: Mapping[str, Json]) -> Iterator[tuple[list[str], Mapping[str, Json]]]:
    """Yield the schemas inside a schema, with the keys that lead there."""
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
    """Return how deep a value is nested, without recursion."""
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
