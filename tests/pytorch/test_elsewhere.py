"""The work of a run on other systems: the same step, pass or token as `onewafer compare` has it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.errors import ConfigurationError
from onewafer.perf import Forward, Prefill, Train, known_error, repeat_on
from onewafer.perf.compare import CompareOptions, compare
from onewafer.perf.gpu import GpuOptions
from onewafer.pytorch import Fidelity, Session, WaferOptions, render, run_on
from onewafer.pytorch.report.elsewhere import model_of
from onewafer.terminal import to_text
from tests.pytorch.training.test_sequences import TOKENS, Decoder

OPTIONS = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2))


def train(
    *, rows: int = 5, make=lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
):
    """Train a small model for two steps; return the session."""
    session, model = Session(OPTIONS), make()
    with run_on(session):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            shown = model(torch.ones(rows, 6))
            functional.cross_entropy(shown, torch.zeros(rows, dtype=torch.int64)).backward()
            optimizer.step()
    return session


def test_a_training_step_is_that_of_compare_for_the_batch_that_devices_share():
    session = train()
    report = session.report(is_over=True, against=("h100x8", "h100x1", "cs3"))
    found = report.work
    (program,) = report.programs
    assert found.what == "a training step of 5 samples"
    assert found.seconds == program.step.seconds
    assert found.rows_per_second == pytest.approx(program.step.samples_per_second)
    assert found.energy == program.step.energy
    model = model_of(session.ledger.programs[0])
    assert model.num_weights == 6 * 5 + 5 + 5 * 4 + 4
    for one, batch in zip(found.elsewhere, (8, 8, 5), strict=True):
        job = Train(tokens=batch, sequence=1, batch=batch)
        (answer,) = compare(model, job, [one.system], CompareOptions()).answers
        assert one.seconds == answer.breakdown.seconds
        assert one.rows_per_second == 5 / one.seconds  # what fills up the batch does not count
        assert one.joules == answer.watts * one.seconds
        assert one.error == known_error(model, job, one.system) is not None
        assert not one.is_compared  # published figures are of models that are far larger
        assert any("filled up to 8" in note for note in one.notes) is (batch == 8)
    lines, tables = to_text(render(report), 200), to_text(render(report, is_verbose=True), 200)
    assert lines.count("Never compared with published figures of models this small") == 3
    assert tables.startswith(lines.partition("all tables")[0])
    assert "Sequential, a training step of 5 samples, here and elsewhere" in tables
    assert (
        "such figures are off by 6.9 %, the median of 18, and at most 21 %; of models th" in tables
    )


def test_no_batch_is_slower_than_the_one_that_was_taken():
    model = model_of(train().ledger.programs[0])
    for batch in (1, 3, 63, 64, 65):
        taken = repeat_on(
            model, Train(tokens=batch, sequence=1, batch=batch), "h100x8", CompareOptions()
        )
        assert taken.batch >= batch
        times = [
            answer.breakdown.seconds
            for size in range(batch, batch + 9)
            for answer in compare(
                model, Train(tokens=size, sequence=1, batch=size), ["h100x8"], CompareOptions()
            ).answers
        ]
        assert taken.answer.breakdown.seconds <= min(times) * 1.2


def test_a_pass_without_gradients_is_compared_by_itself():
    session, model = Session(OPTIONS), nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    with run_on(session), torch.no_grad():
        model(torch.ones(7, 6))
    found = session.report(is_over=True, against=("h100x1",)).work
    described = model_of(session.ledger.programs[0])
    (answer,) = compare(described, Forward(batch=7), ["h100x1"]).answers
    assert found.what == "a pass over 7 samples"
    assert found.elsewhere[0].seconds == answer.breakdown.seconds
    assert found.elsewhere[0].rows_per_second == 7 / answer.breakdown.seconds


def test_a_forward_pass_that_nothing_follows_is_a_pass():
    session, model = Session(OPTIONS), nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    with run_on(session):
        model(torch.ones(7, 6))
    found = session.report(is_over=True, against=("h100x1",)).work
    assert found.what == "a pass over 7 samples"
    assert found.seconds == session.report().programs[0].seconds_per_launch


@pytest.mark.parametrize("trains", [True, False])
def test_a_batch_of_sequences_is_one_there(trains):
    session, model = Session(OPTIONS), Decoder()
    ids = torch.zeros(3, TOKENS, dtype=torch.int64)
    with run_on(session), torch.set_grad_enabled(trains):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            if not trains:
                model(ids)
                continue
            model(ids, ids).backward()
            optimizer.step()
    found = session.report(is_over=True, against=("h100x2",)).work
    described = model_of(session.ledger.programs[0])
    assert described.num_weights == sum(weight.numel() for weight in model.parameters())
    sequences = f"3 sequences of {TOKENS} tokens"
    assert found.what == f"a {'training step of' if trains else 'pass over'} {sequences}"
    assert session.report().programs[found.program].is_in_tokens
    (there,) = found.elsewhere
    assert there.rows_per_second == 3 * TOKENS / there.seconds
    job = (
        Train(tokens=4 * TOKENS, sequence=TOKENS, batch=4)
        if trains
        else Prefill(batch=3, tokens=TOKENS)
    )
    options = CompareOptions(gpu=GpuOptions(is_served=False))
    (answer,) = compare(described, job, ["h100x2"], options).answers
    assert there.seconds == answer.breakdown.seconds
    if not trains:  # a serving engine's 2.6 ms for each prompt are no part of a script's pass
        assert there.seconds < 1e-3
        assert there.error is None
        assert "without a serving engine" in there.notes[0]
        assert "what Python and the start of kernels take" in there.notes[-1]


class Pictures(nn.Module):
    """A convolution with a norm over the batch, of pictures of 2×3 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU())
        self.scores = nn.Linear(4, 4)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.scores(self.maps(rows.unflatten(1, (1, 2, 3))).flatten(1))


def test_a_step_on_pictures_has_norms_over_the_batch_and_a_wafer_says_why_it_cannot():
    session = train(make=Pictures)
    found = session.report(is_over=True, against=("h100x1", "cs3")).work
    model = model_of(session.ledger.programs[0])
    operations = [type(op).__name__ for piece in model.segments for op in piece.graph.operations]
    assert operations.count("BatchNorm") == 1
    assert not {"BatchMean", "BatchVariance"} & {*operations}
    assert model.num_weights == sum(weight.numel() for weight in Pictures().parameters())
    there, wafer = found.elsewhere
    job = Train(tokens=5 * 6, sequence=6, batch=5)
    (answer,) = compare(model, job, ["h100x1"]).answers
    assert found.what == "a training step of 5 samples"
    assert there.seconds == answer.breakdown.seconds
    assert there.error == known_error(model, job, "h100x1")
    assert "a convolution is three products" in there.notes[-2]
    assert wafer.refusal.endswith("laid out by `onewafer run --fidelity model SCRIPT`")


def test_a_run_without_work_on_the_wafer_has_nothing_to_compare():
    with pytest.raises(ConfigurationError, match="no step or pass to compare with h100x8"):
        Session(OPTIONS).report(against=("h100x8",))
