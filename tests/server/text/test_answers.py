import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.server.contract.events import CallDelta, Delta, Ended, Reason
from onewafer.server.contract.values import Produced
from onewafer.server.text.answers import AnswerPlan, AnswerText
from onewafer.server.text.call_format import BARE, TAGGED
from tests.server.text.conftest import END, START


def run(language, tokens, **plan):
    answer = AnswerText(
        AnswerPlan(**{"request_id": "r", "answer": 0, "most_tokens": 1000} | plan),
        language.vocabulary,
    )
    events = []
    for token in tokens:
        if answer.has_ended:
            break
        events += answer.take(Produced(id=0, token=token, logprob=-1.0, top=((token, -1.0),)))
    return events


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, Delta))


def tokens_of(events):
    return [token for event in events if isinstance(event, Delta) for token in event.tokens]


def end_of(events):
    assert isinstance(events[-1], Ended)
    assert not any(isinstance(event, Ended) for event in events[:-1])
    return events[-1]


def calls_of(events):
    calls = {}
    for event in events:
        if isinstance(event, CallDelta):
            name, arguments = calls.get(event.call, (event.name, ""))
            calls[event.call] = (name, arguments + event.arguments)
    return list(calls.values())


def test_characters_come_whole_with_all_their_tokens(language, encode):
    events = run(language, [*encode("aß🎈"), END])

    assert [(event.text, len(event.tokens)) for event in events[:-1]] == [
        ("a", 1),
        ("ß", 2),
        ("🎈", 4),
    ]
    assert end_of(events).reason is Reason.END


class Pieces:
    """Tokens whose bytes are chosen: tokenizers have some that end inside a character."""

    end_ids = frozenset()
    _bytes = (b"a", b"b\xc3", b"\x9f", b"c")

    def bytes_of(self, token):
        return self._bytes[token]

    def whole_text_of(self, token):
        return {0: "a", 3: "c"}.get(token, "")


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [([0, 1, 2, 3], ["a", "b", "ß", "c"]), ([1, 0, 3], ["b", "\N{REPLACEMENT CHARACTER}a", "c"])],
)
def test_a_token_may_end_inside_a_character(tokens, texts):
    answer = AnswerText(AnswerPlan(request_id="r", answer=0, most_tokens=1000), Pieces())
    events = [event for token in tokens for event in answer.take(Produced(id=0, token=token))]

    assert [event.text for event in events] == texts
    assert tokens_of(events) == tokens


def test_a_part_of_a_character_at_the_end_shows(language, encode):
    events = run(language, encode("🎈")[:2], most_tokens=2)

    assert text_of(events) == "\ufffd"
    assert end_of(events).reason is Reason.LENGTH


def test_control_tokens_have_no_text(language, encode):
    events = run(language, [*encode("a"), START, *encode("b"), END])

    assert text_of(events) == "ab"
    assert tokens_of(events) == [*encode("a"), START, *encode("b")]


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), max_size=2))
def test_text_ends_before_the_first_stop_text(language, encode, text, stops):
    events = run(language, [*encode(text), END], stops=tuple(stops))
    complete = [text.find(stop) + len(stop) for stop in stops if stop in text]
    before = text[: min(complete)] if complete else text
    met = [stop for stop in stops if before.endswith(stop)] if complete else []

    assert end_of(events).reason is (Reason.STOP_TEXT if met else Reason.END)
    assert text_of(events) == (before[: -max(map(len, met))] if met else text)


def test_what_may_become_a_stop_text_is_held_back(language, encode):
    events = run(language, encode("xEN"), stops=("END",))

    assert text_of(events) == "x"


def test_tokens_of_a_stop_text_are_no_part_of_the_answer(language, encode):
    events = run(language, encode("ab cEND"), stops=("END",), has_logprobs=True)

    assert tokens_of(events) == encode("ab c")
    assert sum(len(event.logprobs) for event in events[:-1]) == 4


def test_no_stop_text_ends_an_answer_that_is_too_short(language, encode):
    events = run(language, [*encode("abaab"), END], stops=("a",), min_tokens=3)

    assert text_of(events) == "aba"
    assert end_of(events).stop == "a"


def test_each_token_has_its_logprob_with_its_bytes(language, encode):
    events = run(language, [*encode("ß"), END], has_logprobs=True)

    (first, second) = events[0].logprobs
    assert (first.chosen.data, second.chosen.data) == (b"\xc3", b"\x9f")
    assert first.chosen.token == b"\xc3".decode("utf-8", "replace")
    assert first.top == (first.chosen,)


CALL = '<tool_call>\n{"name": "get", "arguments": {"a": "}\\"<tool_call>"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ("only text <tool", "only text <tool", []),
        (f"Let me see.{CALL}", "Let me see.", [("get", '{"a": "}\\"<tool_call>"}')]),
        (f"{CALL}\n{CALL}", "", [("get", '{"a": "}\\"<tool_call>"}')] * 2),
    ],
)
def test_calls_are_told_from_text(language, encode, text, said, calls):
    events = run(language, [*encode(text), END], calls=TAGGED)

    assert text_of(events) == said
    assert calls_of(events) == calls
    assert end_of(events).reason is (Reason.TOOL_CALLS if calls else Reason.END)


def test_each_call_has_an_id_of_its_own(language, encode):
    events = run(language, [*encode(f"{CALL}\n{CALL}"), END], calls=TAGGED)
    ids = [event.id for event in events if isinstance(event, CallDelta) and event.name]

    assert len(set(ids)) == 2


def test_a_call_that_is_cut_off_ends_by_length(language, encode):
    tokens = encode(CALL)[:50]
    events = run(language, tokens, calls=TAGGED, most_tokens=50)

    assert calls_of(events)[0][0] == "get"
    assert end_of(events).reason is Reason.LENGTH


def test_a_limit_behind_a_whole_call_is_still_a_limit(language, encode):
    """The model might have written another call: no client may take it for a finished turn."""
    tokens = encode(f"{CALL}\n{CALL}")
    events = run(language, tokens, calls=TAGGED, most_tokens=len(tokens))

    assert calls_of(events) == [("get", '{"a": "}\\"<tool_call>"}')] * 2
    assert end_of(events).reason is Reason.LENGTH
    assert end_of(run(language, [*tokens, END], calls=TAGGED)).reason is Reason.TOOL_CALLS


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ('{"name": "get", "parameters": {"a": [1]}}', "", [("get", '{"a": [1]}')]),
        ('So {"name": "get", "parameters": {}}', 'So {"name": "get", "parameters": {}}', []),
    ],
)
def test_calls_without_marks_are_whole_answers(language, encode, text, said, calls):
    events = run(language, [*encode(text), END], calls=BARE)

    assert text_of(events) == said
    assert calls_of(events) == calls
