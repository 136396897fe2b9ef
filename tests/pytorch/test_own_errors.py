"""An error of ours sends a call to the host: values are PyTorch's, and the report names it."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from onewafer.errors import InternalError
from onewafer.execution import launch_files
from onewafer.execution.auto import AutoExecutor
from onewafer.execution.executable import FabricExecutor
from onewafer.execution.loading import Loader
from onewafer.execution.resident_program import ResidentProgram
from onewafer.pytorch import (
    Fidelity,
    Session,
    WaferOptions,
    build_report,
    intercept_calls,
    programs,
    session,
)
from onewafer.pytorch.host_outputs import HostOutputs
from onewafer.pytorch.host_work import Cause
from onewafer.pytorch.report import work
from onewafer.pytorch.resident_model import ResidentModel
from onewafer.pytorch.training import repeats
from onewafer.pytorch.training.calls import TrainingCall
from onewafer.pytorch.training.copies import Copies
from onewafer.pytorch.training.following import Following
from onewafer.pytorch.training.known import KnownModule, LossSignature, OptimizerSignature
from onewafer.pytorch.training.live import LivePass
from onewafer.pytorch.training.modules import TrainedModule
from onewafer.pytorch.training.retained import RetainedGradients
from onewafer.pytorch.training.steps import Part


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Let calls run on the host where there is an error of ours, as users have it."""
    monkeypatch.setenv("ONEWAFER_RAISE_OWN_ERRORS", "0")
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(launch_files, "cache_folder", lambda: tmp_path)
    return tmp_path / "errors"


def fail(*_args, **_options):
    """Fail as code of ours does with an error that was not foreseen."""
    return list[int]()[17]


def wafer(**options):
    return Session(WaferOptions(rectangle=(2, 2), **{"fidelity": Fidelity.AUTO} | options))


def work_of(wafer):
    """Return the calls that the host made, and why."""
    works = [work for cause in Cause for work in wafer.ledger.host.of(cause)]
    assert build_report(wafer.ledger).host, "the report names them"
    return {
        str(task.refusal): work.calls for task, work in works if "a bug of" in str(task.refusal)
    }


BEFORE = {
    "look": (session, "signature_of"),
    "check": (session, "check_call"),
    "capture": (sys.modules["onewafer.pytorch.capture"], "_read"),
    "placement": (session, "place"),
    "load": (Loader, "load"),
    "inputs": (session, "check_indices"),
}
"""Stages before the host has computed the call → where the error is."""
AFTER = {
    "emission": (AutoExecutor, "find"),
    "compilation": (FabricExecutor, "__init__"),
    "launch": (FabricExecutor, "simulate"),
    "comparison": (AutoExecutor, "_compare"),
    "values of the host": (HostOutputs, "samples"),
    "buckets": (programs, "cut_into_buckets"),
    "count": (ResidentProgram, "count_call"),
}
"""Stages behind it."""
STAGES = BEFORE | AFTER


@pytest.mark.parametrize("stage", STAGES)
def test_the_host_answers_a_call_with_an_error_of_ours(monkeypatch, folder, stage):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval(), torch.ones(2, 6)
    here = wafer()
    runs = []
    model[1].register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        expected = model(x)
        runs.clear()
        with monkeypatch.context() as patch, intercept_calls(here):
            patch.setattr(*STAGES[stage], fail)
            assert torch.equal(model(x), expected)
        with intercept_calls(here):
            assert torch.equal(model(x), expected)

    works = work_of(here)
    assert sum(works.values()) == 2, works
    for reason in works:
        assert reason.startswith("a bug of onewafer, please report it (IndexError in ")
    (file,) = folder.iterdir()
    text = file.read_text()
    assert "IndexError" in text.splitlines()[0]
    assert str(file) in next(iter(works))
    assert "torch " in text


@pytest.mark.parametrize("stage", ["capture", "launch"])
@pytest.mark.parametrize("options", [{"strict": True}, {"fidelity": Fidelity.FABRIC}, {}])
def test_an_error_of_ours_is_one_for_who_wants_to_see_it(monkeypatch, stage, options):
    if not options:
        monkeypatch.setenv("ONEWAFER_RAISE_OWN_ERRORS", "1")
    monkeypatch.setattr(*STAGES[stage], fail)
    with torch.no_grad(), intercept_calls(wafer(**options)), pytest.raises(InternalError):
        nn.Linear(6, 5)(torch.ones(2, 6))


def test_an_error_of_the_script_is_the_scripts():
    class Broken(nn.Linear):
        def forward(self, x):
            return super().forward(x[:, : {"width": 3}["depth"]])

    here = wafer()
    with torch.no_grad(), intercept_calls(here), pytest.raises(KeyError):
        Broken(6, 5)(torch.ones(2, 6))
    assert work_of(here) == {}


@pytest.mark.parametrize("place", [(ResidentModel, "update"), (ResidentModel, "_count_call")])
@pytest.mark.alternate
def test_text_goes_on_behind_an_error_of_ours(monkeypatch, place):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model, ids = LlamaForCausalLM(config).eval(), torch.tensor([[1, 2, 3]])

    def generate():
        return model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)

    expected = generate()
    here, calls = wafer(), []
    right = getattr(*place)

    def fail_later(*args, **options):
        calls.append(1)
        return fail() if len(calls) == 2 else right(*args, **options)

    monkeypatch.setattr(*place, fail_later)
    with intercept_calls(here):
        assert torch.equal(generate(), expected)
    assert sum(work_of(here).values()) == 3, "the first token is the wafer's"


TRAINING = {
    "forward": (TrainedModule, "check"),
    "account of a call": (TrainingCall, "take_loss"),
    "backward": (TrainingCall, "backward"),
    "step": (Part, "account"),
    "following a loss": (Following, "note_loss"),
    "following a step": (Following, "note_step"),
    "following a call": (Following, "note_call"),
    "following a pass": (Following, "note_backward"),
}


@pytest.mark.parametrize("stage", TRAINING)
@pytest.mark.parametrize("good_steps", [0, 2])
@pytest.mark.alternate(4)
def test_training_goes_on_behind_an_error_of_ours(monkeypatch, stage, good_steps):
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    x, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 1])

    def train(model, before_step):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        losses = []
        for number in range(5):
            before_step(number)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, [parameter.detach().clone() for parameter in model.parameters()]

    losses, parameters = train(copy.deepcopy(first), lambda _: None)
    here = wafer()
    owner, name = TRAINING[stage]
    right = getattr(owner, name)

    def break_later(number):
        monkeypatch.setattr(owner, name, right if number < good_steps else fail)

    with intercept_calls(here):
        here_losses, here_parameters = train(copy.deepcopy(first), break_later)

    assert here_losses == losses
    assert all(map(torch.equal, here_parameters, parameters))
    assert work_of(here) or good_steps, "only a step that is known need not come to it"


KNOWN = {
    "beginning": (KnownModule, "find"),
    "call": (repeats, "version_of"),
    "loss": (LossSignature, "is_same"),
    "loss taken": (repeats, "target_of"),
    "backward": (LivePass, "leads_only_to"),
    "gradients": (LivePass, "given_now"),
    "clipping": (RetainedGradients, "is_whole"),
    "clipped": (RetainedGradients, "note"),
    "step": (OptimizerSignature, "is_same"),
    "stepped": (Copies, "take_some"),
    "account": (ResidentProgram, "repeat_all"),
}
"""Stages of a step that is known."""


@pytest.mark.parametrize("stage", KNOWN)
def test_known_steps_go_on_behind_an_error_of_ours(monkeypatch, stage):
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    x, y, here = torch.randn(4, 6), torch.tensor([0, 1, 2, 1]), wafer()

    def train(model, before_step):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        losses = []
        for number in range(8):
            before_step(number)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            losses.append(loss.item())
        return losses, [parameter.detach().clone() for parameter in model.parameters()]

    def break_later(number):
        if number == 5:
            assert here.training.repeats.num_repeated, "steps are known by now"
            monkeypatch.setattr(*KNOWN[stage], fail)

    losses, parameters = train(copy.deepcopy(first), lambda _: None)
    with intercept_calls(here):
        here_losses, here_parameters = train(copy.deepcopy(first), break_later)
    report = here.report(is_over=True)

    assert here_losses == losses
    assert all(map(torch.equal, here_parameters, parameters))
    assert work_of(here)
    assert any(cause.reason.startswith("a bug of onewafer") for cause in report.host)


def test_an_error_in_what_is_looked_up_for_the_report_costs_no_report(monkeypatch, folder):
    made = wafer(fidelity=Fidelity.MODEL)
    with intercept_calls(made), torch.no_grad():
        nn.Linear(6, 5)(torch.ones(2, 6))
    monkeypatch.setattr(work, "find_fastest", fail)

    (cannot,) = made.report(looks_further=True).work.elsewhere

    (kept,) = folder.iterdir()
    assert cannot.refusal.startswith("a bug of onewafer, please report it (IndexError")
    assert cannot.refusal.endswith(f"kept in {kept})")
    monkeypatch.setenv("ONEWAFER_RAISE_OWN_ERRORS", "1")
    with pytest.raises(InternalError, match="IndexError"):
        Session(made.options, ledger=made.ledger).report(looks_further=True)
