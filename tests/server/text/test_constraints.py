import json

import numpy as np
import pytest

from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import (
    Conversation,
    Generation,
    JsonObject,
    JsonSchema,
    Message,
    Role,
    Tool,
    Tools,
    ToolUse,
)
from onewafer.server.text import Language
from tests.server.text.conftest import END, words

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool(name="weather", description="", parameters=CITY)
CLOCK = Tool(name="clock", description="", parameters={})
OSLO = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
NOW = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'


def request(**fields):
    prompt = Conversation((Message(role=Role.USER, text="Hi"),))
    return Generation(id="r", model="m", prompt=prompt, **fields)


def follows(language, generation, text):
    """Tell whether an answer may be `text`, up to its end."""
    constraint = language.read_grammar(generation).begin()
    for token in [*language.model.tokenizer.encode(text, split_special_tokens=True), END]:
        mask = np.frombuffer(constraint.allowed(), np.uint8)
        assert mask.size * 8 >= language.model.vocabulary_size
        if not np.unpackbits(mask, bitorder="little")[token]:
            return False
        constraint.take(token)
    return True


def test_free_text_has_no_grammar(language):
    assert language.read_grammar(request()) is None
    tools = Tools(tools=(WEATHER,), use=ToolUse.NONE)
    assert language.read_grammar(request(tools=tools)) is None


def test_a_json_object_is_one(language):
    assert follows(language, request(form=JsonObject()), '{"a": [1, "x"]}')
    assert not follows(language, request(form=JsonObject()), "[1]")
    assert not follows(language, request(form=JsonObject()), '{"a": 1')


def test_a_schema_is_kept(language):
    generation = request(form=JsonSchema(CITY))

    assert follows(language, generation, '{"city": "Oslo"}')
    assert not follows(language, generation, '{"town": "Oslo"}')


@pytest.mark.parametrize(
    ("tools", "allowed", "refused"),
    [
        (Tools(tools=(WEATHER, CLOCK)), ["Hi <b>", OSLO, f"So:{NOW}", f"{OSLO}\n{NOW}"], []),
        (Tools(tools=(CLOCK,)), ["\n".join([NOW] * 16)], ["\n".join([NOW] * 17)]),
        (Tools(tools=(WEATHER,)), [], [NOW, f"{OSLO} and", OSLO.replace("city", "town")]),
        (Tools(tools=(WEATHER, CLOCK), use=ToolUse.REQUIRED), [OSLO, NOW], ["Hi", f"So:{NOW}"]),
        (Tools(tools=(WEATHER, CLOCK), use=ToolUse.REQUIRED, only="clock"), [NOW], [OSLO]),
        (Tools(tools=(WEATHER, CLOCK), is_parallel=False), [OSLO], [f"{OSLO}\n{NOW}"]),
    ],
)
def test_calls_follow_their_tools(language, tools, allowed, refused):
    generation = request(tools=tools)

    assert [text for text in allowed if not follows(language, generation, text)] == []
    assert [text for text in refused if follows(language, generation, text)] == []


def test_calls_without_marks_are_whole_answers():
    language = Language(words('{% if tools %}{"name": f, "parameters": p}{% endif %}'))
    generation = request(tools=Tools(tools=(WEATHER,)))

    assert follows(language, generation, '{"name": "weather", "parameters": {"city": "Oslo"}}')
    assert follows(language, generation, 'Text with {"name": "x"}')
    assert not follows(language, generation, '{"name": "clock", "parameters": {}}')


def test_names_of_tools_are_data(language):
    name = 'a" | "b\\n%json {}'
    tool = Tool(name=name, description="", parameters={})
    generation = request(tools=Tools(tools=(tool,), use=ToolUse.REQUIRED))
    call = f'<tool_call>\n{{"name": {json.dumps(name)}, "arguments": {{}}}}\n</tool_call>'

    assert follows(language, generation, call)
    assert not follows(language, generation, "b")


def test_a_tool_may_be_called_where_the_answer_is_json(language):
    generation = request(tools=Tools(tools=(WEATHER,)), form=JsonObject())

    assert follows(language, generation, OSLO)
    assert follows(language, generation, "{}")
    assert not follows(language, generation, "text")


def nested(levels):
    schema = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "cannot be followed: Invalid type"),
        (
            {"properties": {"a": {"items": {"type": "strin"}}, "b": {"type": "string"}}},
            "at /properties/a/items: Invalid type: strin",
        ),
        ({"$defs": {"x": {"format": "q"}}, "$ref": "#/$defs/x"}, "/\\$defs/x: Unknown format"),
        ({"properties": {"a": {"$ref": "http://example.com/x"}}}, "at /properties/a: "),
        ({"pattern": "(a", "type": "string"}, "regex"),
        (nested(2000), "deeper than 64 levels"),
        ({"enum": ["x" * 300_000]}, "at most 200,000"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused_with_its_part(language, schema, message):
    with pytest.raises(RequestError, match=message) as error:
        language.read_grammar(request(form=JsonSchema(schema, "text.format.schema")))
    assert error.value.param == "text.format.schema"
    assert "\n" not in str(error.value)


def test_a_wrong_schema_of_a_tool_is_named(language):
    wrong = Tool(
        name="x", description="", parameters={"type": "objekt"}, param="tools.1.input_schema"
    )
    with pytest.raises(RequestError) as error:
        language.read_grammar(request(tools=Tools(tools=(WEATHER, wrong))))
    assert error.value.param == "tools.1.input_schema"


def test_a_grammar_that_becomes_too_complex_ends_the_answer(language):
    constraint = language.read_grammar(request(form=JsonObject())).begin()
    constraint.take(ord("z"))  # no token that was allowed: the matcher gives up

    bits = np.unpackbits(np.frombuffer(constraint.allowed(), np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == [END]
