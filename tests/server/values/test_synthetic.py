import json

import pytest

from onewafer.server.contract.generation import (
    Conversation,
    Generation,
    JsonSchema,
    Message,
    Role,
    Sampling,
    Tool,
    Tools,
    ToolUse,
)
from onewafer.server.contract.values import SequenceRequest
from onewafer.server.text import Language
from onewafer.server.values.synthetic import MOST_A_STEP, SyntheticValues
from tests.server.text.conftest import END, words


@pytest.fixture(scope="module")
def language():
    return Language(words())


@pytest.fixture
def values(language):
    return SyntheticValues(
        model_id="llama-3.1-70b",
        encode=language.model.tokenizer.encode,
        end_ids=frozenset({END}),
        context_length=1000,
    )


def answer(values, *, prompt=(1, 2), most=1000, sampling=None, **fields):
    """Return the tokens of one sequence, that of its end included."""
    values.begin(SequenceRequest(id=7, prompt=prompt, sampling=sampling or Sampling(), **fields))
    tokens = []
    while len(tokens) < most and END not in tokens:
        (produced,) = values.step()
        tokens.append(produced.token)
    values.end(7)
    return tokens


def test_a_text_says_that_it_is_synthetic_and_ends(values, language):
    tokens = answer(values)

    text = language.vocabulary.text_of(tuple(tokens))
    assert text.startswith("This text is synthetic: the weights of llama-3.1-70b are not here")
    assert tokens[-1] == END


def test_the_same_request_gets_the_same_text(values):
    def seeded(seed, temperature=1.0):
        return tuple(answer(values, sampling=Sampling(seed=seed, temperature=temperature)))

    assert seeded(3) == seeded(3)
    assert len({seeded(seed) for seed in range(10)}) > 1
    assert len({seeded(seed, temperature=0) for seed in range(10)}) == 1
    assert len({tuple(answer(values, prompt=(n,))) for n in range(10)}) > 1


def test_an_answer_is_as_long_as_it_must_be(values):
    assert len(answer(values, sampling=Sampling(min_tokens=700))) == 701


def test_sequences_that_ended_write_no_more(values):
    for number in (1, 2):
        values.begin(SequenceRequest(id=number, prompt=(1,), sampling=Sampling()))
    assert [produced.id for produced in values.step()] == [1, 2]
    values.end(1)
    values.end(1)
    assert [produced.id for produced in values.step()] == [2]


def test_of_many_sequences_each_has_its_turn(values):
    count = MOST_A_STEP + 1
    for number in range(count):
        values.begin(SequenceRequest(id=number, prompt=(1,), sampling=Sampling()))
    written = [produced.id for _ in range(count) for produced in values.step()]

    assert written == [*range(count)] * MOST_A_STEP


def test_logprobs_say_that_there_was_no_choice(values):
    values.begin(SequenceRequest(id=1, prompt=(1,), sampling=Sampling(), top_logprobs=3))
    (produced,) = values.step()

    assert produced.logprob == 0
    assert produced.top == ((produced.token, 0.0),)


def constrained(values, language, **fields):
    prompt = Conversation((Message(role=Role.USER, text="Hi"),))
    generation = Generation(id="r", model="m", prompt=prompt, **fields)
    constraint = language.read_grammar(generation).begin()
    return language.vocabulary.text_of(tuple(answer(values, constraint=constraint)))


def test_schemas_are_kept(values, language):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2},
            "age": {"type": "integer"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        },
        "required": ["name", "age", "tags"],
    }
    found = json.loads(constrained(values, language, form=JsonSchema(schema)))

    assert len(found["name"]) == 2
    assert isinstance(found["age"], int)
    assert len(found["tags"]) == 2


def test_tools_are_called_only_if_they_must_be(values, language):
    tool = Tool(name="get", description="", parameters={"type": "object"})

    free = constrained(values, language, tools=Tools(tools=(tool,)))
    forced = constrained(values, language, tools=Tools(tools=(tool,), use=ToolUse.REQUIRED))
    assert free.startswith("This text is synthetic")
    assert forced == '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>'
