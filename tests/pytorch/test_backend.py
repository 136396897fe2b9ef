"""`torch.compile(…, backend="onewafer")`."""

import gc
import json
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from onewafer.errors import ConfigurationError
from onewafer.execution.executable import ModelExecutor
from onewafer.pytorch import (
    Fidelity,
    HostFallbackWarning,
    Session,
    WaferOptions,
    intercept_calls,
    onewafer,
)
from onewafer.pytorch.backend import serve_backend
from tests.pytorch.agreement import assert_agrees
from tests.pytorch.lowering.models import arguments, build

# torch deprecates what Dynamo itself uses.
pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning")


@pytest.fixture
def wafer():
    torch._dynamo.reset()
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2)))
    with serve_backend(session):
        yield session
    torch._dynamo.reset()
    gc.collect()


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def num_wafer_calls(session):
    return sum(record.calls for record in session.ledger.programs)


def test_backend_is_found_by_name_and_agrees_with_the_host(wafer):
    model = mlp()
    compiled = torch.compile(model, backend="onewafer")
    with torch.no_grad():
        for rows in (4, 3, 5):  # Dynamo compiles again with an open batch dimension
            x = torch.randn(rows, 6)
            assert_agrees(wafer, model, x, compiled(x))
    assert num_wafer_calls(wafer) == 3
    assert not wafer.ledger.fallbacks


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "vit"])
@pytest.mark.alternate(4)
def test_what_is_computed_from_buffers_of_a_model_is_known_on_the_host(wafer, family):
    model, kwargs = build(family), arguments(family, 6)
    with torch.no_grad():
        compiled = torch.compile(model, backend="onewafer")
        found, expected = compiled(**kwargs), model(**kwargs)
    assert num_wafer_calls(wafer) == 1
    assert not wafer.ledger.fallbacks
    torch.testing.assert_close(found[0], expected[0], rtol=2e-5, atol=2e-5)


def test_changed_parameters_reach_the_wafer(wafer):
    model, x = mlp(), torch.randn(2, 6)
    compiled = torch.compile(model, backend="onewafer")
    with torch.no_grad():
        compiled(x)
        model[0].weight.data.add_(1)
        assert_agrees(wafer, model, x, compiled(x))
    (record,) = wafer.ledger.programs
    assert record.parameters_resent == 1


@pytest.mark.parametrize(("function", "on_host"), [(nn.ReLU(), 0), (nn.Softmax(-1), 1)])
def test_training_runs_on_the_wafer_or_on_the_host(wafer, function, on_host):
    model, x = nn.Sequential(nn.Linear(6, 4), function, nn.Linear(4, 2)), torch.randn(2, 6)
    compiled = torch.compile(model, backend="onewafer")
    compiled(x).sum().backward()
    found, model[0].weight.grad = model[0].weight.grad, None
    model(x).sum().backward()
    torch.testing.assert_close(found, model[0].weight.grad)
    assert wafer.ledger.gradient_calls.total() == on_host
    assert sum(record.calls for record in wafer.ledger.programs) == 1 - on_host


def test_functions_compile_too(wafer):
    model, x = mlp(), torch.randn(2, 6)

    @torch.compile(backend="onewafer")
    def predict(x):
        return model(x)

    with torch.no_grad():
        assert_agrees(wafer, model, x, predict(x))


def test_unsupported_graph_runs_on_the_host_with_a_warning(wafer):
    compiled = torch.compile(nn.Sequential(nn.Linear(3, 3), nn.Softshrink()), backend="onewafer")
    with torch.no_grad(), pytest.warns(HostFallbackWarning, match="`softshrink` is not supported"):
        assert compiled(torch.zeros(2, 3)).shape == (2, 3)
    assert wafer.ledger.fallbacks.total() == 1


def test_a_graph_that_multiplies_nothing_runs_on_the_host_without_a_warning(wafer):
    compiled = torch.compile(nn.ReLU(), backend="onewafer")
    with torch.no_grad():
        assert torch.equal(compiled(torch.ones(2, 6)), torch.ones(2, 6))
    assert not wafer.ledger.programs


def test_a_call_that_interrupts_another_one_of_the_same_model_runs_on_the_host(wafer, monkeypatch):
    """As a signal handler of the script can, while the wafer works."""
    model, x, found = mlp(), torch.randn(2, 6), []
    compiled = torch.compile(model, backend="onewafer")
    run = ModelExecutor.run

    def interrupted(executor, *args, **kwargs):
        if not found:
            found.append(None)
            found[0] = compiled(x)
        return run(executor, *args, **kwargs)

    monkeypatch.setattr(ModelExecutor, "run", interrupted)
    with torch.no_grad():
        with pytest.warns(HostFallbackWarning, match="at work on another call of it"):
            y = compiled(x)
        assert_agrees(wafer, model, x, y)
        assert torch.equal(found[0], model(x))
        compiled(x)
    assert num_wafer_calls(wafer) == 2


def test_intercepted_script_that_compiles_is_counted_once(wafer):
    model, x = mlp(), torch.randn(2, 6)
    with intercept_calls(wafer), torch.no_grad():
        compiled = torch.compile(model, backend="onewafer")
        assert_agrees(wafer, model, x, compiled(x))

        @torch.compile(backend="onewafer")
        def predict(x):
            return model(x)

        assert_agrees(wafer, model, x, predict(x))
    # Two through the backend; `assert_agrees` itself calls the module twice as the host would.
    assert num_wafer_calls(wafer) == 2 + 2
    assert not wafer.ledger.fallbacks


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.relu(x))


def test_programs_have_the_names_of_what_was_compiled(wafer):
    net, inner = Net(), mlp()

    @torch.compile(backend="onewafer")
    def score(x):
        return inner(x)

    def refused(x):
        return torch.sin(net(x))

    x = torch.randn(2, 6)
    with torch.no_grad():
        for compiled in (net, mlp()):
            torch.compile(compiled, backend="onewafer")(x)
        score(x)
        with pytest.warns(HostFallbackWarning):
            torch.compile(refused, backend="onewafer")(x)
    assert [r.module for r in wafer.ledger.programs] == ["Net", "Sequential", "score"]
    assert [module for module, _ in wafer.ledger.fallbacks] == ["refused"]


def test_options_replace_those_of_the_run(wafer):
    compiled = torch.compile(mlp(), backend="onewafer", options={"rectangle": "1x2"})
    with torch.no_grad():
        compiled(torch.randn(2, 6))
    (record,) = wafer.ledger.programs
    assert (record.program.width, record.program.height) == (1, 2)


def test_a_graph_keeps_the_folder_for_its_csl(wafer, tmp_path, monkeypatch):
    del wafer
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    compiled = torch.compile(mlp(), backend="onewafer", options={"csl": "csl"})
    with torch.no_grad():
        compiled(torch.randn(2, 6))
        monkeypatch.chdir("elsewhere")
        compiled(torch.randn(2, 6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["csl", "elsewhere"]
    assert (tmp_path / "csl" / "Sequential" / "layout.csl").is_file()
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"csl": "no/where"}, "CSL cannot be written to .*/no/where: there is no folder "),
        ({"csl": "x" * 300}, "CSL cannot be written to .*x: File name too long"),
        ({"rectangel": "1x2"}, "no option 'rectangel'; it has arch, "),
        ({"dtype": "f64"}, "dtype='f64': choose from f16, f32"),
    ],
)
def test_wrong_options_are_refused_with_the_known_ones(wafer, options, message):
    del wafer
    compiled = torch.compile(mlp(), backend="onewafer", options=options)
    with torch.no_grad(), pytest.raises(BackendCompilerFailed, match=message):
        compiled(torch.randn(2, 6))


def test_modes_are_refused(wafer):
    del wafer
    graph_module = torch.fx.symbolic_trace(mlp())
    with pytest.raises(ConfigurationError, match="has no mode"):
        onewafer(graph_module, (), mode="max-autotune")


SCRIPT = """
    import sys, torch
    from torch import nn

    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    options = {"fidelity": "model", "rectangle": "2x1", "json": sys.argv[1]}
    with torch.no_grad():
        compiled = torch.compile(model, backend="onewafer", options=options)
        print(tuple(compiled(torch.ones(2, 6)).shape))
        model(torch.ones(2, 6))
"""


def test_script_needs_no_import_and_gets_its_report_at_exit(tmp_path):
    script, report = tmp_path / "script.py", tmp_path / "report.json"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, script, report], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(2, 5)\n"
    words = "50% of the matrix FLOP since the first compilation ran on the wafer (120 of 240)."
    assert words in " ".join(done.stderr.split())
    fields = json.loads(report.read_text())
    (advice,) = fields["advice"]
    assert advice["text"].endswith('in what `torch.compile(…, backend="onewafer")` gets')
    (cause,) = fields["host"]
    assert cause["reason"] == "not compiled for the wafer"
    (program,) = fields["programs"]
    assert (program["width"], program["height"], program["calls"]) == (2, 1, 1)
