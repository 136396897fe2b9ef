"""Slots as a prefix cache: which one a sequence gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.server.scheduler import Arrival
from onewafer.server.scheduler.slots import Slot, Slots

if TYPE_CHECKING:
    import pytest

_SHARED = tuple(range(100))


def _arrival(*tail: int) -> Arrival:
    return Arrival(id=0, seconds=0.0, prompt=(*_SHARED, *tail), most_tokens=1)


def _full(num_slots: int) -> Slots:
    """Return free slots that have the same beginning, and a tail of their own."""
    slots = Slots(replicas=1, num_slots=num_slots, room_tokens=10**6)
    taken = [slots.take(_arrival(n)) for n in range(num_slots)]
    for n, found in enumerate(taken):
        assert found is not None
        slots.release(found[0], (*_SHARED, n, n))
    return slots


def test_the_slot_with_most_of_the_prompt_is_taken() -> None:
    found = _full(8).take(_arrival(5, 5, 7))
    assert found is not None
    assert (found[0].order, found[1]) == (5, 102)


def test_the_slot_that_was_used_longest_ago_is_taken_of_equal_ones() -> None:
    found = _full(8).take(_arrival(50))
    assert found is not None
    assert (found[0].order, found[1]) == (0, 100)


def test_prompts_are_compared_with_few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    slots, compared = _full(64), list[Slot]()
    compare = Slot.common

    def note(slot: Slot, prompt: tuple[int, ...]) -> int:
        compared.append(slot)
        return compare(slot, prompt)

    monkeypatch.setattr(Slot, "common", note)
    assert slots.take(_arrival(40, 40)) is not None
    assert len(compared) == 2
