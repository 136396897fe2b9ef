"""The coverage tool: what it finds, what it does about models that fail, what its page says."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from onewafer.pytorch import Fidelity
from tools.model_coverage import __main__ as command
from tools.model_coverage import build as build_module
from tools.model_coverage.model import Floats, Group, Model, Tokens
from tools.model_coverage.models import MODELS
from tools.model_coverage.page import model_rows, render, shares
from tools.model_coverage.processes import Limits, Trial, run_trials
from tools.model_coverage.record import Fallback, Outcome, Place, load, new_record, save
from tools.model_coverage.trial import difference, try_model

BERT = next(model for model in MODELS if model.name == "BertModel")


class Sine(nn.Module):
    """The wafer has no sine."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.sin(self.linear(x))


class Plain(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)

    def forward(self, x):
        return super().forward(x)


class Raising(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)

    def forward(self, x):  # noqa: ARG002
        raise KeyError("mine")


class Endless(Plain):
    def forward(self, x):
        while True:
            x = x + 1


class Dying(Plain):
    def forward(self, x):  # noqa: ARG002
        import os  # noqa: PLC0415

        os._exit(7)


CLASSES = {kind.__name__: kind for kind in (Sine, Plain, Raising, Endless, Dying)}


def model_of(kind):
    return Model(kind.__name__, Group.ENCODER, {}, {"x": Floats((3, 4))}, rectangle=(2, 2))


@pytest.fixture(autouse=True)
def _own_models(monkeypatch):
    """Let names stand for the classes above, those of transformers as before."""
    from_library = build_module._build_transformers

    def build(model):
        return CLASSES[model.name]() if model.name in CLASSES else from_library(model)

    monkeypatch.setattr(build_module, "_build_transformers", build)
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)  # the tool takes one


@pytest.mark.slow
def test_a_class_of_transformers_is_wholly_on_the_wafer():
    outcome = try_model(BERT, Fidelity.MODEL)
    assert (outcome.place, outcome.fallbacks, outcome.programs) == (Place.WAFER, (), 1)
    assert outcome.is_right
    assert 0 < outcome.difference < 1e-5
    assert outcome.cycles > 1000


def test_parts_and_reasons_are_found_in_both_fidelities():
    for fidelity in Fidelity:
        outcome = try_model(model_of(Sine), fidelity)
        assert (outcome.place, outcome.is_right) == (Place.BOTH, True)
        ((fallback),) = outcome.fallbacks
        assert (fallback.module, fallback.operation, fallback.calls) == ("Sine", "sin", 1)


def test_an_error_is_an_outcome():
    outcome = try_model(model_of(Raising), Fidelity.MODEL)
    assert (outcome.place, outcome.is_right) == (Place.FAILED, False)
    assert outcome.failure.startswith("KeyError: 'mine' (test_model_coverage.py:")


@pytest.mark.slow
def test_a_model_that_dies_or_never_ends_takes_nothing_with_it():
    kinds = (Dying, Endless, Plain)
    trials = [Trial(model_of(kind), Fidelity.MODEL) for kind in kinds]
    found = {o.model: o for o in run_trials(trials, Limits(cpu_seconds=8), num_processes=2)}
    assert found["Dying"].failure == "its process ended with code 7"
    assert found["Endless"].failure == "no end within 8 s of CPU time"
    assert (found["Plain"].place, found["Plain"].is_right) == (Place.WAFER, True)


ONE = torch.tensor([1.0, -2.0])


@pytest.mark.parametrize(
    ("expected", "found", "share"),
    [
        (ONE, ONE.clone(), 0.0),
        (ONE, ONE + torch.tensor([0.5, 0]), 0.25),
        ({"a": ONE, "b": None}, {"a": ONE, "b": None}, 0.0),
        ([ONE, 3 * ONE], [ONE, 3.3 * ONE], pytest.approx(0.1)),
        (ONE, ONE.double(), None),
        (ONE, ONE[:1], None),
        (ONE, [ONE], None),
        ((ONE, 1), (ONE, 2), None),
        (torch.tensor([1, torch.nan]), torch.tensor([1, torch.nan]), 0.0),
        (torch.tensor([1, torch.nan]), torch.tensor([1, 0.0]), None),
        (torch.tensor([1, torch.inf]), torch.tensor([1, -torch.inf]), None),
        (ONE, torch.tensor([1, torch.nan]), None),
        (torch.zeros(2), torch.tensor([0, 1e-30]), 1.0),
        (torch.tensor([1 + 1j]), torch.tensor([1 + 2j]), 1.0),
    ],
)
def test_difference(expected, found, share):
    assert difference(expected, found) == share


def outcome_of(model, fidelity, place=Place.WAFER, error=1e-7, **fields):
    return Outcome(model, "group", fidelity, place, error, **fields)


REASON = "`cat`: concatenating computed tensors is not supported"
RECORD = replace(
    new_record(),
    versions={"torch": "2.9"},
    outcomes=(
        outcome_of("Whole", "fabric", cycles=1200),
        outcome_of("Whole", "model", cycles=1100),
        outcome_of("Half", "fabric", Place.BOTH, fallbacks=(Fallback("Half", REASON, 2),)),
        outcome_of("Half", "model", Place.BOTH, fallbacks=(Fallback("Half", REASON, 2),)),
        outcome_of("Wrong", "fabric", error=0.5),
        outcome_of("Wrong", "model"),
        outcome_of("Broken", "fabric", Place.FAILED, None, failure="ValueError: a|b"),
        outcome_of("Broken", "model", Place.FAILED, None, failure="ValueError: a|b"),
    ),
)


def test_only_right_values_count():
    found = shares(model_rows(RECORD))
    assert (found.models, found.right, found.whole) == (4, 2, 1)
    assert not found.meets_goals


def test_page_says_what_the_record_says():
    page = render(RECORD)
    for line in (
        "| at least 90% run with right values | 50.0% | **missed** |",
        "| at least 40% without a fallback | 25.0% | **missed** |",
        "| **all** | 4 | 2 | 1 | 0 | 1 | 2 |",
        "| cat | 1 | Half |",
        "| Whole | wholly on the wafer | 1e-07 | 1,200 (fabric), 1,100 (model) |  |",
        "| Half | parts on the wafer | 1e-07 | – | cat (2 calls) |",
        "| Wrong | wholly on the wafer | **wrong**: 5e-01 (fabric), 1e-07 (model) | – |  |",
        "| Broken | failed | failed | – | ValueError: a\\|b |",
    ):
        assert line in page.splitlines()


def test_record_is_kept_and_outcomes_replace_older_ones(tmp_path):
    path = tmp_path / "record.json"
    save(RECORD, path)
    assert load(path) == RECORD
    again = RECORD.with_outcome(outcome_of("Wrong", "fabric")).only(["Wrong", "Whole"])
    assert [(o.model, o.fidelity) for o in again.outcomes] == [
        ("Wrong", "fabric"),
        ("Wrong", "model"),
        ("Whole", "fabric"),
        ("Whole", "model"),
    ]
    assert all(outcome.is_right for outcome in again.outcomes)
    path.write_text(json.dumps({"format": "another"}))
    with pytest.raises(ValueError, match="is not a record"):
        load(path)


def test_command_runs_resumes_and_checks(tmp_path, capsys):
    models = [model_of(Plain), model_of(Raising)]
    record, page = tmp_path / "coverage.json", tmp_path / "coverage.md"
    files = ["--record", str(record), "--page", str(page), "--fidelity", "model"]
    assert command.main([*files, "--only", "Plain"], models) == 0
    first = load(record)
    assert command.main([*files, "--resume"], models) == 1
    assert load(record).outcomes[0] == first.outcomes[0]
    assert [outcome.place for outcome in load(record).outcomes] == [Place.WAFER, Place.FAILED]
    output = capsys.readouterr()
    assert "Raising (model): KeyError: 'mine'" in output.err
    assert "the goals are missed" in output.out
    assert command.main([*files, "--check"], models) == 0
    page.write_text("another")
    assert command.main([*files, "--check"], models) == 1
    assert command.main([*files, "--only", "Plane"], models) == 2
    assert "no model Plane" in capsys.readouterr().err


def test_record_of_other_versions_is_not_mixed_with(tmp_path):
    record = tmp_path / "coverage.json"
    save(RECORD, record)
    with pytest.raises(SystemExit, match="run everything"):
        command.main(["--resume", "--record", str(record)], [model_of(Plain)])


def test_the_list_has_enough_classes_and_no_name_twice():
    names = [model.name for model in MODELS]
    assert len(set(names)) == len(names) >= 100
    assert {type(wanted) for model in MODELS for wanted in model.inputs.values()} == {
        Tokens,
        Floats,
    }


def test_the_page_in_the_documents_follows_from_its_record():
    assert command.main(["--check"]) == 0
