"""`onewafer compare` as a user meets it, with a small model in the place of a captured one."""

import json

import pytest

import onewafer
import onewafer.perf
from onewafer.cli.main import execute
from tests.perf.dense_model import Sizes, dense_model

SMALL = Sizes(layers=4, hidden=512, heads=8, kv_heads=2, features=64, inner=1024, vocabulary=4096)
PINS = ("--mode", "pipeline", "--region", "64x64")
ON_A_PINNED_WAFER = ("--context", "128", "--against", "", *PINS)
"""Nothing to search for, hence fast."""


@pytest.fixture(autouse=True)
def _small_model(monkeypatch):
    """Give every name of the catalogue to the same small model."""
    monkeypatch.setattr(onewafer.perf, "kept_model", lambda name: dense_model(name, SMALL))


def _run(capsys, *arguments):
    code = execute(["compare", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.slow
def test_decode_on_a_wafer_and_on_gpus(tmp_path, capsys):
    target = tmp_path / "comparison.json"
    code, out, err = _run(
        capsys,
        "llama-3.1-8b",
        *("--context", "256", "--on", "cs3", "--against", "h100x2,b200"),
        *("--json", str(target)),
    )

    assert (code, err) == (0, "")
    assert "llama-3.1-8b: decode, batch 1, context 256" in out
    document = json.loads(target.read_text())
    (comparison,) = document["comparisons"]
    assert comparison["job"] == {"kind": "decode", "batch": 1, "context": 256}
    assert [result["system"] for result in comparison["results"]] == ["cs3", "h100x2", "b200x1"]
    for result in comparison["results"]:
        items = [item["seconds"] for item in result["breakdown"]]
        assert sum(items) == pytest.approx(result["tpot_seconds"])
        assert result["longest_context"] <= 131_072


def test_a_published_figure_of_the_same_model_and_device_is_shown(capsys):
    code, out, _ = _run(capsys, "llama-3.1-8b", *ON_A_PINNED_WAFER)

    assert code == 0
    assert "1,800 tokens/s" in out
    assert "Introducing Cerebras Inference" in out


def test_a_wafer_stands_for_the_system_around_it(capsys):
    code, out, err = _run(capsys, "llama-3.1-8b", "--on", "wse3", *ON_A_PINNED_WAFER)

    assert (code, err) == (0, "onewafer: wse3: the system around it is compared, cs3\n")
    assert "CS-3, WSE-3 at 850 MHz" in out
    assert "1,800 tokens/s" in out


def test_prefill_shows_utilisation(capsys):
    code, out, _ = _run(
        capsys, "llama-3.1-8b", "--prefill", "--context", "512", "--on", "", "--against", "h100"
    )

    assert code == 0
    assert "model FLOP utilisation" in out


def test_serving_is_a_curve_with_a_picture(tmp_path, capsys):
    plot, target = tmp_path / "curve.svg", tmp_path / "curve.json"
    code, out, _ = _run(
        capsys,
        *("llama-3.1-8b", "--serve", "--prompt", "64", "--answer", "32"),
        *("--on", "", "--against", "h100,h200"),
        *("--plot", str(plot), "--json", str(target)),
    )

    assert code == 0
    assert "serving prompts of 64 and answers of 32 tokens" in out
    assert plot.read_bytes().startswith(b"<?xml")
    points = json.loads(target.read_text())["comparisons"]
    rates = [point["results"][0]["tokens_per_second"] for point in points]
    latencies = [point["results"][0]["tpot_seconds"] for point in points]
    assert rates == sorted(rates)
    assert latencies == sorted(latencies)


def test_training_on_gpus(capsys):
    code, out, _ = _run(
        capsys,
        *("llama-3.1-8b", "--train", "--tokens", "1e9", "--sequence", "1024", "--batch", "64"),
        *("--on", "", "--against", "h100x8", "--plan", "tp2"),
    )

    assert code == 0
    assert "time of the run" in out
    assert "(you chose it)" in out


def test_a_higher_clock_makes_a_wafer_faster(tmp_path, capsys):
    times = []
    for clock in ("750MHz", "1.1GHz"):
        target = tmp_path / f"{clock}.json"
        arguments = ("--clock", clock, "--json", str(target))
        assert _run(capsys, "llama-3.1-8b", *ON_A_PINNED_WAFER, *arguments)[0] == 0
        (result,) = json.loads(target.read_text())["comparisons"][0]["results"]
        times.append(result["tpot_seconds"])

    assert times[1] < times[0]


def test_a_price_becomes_one_of_tokens(capsys):
    code, out, _ = _run(
        capsys,
        *("llama-3.1-8b", "--context", "64", "--on", "", "--against", "h100x2"),
        *("--price", "h100=2.5"),
    )

    assert code == 0
    assert "price of 1 M tokens" in out


def test_the_list_names_models_and_systems(capsys):
    code, out, _ = _run(capsys, "--list")

    assert code == 0
    assert "llama-3.1-405b" in out
    assert "wafers: cs2, cs3; GPUs: a100" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a model (--list shows all) or a PyTorch script"),
        (("llama-3.1-8b", "8"), "'8': only a script takes arguments"),
        (("lama-3.1-8b",), "did you mean llama-3.1-8b"),
        (("script.py",), "there is no script script.py"),
        (("llama-3.1-8b", "--on", "cs9"), "there is no system 'cs9'; nearest: cs3"),
        (("llama-3.1-8b", "--against", "h10x8"), "there is no system 'h10x8'; nearest: h100x8"),
        (("llama-3.1-8b", "--on", "h100x0"), "write how many after the x, at least 1: h100x8"),
        (("llama-3.1-8b", "--on", "", "--against", ","), "no system is named"),
        (("llama-3.1-8b", "--batch", "0"), "--batch 0: write a whole number of at least 1"),
        (("llama-3.1-8b", "--context", "200000"), "made for sequences of up to 131,072 tokens"),
        (("llama-3.1-8b", "--decode", "--train"), "--decode and --train are different jobs"),
        (("llama-3.1-8b", "--tokens", "1e12"), "--tokens belongs to --train"),
        (("llama-3.1-8b", "--precision", "int3"), "--precision int3: choose from fp32, bf16"),
        (("llama-3.1-8b", "--wafer-precision", "fp8"), "a wafer has no arithmetic for fp8"),
        (("llama-3.1-8b", "--goal", "fun"), "--goal fun: choose from latency, throughput"),
        (("llama-3.1-8b", "--mode", "fun"), "--mode fun: choose from whole, pipeline, streaming"),
        (("llama-3.1-8b", "--clock", "fast"), "write a frequency, e.g. 850MHz"),
        (("llama-3.1-8b", "--clock", "850"), "no clock of 850 Hz; write one between 1 MHz and"),
        (
            ("llama-3.1-8b", "--train", "--mode", "whole"),
            "the mode of a wafer is a choice of",
        ),
        (("llama-3.1-8b", "--plot", "x.svg.txt"), "the ending says the format of a picture"),
        (
            ("llama-3.1-8b", "--plot", "x.svg", "--json", "./x.svg"),
            "--json and --plot are one",
        ),
        (("llama-3.1-8b", "--price", "h100x8=2"), "write that of one device: cs3, h100"),
        (("llama-3.1-8b", "--density", "0"), "a density of 0 is not possible"),
        (("llama-3.1-8b", "--region", "12"), "write WIDTHxHEIGHT"),
        (("llama-3.1-8b", "--plan", "tp"), "write sizes as in tp8pp2"),
        (("llama-3.1-8b", "--on", "", "--plan", "tp64"), "takes 64 GPUs, and h100x8 has 8"),
        (("llama-3.1-8b", "--on", "", "--plan", "mb4"), "inference takes no mb"),
        (("llama-3.1-8b", "--on", "", "--engine", "fun"), "fun"),
        (("llama-3.1-8b", "--profile", "fun"), "no timing profile 'fun'"),
        (("llama-3.1-8b", "--price", "h100"), "write a device and its price"),
        (("llama-3.1-8b", "--price", "h200=2"), "there is a price for h200, which no system here"),
        (("llama-3.1-8b", "--gpu-profile", "none.json"), "none.json: No such file"),
        (("llama-3.1-8b", "--json", "missing/x.json"), "there is no directory"),
    ],
)
def test_bad_input_is_said_in_a_line(capsys, arguments, said):
    code, out, err = _run(capsys, *arguments)

    assert code != 0
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_the_model_of_a_script(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "width = int(sys.argv[1])\n"
        "model = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU())\n"
        "model(torch.ones(4, 64))\n"
        "raise SystemExit('not reached')\n"
    )
    target = tmp_path / "comparison.json"
    arguments = ("--prefill", "--batch", "4", "--against", "h100", "--json", str(target))
    code, _, err = _run(capsys, str(script), "128", *arguments)

    assert (code, err) == (0, "")
    wafer, gpu = json.loads(target.read_text())["comparisons"][0]["results"]
    assert gpu["weight_bytes"] == 2 * (64 * 128 + 128)
    assert wafer["breakdown"]


ATTENTION_POOL = """\
import torch
from torch.nn import functional as F

class Pool(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.queries = torch.nn.Parameter(torch.ones(1, 4, 32))
        self.keys, self.head = torch.nn.Linear(16, 32), torch.nn.Linear(32, 8)

    def forward(self, x):
        keys = self.keys(x)
        return self.head(F.scaled_dot_product_attention(self.queries, keys, keys))

with torch.no_grad():
    Pool().eval()(torch.ones(1, 12, 16))
"""


def test_a_wafer_that_cannot_says_what_a_run_says(tmp_path, capsys):
    script, target = tmp_path / "pool.py", tmp_path / "comparison.json"
    script.write_text(ATTENTION_POOL)
    code, out, err = _run(capsys, str(script), "--against", "h100", "--json", str(target))
    wafer = onewafer.wafer(fidelity="model")
    wafer.run_script(script)
    refused, _ = json.loads(target.read_text())["comparisons"][0]["results"]
    (cause,) = (cause for cause in wafer.report.host if cause.line is not None)

    assert (code, err) == (0, "")
    assert refused["refused"] == f"{cause.line}: {cause.reason}"
    assert "pool.py:12: `F.scaled_dot_product_attention" in refused["refused"]
    assert "cs3: cannot │" in out.replace("┃", "│")


def test_a_job_that_no_system_can_do_is_an_error(capsys):
    code, out, err = _run(
        capsys, "llama-3.1-8b", "--batch", "100000", "--context", "131072", "--against", "h100"
    )

    assert code == 1
    assert "cs3: cannot:" in out
    assert "h100x1: cannot:" in out
    assert err == ""
