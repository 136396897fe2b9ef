"""Steps without PyTorch's label: profilers and replacements of a script find what they look for."""

from __future__ import annotations

import functools

import torch

from onewafer.pytorch.training.labels import label, unlabelled
from onewafer.pytorch.training.optimizers import STEPPED


def take(step, *, times: int = 2):
    """Return a parameter after some steps by a function."""
    weight = torch.nn.Parameter(torch.arange(3.0))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    for _ in range(times):
        weight.grad = torch.ones(3)
        step(optimizer)
    return weight


def test_a_step_is_the_same_without_its_label():
    plain = torch.optim.AdamW.step
    assert torch.equal(take(plain), take(unlabelled(plain)))


def test_a_profiler_gets_the_label():
    step = unlabelled(torch.optim.AdamW.step)
    with torch.autograd.profiler.profile() as profiler:
        take(step)
    names = [event.name for event in profiler.function_events]
    assert names.count("Optimizer.step#AdamW.step") == 2


def test_a_step_that_a_script_has_replaced_is_left_alone():
    calls = []

    @functools.wraps(torch.optim.AdamW.step)
    def step(optimizer):
        calls.append(optimizer)
        return original(optimizer)

    original = torch.optim.AdamW.step
    take(unlabelled(step))
    assert len(calls) == 2


def test_classes_are_labelled_once():
    before = [vars(kind)["step"] for kind in STEPPED]
    label(STEPPED)
    assert [vars(kind)["step"] for kind in STEPPED] == before
    take(torch.optim.AdamW.step, times=1)  # PyTorch labels a class that has no label yet
    assert [vars(kind)["step"] for kind in STEPPED] == before
