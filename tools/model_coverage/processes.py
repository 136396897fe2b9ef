"""Try models in processes of their own, a few at a time, each with limits of time and memory.

A process is a fork of one that has loaded the libraries and compiled the simulator, so that a model
that crashes or never ends takes nothing with it and the others start at once.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, cast

import torch
import transformers

from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from tools.model_coverage.model import USUAL_RECTANGLE
from tools.model_coverage.trial import describe, failed, try_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from tools.model_coverage.model import Model
    from tools.model_coverage.record import Outcome

_WALL_FACTOR = 10
"""Seconds by the clock for each second of CPU time: other work may share the machine."""
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to try."""

    model: Model
    fidelity: Fidelity


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one trial."""

    cpu_seconds: int = 240
    memory_bytes: int = 6 * 2**30


@dataclass(frozen=True, slots=True)
class _Running:
    trial: Trial
    process: BaseProcess
    answer: Connection
    deadline: float


def warm_up(fidelities: Sequence[Fidelity]) -> None:
    """Load once what every trial needs; processes made later have it."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GELU()).requires_grad_(False)  # noqa: FBT003  # as in torch
    for fidelity in fidelities:
        with intercept_calls(Session(WaferOptions(fidelity=fidelity, rectangle=USUAL_RECTANGLE))):
            model(torch.ones(2, 4))


def run_trials(trials: Sequence[Trial], limits: Limits, *, num_processes: int) -> Iterator[Outcome]:
    """Yield the outcomes as they come."""
    waiting, running = [*reversed(trials)], list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < num_processes:
                running.append(_start(waiting.pop(), limits))
            wait([one.answer for one in running], timeout=_POLL_SECONDS)
            for one in [*running]:
                outcome = _collect(one, limits)
                if outcome is not None:
                    running.remove(one)
                    yield outcome
    finally:
        for one in running:
            _end(one)


def _start(trial: Trial, limits: Limits) -> _Running:
    context = multiprocessing.get_context("fork")
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(trial, limits, sender))
    process.start()
    sender.close()
    return _Running(trial, process, answer, time.monotonic() + _WALL_FACTOR * limits.cpu_seconds)


def _serve(trial: Trial, limits: Limits, sender: Connection) -> None:
    """Send the outcome; runs in a process of its own."""
    torch.set_num_threads(1)  # a fork has no threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends this process
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    used = int(time.process_time())  # a fork begins at zero, but for the part of a second
    resource.setrlimit(resource.RLIMIT_CPU, (used + limits.cpu_seconds, resource.RLIM_INFINITY))
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  # not a path of files
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        sender.send(try_model(trial.model, trial.fidelity))
    except MemoryError as error:
        sender.send(failed(trial.model, trial.fidelity, describe(error)))


def _collect(one: _Running, limits: Limits) -> Outcome | None:
    """Return the outcome of a process that has one, or has come to an end otherwise."""
    failure = ""
    if one.answer.poll():
        with suppress(EOFError):
            outcome = cast("Outcome", one.answer.recv())
            _end(one)
            return outcome
        one.process.join()
        failure = _explain(one.process.exitcode, limits)
    elif time.monotonic() > one.deadline:
        failure = f"no end within {_WALL_FACTOR * limits.cpu_seconds} s"
    if not failure:
        return None
    _end(one)
    return failed(one.trial.model, one.trial.fidelity, failure)


def _explain(exit_code: int | None, limits: Limits) -> str:
    if exit_code == -signal.SIGXCPU:
        return f"no end within {limits.cpu_seconds} s of CPU time"
    if exit_code is not None and exit_code < 0:
        return f"its process was ended by signal {-exit_code}"
    return f"its process ended with code {exit_code}"


def _end(one: _Running) -> None:
    one.process.kill()
    one.process.join()
    one.answer.close()
    sys.stdout.flush()
