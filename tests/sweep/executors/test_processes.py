"""Worker processes: the same outcomes as in one, and none lost with a process that dies."""

import pytest

import onewafer.sweep.executors.processes as module
from onewafer.errors import ConfigurationError
from onewafer.sweep.executors import Batch, InProcess, Processes, choose_workers
from onewafer.sweep.subjects.outcome import Status
from onewafer.sweep.subjects.subject import Share
from tests.sweep.dying_tasks import Answering, Beside, Dying


def batches(tasks, size):
    keyed = [(f"key {number}", task) for number, task in enumerate(tasks)]
    return [
        Batch(*(tuple(part) for part in zip(*keyed[first : first + size], strict=True)))
        for first in range(0, len(keyed), size)
    ]


@pytest.mark.slow
def test_processes_come_to_what_one_comes_to_and_outlive_a_death(tmp_path):
    answering = [Answering(number) for number in range(9)]
    expected = dict(InProcess(Share()).outcomes(batches(answering, 3)))
    assert expected["key 7"].reason == "seven is refused"
    tasks = [*answering, Dying(str(tmp_path / "witness"), 1)]
    found = dict(Processes(2, Share()).outcomes(batches(tasks, 5)))

    assert {key: found[key] for key in expected} == expected
    assert found["key 9"].status is Status.ANSWERED


def test_a_task_is_not_blamed_for_a_death_beside_it(tmp_path):
    witness = str(tmp_path / "witness")
    found = dict(Processes(2, Share()).outcomes(batches([Beside(witness), Dying(witness, 99)], 1)))

    assert found["key 0"].status is Status.ANSWERED
    assert found["key 1"].status is Status.FAILED
    assert "its process ended without an answer" in found["key 1"].reason


def test_workers_are_as_many_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 8)
    monkeypatch.setattr(module, "available_memory", lambda: 30 * 10**9)

    assert choose_workers(None, memory=10**9, batches=100) == 8
    assert choose_workers(None, memory=10**9, batches=3) == 3
    assert choose_workers(None, memory=7_300_000_000, batches=100) == 4
    assert choose_workers(None, memory=10**11, batches=100) == 1
    assert choose_workers(3, memory=10**9, batches=1) == 3
    with pytest.raises(ConfigurationError, match=r"5 workers of 7\.3 GB each .* 4 fit"):
        choose_workers(5, memory=7_300_000_000, batches=100)
