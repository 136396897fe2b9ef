"""Scripts that ask for CUDA, that insist on it, and that end without it."""

from functools import partial
from operator import attrgetter

import pytest
import torch

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_script
from onewafer.pytorch.cuda import NOTICE, CudaAlias, OnDevice, alias_cuda

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the host has a CUDA device")


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))


@pytest.fixture
def presence(wafer):
    with alias_cuda(wafer, lambda _: None, CudaAlias.ON_DEMAND) as presence:
        yield presence


def call(path, *args, **kwargs):
    """Call what a path names in `torch` now."""
    return attrgetter(path)(torch)(*args, **kwargs)


QUESTIONS = (
    "cuda.is_available",
    "cuda.device_count",
    "cuda.is_initialized",
    "cuda.is_bf16_supported",
    "cuda.memory_allocated",
    "cuda.get_arch_list",
    "cuda.empty_cache",
    "cuda.get_rng_state_all",
    "accelerator.is_available",
    "accelerator.device_count",
    "accelerator.current_accelerator",
    "backends.cuda.is_built",
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_are_answered_as_by_plain_pytorch(wafer, question):
    plain = call(question)
    with alias_cuda(wafer, pytest.fail, CudaAlias.ON_DEMAND) as presence:
        assert call(question) == plain
        assert not presence.is_here


INSISTING = {
    "cuda": lambda: torch.ones(2).cuda(),
    "to": lambda: torch.ones(2).to("cuda"),
    "module": lambda: torch.nn.Linear(2, 2).cuda(),
    "factory": lambda: torch.ones(2, device="cuda"),
    "synchronize": partial(call, "cuda.synchronize"),
    "name": partial(call, "cuda.get_device_name"),
    "current device": partial(call, "cuda.current_device"),
    "stream": partial(call, "cuda.Stream"),
    "current stream": partial(call, "cuda.current_stream"),
    "event": partial(call, "cuda.Event"),
    "generator": partial(call, "Generator", "cuda"),
    "accelerator": partial(call, "accelerator.synchronize"),
    "accelerator memory": partial(call, "accelerator.memory_allocated"),
    "pinned": lambda: torch.ones(2).pin_memory(),
    "pinned factory": partial(call, "empty", 2, pin_memory=True),
    "old type": partial(call, "cuda.FloatTensor", 2),
    "context": lambda: torch.cuda.device(0).__enter__(),
}


@pytest.mark.parametrize("use", INSISTING.values(), ids=INSISTING)
def test_what_fails_without_a_device_makes_the_wafer_one(wafer, use):
    with pytest.raises((RuntimeError, AssertionError, AttributeError, TypeError)):
        use()
    lines = []
    with alias_cuda(wafer, lines.append, CudaAlias.ON_DEMAND):
        use()
        assert torch.cuda.is_available()
        assert torch.cuda.device_count() == 1
        assert torch.accelerator.current_accelerator() == torch.device("cuda")
        assert isinstance(torch.ones(1).cuda(), OnDevice)
        assert isinstance(torch.cuda.current_stream(), torch.cuda.Stream)
    assert lines == [NOTICE]


def test_flags_say_what_cuda_means():
    assert CudaAlias.choose(flag=None) is CudaAlias.ON_DEMAND
    assert CudaAlias.choose(flag=True) is CudaAlias.ON
    assert CudaAlias.choose(flag=False) is CudaAlias.OFF


def run_lines(tmp_path, wafer, text, *arguments, cuda=CudaAlias.ON_DEMAND):
    """Run a script; return its exit code and the lines for the user."""
    script = tmp_path / "train.py"
    script.write_text(text)
    lines = []
    result = run_script(script, arguments, wafer, cuda=cuda, announce=lines.append)
    return result.exit_code, lines


ENDING = {
    "exit": "import sys\nif not torch.cuda.is_available():\n    print('no'); sys.exit(0)",
    "code": "if torch.cuda.device_count() < 1:\n    raise SystemExit(3)",
    "text": "if not torch.cuda.is_available():\n    raise SystemExit('needs a GPU')",
    "assertion": "assert torch.cuda.is_available()",
    "error": "if not torch.cuda.is_available():\n    raise RuntimeError('CUDA is required')",
}


@pytest.mark.parametrize("text", ENDING.values(), ids=ENDING)
def test_script_that_ends_without_a_device_gets_one_line(tmp_path, wafer, text, capsys):
    _, lines = run_lines(tmp_path, wafer, f"import torch\n{text}\nprint('on')\n")
    (line,) = lines
    assert "train.py, line" in line
    assert "--cuda-alias" in line
    code, lines = run_lines(
        tmp_path, wafer, f"import torch\n{text}\nprint('on')\n", cuda=CudaAlias.ON
    )
    assert (code, lines) == (0, [])
    assert capsys.readouterr().out.endswith("on\n")


OTHERS = {
    "end": "torch.cuda.is_available()",
    "own error": "torch.cuda.is_available()\nraise ValueError('a bad file')",
    "help": (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')\n"
        "parser.parse_args()"
    ),
    "worked": (
        "import sys\ntorch.cuda.is_available()\n"
        "torch.nn.Linear(2, 2)(torch.ones(1, 2))\nsys.exit(0)"
    ),
    "insisted": "torch.ones(1).cuda()\nraise RuntimeError('CUDA error of its own')",
    "interrupted": "raise KeyboardInterrupt('cuda')",
    "without a message": "class Mute(Exception):\n    __str__ = None\nraise Mute",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_script_that_ends_otherwise_gets_none(tmp_path, wafer, text, capsys):
    _, lines = run_lines(tmp_path, wafer, f"import torch\n{text}\n", "--help")
    assert lines in ([], [NOTICE])
    assert "--cuda-alias" not in capsys.readouterr().err


def test_compiled_code_may_ask(presence):
    @torch.compile(backend="eager")
    def double(x):
        return x * 2 if torch.cuda.is_available() else x * 3

    assert double(torch.ones(1)).item() == 3
    presence.insist()
    assert torch.cuda.is_available()


def test_shuffling_is_that_of_plain_python(tmp_path, wafer, capsys):
    """Pytorch/examples' mnist adds workers and pinned memory where it finds an accelerator."""
    text = (
        "import torch\n"
        "torch.manual_seed(1)\n"
        "use = torch.accelerator.is_available()\n"
        "device = torch.accelerator.current_accelerator() if use else torch.device('cpu')\n"
        "more = {'num_workers': 1, 'persistent_workers': True} if use else {}\n"
        "loader = torch.utils.data.DataLoader(torch.arange(20), shuffle=True, **more)\n"
        "print(device, [int(x.to(device)) for x in loader])\n"
    )
    run_lines(tmp_path, wafer, text)
    on_demand = capsys.readouterr().out
    run_lines(tmp_path, wafer, text, cuda=CudaAlias.OFF)
    assert on_demand == capsys.readouterr().out
