"""The launches that a check of infinities notes."""

from __future__ import annotations

import pytest

from onewafer.execution.finiteness import FinitenessCheck
from onewafer.graph import DataType


class _Counted:
    """A launch that counts how often its position is read."""

    num_reads = 0

    def __init__(self, start):
        self._start = start

    @property
    def start(self):
        _Counted.num_reads += 1
        return self._start


def test_a_long_sequence_is_noted_in_linear_time(monkeypatch):
    monkeypatch.setattr(_Counted, "num_reads", 0)
    check = FinitenessCheck(None, DataType.F32, pytest.fail)
    for start in range(100):
        check.note({}, _Counted(start))
    assert _Counted.num_reads < 500
    check.note({}, _Counted(40))
    assert [launch.start for _, launch in check._launches] == [*range(41)]
