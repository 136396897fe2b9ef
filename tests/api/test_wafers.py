"""`with onewafer.wafer(…)`: a block whose PyTorch modules run on a simulated wafer."""

import inspect
import json
import threading

import pytest
import torch
from torch import nn

import onewafer
from onewafer.api import wafers
from onewafer.errors import ConfigurationError, InternalError

# torch deprecates what Dynamo itself uses.
pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning")


def small_wafer(**options):
    return onewafer.wafer(**{"fidelity": "model", "rectangle": "2x2"} | options)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def test_the_block_s_calls_are_on_the_wafer_and_its_values_right(model):
    x, original = torch.randn(3, 4), nn.Module.__call__
    with torch.no_grad():
        expected = model(x)
        with onewafer.wafer(fidelity="fabric", rectangle=(2, 2)) as wafer:
            result = model(x)
            assert wafer.report.wafer_calls == 1
        assert torch.equal(model(x), expected)
    assert nn.Module.__call__ is original
    assert torch.allclose(result, expected, atol=1e-6)
    (program,) = wafer.report.programs
    assert (program.width, program.height, program.fidelity) == (2, 2, "fabric")
    assert repr(wafer) == "<Wafer: wse3, fidelity fabric, 1 call so far>"


def test_a_loss_of_the_host_is_trained_on_the_wafer(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, losses = torch.randn(8, 4), []
    with small_wafer() as wafer:
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            model(x)
    report = wafer.report
    assert losses == sorted(losses, reverse=True)
    assert (report.wafer_calls, [cause.cause for cause in report.host]) == (4, ["refusal"])


def test_report_is_there_after_an_error(model):
    wafer = small_wafer()
    with pytest.raises(ZeroDivisionError), wafer, torch.no_grad():
        _ = model(torch.ones(1, 4)) / (1 // 0)
    assert (wafer.report.wafer_calls, wafer.report.ended) == (1, "ZeroDivisionError")
    with pytest.raises(RuntimeError, match="mat1 and mat2"), wafer, torch.no_grad():
        model(torch.ones(1, 3))
    with wafer, torch.no_grad():
        model(torch.ones(1, 4))
    assert (wafer.report.wafer_calls, wafer.report.ended) == (2, None)


def test_a_wafer_is_used_again_and_inside_itself(model):
    wafer, x = small_wafer(), torch.ones(1, 4)
    for _ in range(2):
        with wafer, torch.no_grad():
            with wafer:
                model(x)
            model(x)
    assert (wafer.report.wafer_calls, wafer.report.compilations) == (4, 1)


def test_blocks_of_threads_do_not_meet(model):
    x, wafers = torch.ones(1, 4), [small_wafer() for _ in range(3)]
    barrier = threading.Barrier(len(wafers))

    def work(wafer, calls):
        with wafer, torch.no_grad():
            for _ in range(calls):
                barrier.wait()
                model(x)

    original = nn.Module.__call__
    threads = [threading.Thread(target=work, args=(wafer, 2)) for wafer in wafers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [wafer.report.wafer_calls for wafer in wafers] == [2, 2, 2]
    assert nn.Module.__call__ is original


def test_compiled_models_run_where_they_are_called(model):
    x = torch.ones(2, 4)
    with small_wafer() as first, torch.no_grad():
        ours = torch.compile(model, backend="onewafer")
        theirs = torch.compile(model)  # no compiler of the host is needed
        ours(x)
        theirs(x)
    with small_wafer() as second, torch.no_grad():
        ours(x)
        theirs(x)
    assert (first.report.wafer_calls, second.report.wafer_calls) == (2, 2)
    torch._dynamo.reset()


def test_a_script_runs_as_a_command_would(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "with torch.no_grad():\n"
        "    print(sys.argv[1:], torch.nn.Linear(2, 3)(torch.ones(1, 2)).shape)\n"
        "sys.exit(3)\n"
    )
    wafer = small_wafer()
    result = wafer.run_script(script, ["--epochs", "1"])
    assert (result.exit_code, wafer.report.wafer_calls) == (3, 1)
    assert capsys.readouterr().out == "['--epochs', '1'] torch.Size([1, 3])\n"
    with pytest.raises(ConfigurationError, match=r"there is no script nowhere\.py"):
        wafer.run_script("nowhere.py")


SCRIPT = """
import sys, torch
assert __name__ == "__main__"
with torch.no_grad():
    print(sys.argv[1:], torch.nn.Linear(2, 3)(torch.ones(1, 2)).shape)
"""


def test_a_call_runs_a_script_and_returns_its_report(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    options = {"fidelity": "model", "rectangle": "2x2"}
    report = onewafer.run(script, ["--epochs", "1"], against="h100", **options)
    assert capsys.readouterr().out == "['--epochs', '1'] torch.Size([1, 3])\n"
    (program,) = report.programs
    assert (report.wafer_calls, program.width, program.height) == (1, 2, 2)
    assert "h100" in str(report)
    script.write_text(f"{SCRIPT}sys.exit(3)\n")
    with pytest.raises(SystemExit, match="3"):
        onewafer.run(str(script), **options)
    script.write_text(f"{SCRIPT}sys.exit()\n")
    assert onewafer.run(script, **options).wafer_calls == 1
    script.write_text(f"{SCRIPT}1 / 0\n")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        onewafer.run(script, **options)
    assert capsys.readouterr().err.endswith("ZeroDivisionError: division by zero\n")


def test_a_report_that_fails_is_named_and_leaves_a_script_its_own_error(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("ONEWAFER_RAISE_OWN_ERRORS", "0")
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(wafers.Wafer, "finish_recordings", lambda _: {}["report"])
    script = tmp_path / "script.py"
    script.write_text("print('done')\n")
    with pytest.raises(InternalError, match=r"the report could not be made: .*, kept in "):
        onewafer.run(script)
    assert capsys.readouterr().out == "done\n"
    script.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(SystemExit, match="3"):
        onewafer.run(script)
    assert capsys.readouterr().err.startswith("onewafer: the report could not be made: a bug of")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"there is no script nowhere\.py"),
        ({"fidelity": "x"}, "fidelity='x': choose"),
        ({"against": "x100"}, "there is no system 'x100'"),
        ({"against": [8]}, r"systems \(\) and \[8\]: write texts, as in 'h100x8"),
        ({"arguments": "--epochs 1"}, "arguments='--epochs 1': write a list of texts, as in"),
        ({"arguments": [1]}, r"arguments=\[1\]: write a list of texts"),
        ({"script": 7}, "script=7: write a path"),
    ],
)
def test_a_call_refuses_what_the_command_refuses(options, message):
    with pytest.raises(ConfigurationError, match=message):
        onewafer.run(**{"script": "nowhere.py"} | options)


def test_the_options_of_a_script_are_those_of_a_wafer():
    of_script = inspect.signature(onewafer.run).parameters
    for name, parameter in inspect.signature(onewafer.wafer).parameters.items():
        assert of_script[name] == parameter
    assert [*of_script][:2] == ["script", "arguments"]
    with pytest.raises(TypeError, match=r"run\(\): got an unexpected keyword argument 'fidelty'"):
        onewafer.run("script.py", fidelty="model")


def test_report_in_all_its_forms(model):
    pandas = pytest.importorskip("pandas")
    with small_wafer() as wafer, torch.no_grad():
        model(torch.ones(2, 4))
        nn.Softshrink()(torch.ones(2))
    report = wafer.report
    frame = report.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["module"].tolist() == ["Sequential"]
    assert frame["cycles"].tolist() == [report.programs[0].cycles]
    assert "phases" not in frame
    assert json.loads(report.to_json())["wafer_calls"] == 1
    assert "PEs used     4 of 883,350" in str(report)
    assert "calls on the wafer" not in str(report)
    assert "calls on the wafer" in report._repr_html_()
    assert "Softshrink" in report._repr_html_()
    assert report.to_pandas("inner_calls").columns.tolist() == ["module", "whole", "calls"]
    with pytest.raises(ConfigurationError, match=r"table .x.: .*; choose from programs, "):
        report.to_pandas("x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "wse9"}, "there is no machine 'wse9'; the catalog has: toy, wse2, wse3"),
        ({"profile": "x"}, "machine 'wse3' has no timing profile 'x'; it has: sdk, silicon"),
        ({"fidelity": "x"}, "fidelity='x': choose from "),
        ({"dtype": "f64"}, "dtype='f64': choose from f16, f32"),
        ({"rectangle": 7}, "rectangle=7: write width and height in PEs, '8x4' or"),
        ({"clock": 850}, "a wafer has no clock of 850 Hz; write one between"),
        ({"max_batch": 0}, "max_batch=0: write a whole number of at least 1"),
        ({"engine": "x"}, "engine='x': there is no such engine; choose from fast, reference"),
        ({"threads": True}, "threads=True: write a whole number of at least 1"),
        ({"max_cycles": -1}, "max_cycles=-1: write a whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_named_with_the_choices(options, message):
    with pytest.raises(ConfigurationError, match=message):
        onewafer.wafer(**options)


def test_missing_torch_is_a_sentence(monkeypatch):
    monkeypatch.setattr("onewafer.api.torch_presence.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"onewafer\.wafer needs PyTorch, which is not"):
        onewafer.wafer()
