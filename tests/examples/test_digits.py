"""The digits example: the same output with and without the wafer."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from onewafer.cli.main import execute
from onewafer.pytorch import Fidelity, Session, WaferOptions
from tests.pytorch.agreement import assert_agrees

SCRIPT = Path(__file__).parents[2] / "examples" / "digits.py"


@pytest.mark.slow
def test_script_is_ordinary_and_its_output_the_same_on_the_wafer(tmp_path, capsys):
    report = tmp_path / "report.json"
    runpy.run_path(str(SCRIPT), run_name="__main__")
    plain = capsys.readouterr().out
    assert execute(["run", "--fidelity", "model", "--json", str(report), str(SCRIPT)]) == 0
    assert "onewafer" not in SCRIPT.read_text()
    assert capsys.readouterr().out == plain
    accuracy = re.fullmatch(r"accuracy on 360 held-out digits: (\d+\.\d)%\n", plain)
    assert accuracy is not None
    assert float(accuracy[1]) > 95
    fields = json.loads(report.read_text())
    assert (fields["wafer_calls"], fields["host"]) == (20 * 23 + 6, [])
    (program,) = fields["programs"]
    assert (program["fidelity"], program["samples"]) == ("model", 20 * 1437 + 360)
    assert program["memory"]["weight_bytes"] > 0
    assert program["memory"]["training_bytes"] > program["memory"]["weight_bytes"]


def test_logits_and_predictions_agree_with_the_host():
    example = runpy.run_path(str(SCRIPT))
    torch.manual_seed(0)
    train_set, test_set = example["load_data"]()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    example["train"](model, train_set, epochs=3)
    images = test_set.tensors[0][:64]
    wafer = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(4, 4)))
    with torch.no_grad():
        expected, result = model(images), wafer.call(model, (images,), {})
    bound = torch.from_numpy(assert_agrees(wafer, model, images, result))
    # The host ranks the wafer's prediction first too, or within the bound of the first.
    predicted = result.argmax(dim=1, keepdim=True)
    behind = expected.max(dim=1).values - expected.gather(1, predicted).squeeze(1)
    assert (behind <= 2 * bound.max(dim=1).values).all()
    assert bound.max() < 1e-3 * expected.abs().max()
