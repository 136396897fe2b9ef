from onewafer.server.contract.events import Delta, Ended, Reason, Started
from onewafer.server.http.answer import joined

STARTED = Started(prompt_tokens=1, cached_tokens=0)


def delta(answer, text):
    return Delta(answer=answer, text=text, tokens=tuple(map(ord, text)))


def test_neighbours_of_one_answer_become_one_delta():
    end = Ended(answer=0, reason=Reason.LENGTH)
    events = [STARTED, delta(0, "a"), delta(0, "b"), delta(1, "c"), delta(1, "d"), delta(0, "e")]

    assert list(joined([*events, end, delta(1, "f"), delta(1, "g")])) == [
        STARTED,
        delta(0, "ab"),
        delta(1, "cd"),
        delta(0, "e"),
        end,
        delta(1, "fg"),
    ]
