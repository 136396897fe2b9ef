"""Slots as a prefix cache: which one a sequence gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.server.scheduler.slots import Slot, Slots

if TYPE_CHECKING:
    import pytest

_SHARED = tuple(range(100))


def _take(slots: Slots, *tail: int) -> tuple[Slot, int]:
    prompt = (*_SHARED, *tail)
    found = slots.take(prompt, reserved=len(prompt) + 1)
    assert found is not None
    return found


def _full(num_slots: int) -> Slots:
    """Return free slots that have the same beginning, and a tail of their own."""
    slots = Slots(replicas=1, num_slots=num_slots, room_tokens=10**6)
    taken = [_take(slots, n)[0] for n in range(num_slots)]
    for n, slot in enumerate(taken):
        slots.release(slot, (*_SHARED, n, n))
    return slots


def test_the_slot_with_most_of_the_prompt_is_taken() -> None:
    slot, cached = _take(_full(8), 5, 5, 7)
    assert (slot.order, cached) == (5, 102)


def test_the_slot_that_was_used_longest_ago_is_taken_of_equal_ones() -> None:
    slot, cached = _take(_full(8), 50)
    assert (slot.order, cached) == (0, 100)


def test_prompts_are_compared_with_few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    slots, compared = _full(64), list[Slot]()
    compare = Slot.common

    def note(slot: Slot, prompt: tuple[int, ...]) -> int:
        compared.append(slot)
        return compare(slot, prompt)

    monkeypatch.setattr(Slot, "common", note)
    _take(slots, 40, 40)
    assert len(compared) == 2
