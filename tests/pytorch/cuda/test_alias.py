"""Idioms of CUDA scripts: what they see is what they would see on a GPU."""

import copy
import io
import threading

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from onewafer.errors import ConfigurationError
from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from onewafer.pytorch.backend import serve_backend
from onewafer.pytorch.compiled import compile_for_wafer
from onewafer.pytorch.cuda import NOTICE, OnDevice, alias_cuda

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))


@pytest.fixture
def notices(wafer):
    """Lines for the user, while `cuda` means the wafer."""
    lines = []
    with intercept_calls(wafer), compile_for_wafer(), alias_cuda(wafer, lines.append):
        yield lines
    assert len(lines) <= 1


@pytest.fixture
def x(notices):  # noqa: ARG001  # in its reach
    return torch.arange(8.0).reshape(2, 4).cuda()


def num_wafer_calls(session):
    return sum(record.calls for record in session.ledger.programs)


MOVES = {
    "cuda": lambda t: t.cuda(),
    "cuda, ordinal": lambda t: t.cuda(0),
    "cuda, non_blocking": lambda t: t.cuda(non_blocking=True),
    "to text": lambda t: t.to("cuda"),
    "to ordinal": lambda t: t.to("cuda:0"),
    "to device": lambda t: t.to(torch.device("cuda")),
    "to keyword": lambda t: t.to(device="cuda", non_blocking=True),
    "to number": lambda t: t.to(0),
    "to other": lambda t: t.to(torch.zeros(1, device="cuda")),
    "as_tensor": lambda t: torch.as_tensor(t, device="cuda"),
    "pinned": lambda t: t.pin_memory().to("cuda", non_blocking=True),
}


@pytest.mark.usefixtures("notices")
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_moved_tensor_is_a_copy_on_the_device(move):
    host = torch.ones(3)
    moved = move(host)
    assert (moved.device, moved.device.type, moved.device.index) == (CUDA, "cuda", 0)
    assert (moved.is_cuda, moved.is_cpu, moved.get_device()) == (True, False, 0)
    assert (host.device, host.is_cuda) == (CPU, False)
    assert isinstance(moved, torch.Tensor)
    assert torch.equal(moved, host)
    moved.add_(1)
    assert host.tolist() == [1, 1, 1]
    assert moved.to("cuda") is moved.cuda() is moved


FACTORIES = {
    "zeros": lambda **k: torch.zeros(2, **k),
    "tensor": lambda **k: torch.tensor([1.0, 2], **k),
    "arange": lambda **k: torch.arange(3, **k),
    "randn": lambda **k: torch.randn(3, **k),
    "full": lambda **k: torch.full((2,), 3.0, **k),
    "zeros_like": lambda **k: torch.zeros_like(torch.ones(2), **k),
    "rand_like": lambda **k: torch.rand_like(torch.ones(2), **k),
    "new_ones": lambda **k: torch.ones(2).new_ones(3, **k),
    "new_tensor": lambda **k: torch.ones(2).new_tensor([1], **k),
    "randperm": lambda **k: torch.randperm(4, **k),
    "pinned": lambda **k: torch.empty(3, pin_memory=not k, **k),
    "fftfreq": lambda **k: torch.fft.fftfreq(4, **k),
}


@pytest.mark.usefixtures("notices")
@pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES)
def test_factories_put_where_they_are_told(make):
    assert make(device="cuda").device == CUDA
    assert make(device=torch.device("cuda", 0)).device == CUDA
    assert make().device == CPU
    assert make(device="cpu").device == CPU
    assert make(device="meta").device.type == "meta"


def test_results_are_where_operands_are(x):
    ones = torch.ones(2, 4)
    values, indices = x.max(dim=1)
    on_device = [
        *(x + 1, 1 - x, x @ x.T, x[0], x.half(), x.double(), x.detach(), x.data, x > 1, x.T),
        *(torch.cat([x, x]), nn.functional.relu(x), x.sum(), values, indices, x.clone(), x.long()),
        *(torch.zeros_like(x), x.new_zeros(2), torch.stack([x, x]), torch.where(x > 1, x, 0.0)),
        *(x.split(1)[1], nn.functional.cross_entropy(x, indices), x.to(torch.float16)),
    ]
    assert {t.device for t in on_device} == {CUDA}
    on_host = [x.cpu(), x.to("cpu"), x.to(CPU), torch.zeros_like(x, device="cpu"), x.to(ones)]
    assert {t.device for t in on_host} == {CPU}
    assert not any(isinstance(t, OnDevice) for t in on_host)
    assert ones.copy_(x).device == CPU
    assert torch.arange(3, device=x.device).device == CUDA


def test_copy_on_the_host_is_one(x):
    for host in (x.cpu(), x.to("cpu")):
        host.fill_(9)
    assert x.max() == 7
    assert x.cpu().numpy().tolist() == x.tolist()


def test_values_print_as_on_a_gpu(x):
    assert repr(x[0]) == "tensor([0., 1., 2., 3.], device='cuda:0')"
    parameter = nn.Parameter(x[0])
    text = "Parameter containing:\ntensor([0., 1., 2., 3.], device='cuda:0', requires_grad=True)"
    assert repr(parameter) == text
    assert str(torch.device("cuda")) == "cuda"


@pytest.mark.usefixtures("notices")
def test_modules_move_with_parameters_gradients_and_buffers():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    parameters = [*model.parameters()]
    model(torch.ones(3, 4)).sum().backward()
    for move, device in (
        (lambda: model.to("cuda"), CUDA),
        (model.half, CUDA),
        (model.float, CUDA),
        (model.cpu, CPU),
        (model.cuda, CUDA),
        (lambda: model.to(device=CPU, dtype=torch.float64), CPU),
    ):
        assert move() is model
        tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in parameters)]
        assert {t.device for t in tensors} == {device}
        assert all(map(torch.is_tensor, tensors))
        assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
        assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in parameters)
    assert nn.Linear(2, 2, device="cuda").weight.device == CUDA
    assert copy.deepcopy(model.cuda())[1].running_mean.device == CUDA


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "AdamW"])
def test_training_with_autocast_and_a_scaler_equals_the_host_s(wafer, notices, optimizer):
    def train(device):
        torch.manual_seed(0)
        model, inputs = nn.Linear(4, 2).to(device), torch.randn(8, 4).to(device)
        steps = getattr(torch.optim, optimizer)(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler(device)
        for _ in range(3):
            steps.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.float16):
                loss = model(inputs).square().mean()
            scaler.scale(loss).backward()
            scaler.unscale_(steps)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(steps)
            scaler.update()
        assert {p.grad.device.type for p in model.parameters()} == {device}
        return model

    ours, plain = train("cuda"), train("cpu")
    torch.testing.assert_close(ours.weight.cpu(), plain.weight.detach())
    assert notices == [NOTICE]
    assert not wafer.ledger.gradient_calls


def test_model_runs_on_the_wafer_and_its_result_is_on_the_device(wafer, notices):
    model, inputs = nn.Sequential(nn.Linear(4, 2), nn.ReLU()).cuda().eval(), torch.ones(2, 4)
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
        result = model(inputs.cuda())
        again = model(inputs.to("cuda"))
    assert result.device == CUDA
    assert torch.equal(result, again)
    with torch.no_grad():
        torch.testing.assert_close(result.cpu(), model.cpu()(inputs))
    assert num_wafer_calls(wafer) == 3
    assert not wafer.ledger.fallbacks
    assert notices == [NOTICE]


class Inside(nn.Module):
    """Names the device where it computes."""

    def __init__(self, forward):
        super().__init__()
        self.layer, self.home = nn.Linear(4, 4), torch.device("cuda")
        self.register_buffer("shift", torch.ones(4))
        self.compute = forward

    def forward(self, x):
        return self.compute(self, x)


def under_autocast(module, x):
    with torch.autocast(device_type="cuda", dtype=torch.float16):
        return module.layer(x)


def checked(module, x):
    if module.shift.device.type != x.device.type:
        raise RuntimeError("Expected all tensors to be on the same device")
    return module.layer(x)


FORWARDS = {
    "of its input": lambda m, x: m.layer(x.to(x.device)).to(x.device),
    "of a parameter": lambda m, x: m.layer(x.to(m.layer.weight.device)) + m.shift,
    "by name": lambda m, x: m.layer(x.to("cuda")).relu(),
    "of its own": lambda m, x: m.layer(x.to(m.home)).relu(),
    "by method": lambda m, x: m.layer(x.cuda()).relu(),
    "checked": checked,
    "autocast": under_autocast,
}


@pytest.mark.alternate
@pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)
def test_modules_that_name_the_device_run_on_the_wafer(wafer, x, forward):
    model = Inside(forward).cuda()
    with torch.no_grad():
        results = [model(x), model(x)]
        expected = forward(model, x)
    for result in results:
        assert result.device == CUDA
        torch.testing.assert_close(result, expected)
    assert not wafer.ledger.fallbacks
    assert num_wafer_calls(wafer) >= 2
    (alike,) = wafer._calls[model].values()
    assert alike.guarded is not None  # captured once


@pytest.mark.parametrize(
    "map_location", ["cuda", "cuda:0", CUDA, {"cuda:0": "cuda:0"}, None, "cpu"]
)
@pytest.mark.parametrize("weights_only", [True, False])
def test_checkpoints_load_where_they_are_told(x, map_location, weights_only):
    model, file = nn.Linear(4, 4).cuda(), io.BytesIO()
    optimizer = torch.optim.Adam(model.parameters())
    model(x).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "x": x}, file)
    file.seek(0)
    loaded = torch.load(file, map_location=map_location, weights_only=weights_only)
    # Files say "cpu", where the tensors are, so that they load anywhere.
    expected = CUDA if map_location in ("cuda", "cuda:0", CUDA) else CPU
    assert loaded["x"].device == loaded["model"]["weight"].device == expected
    assert torch.equal(loaded["x"].cpu(), x.cpu())
    other = nn.Linear(4, 4).to("cuda")
    other.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    assert torch.equal(other.weight, model.weight)
    assert other.weight.device == CUDA


@pytest.mark.usefixtures("notices")
def test_file_that_was_saved_on_a_gpu_loads(monkeypatch):
    file = io.BytesIO()
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    torch.save(torch.ones(3), file)
    monkeypatch.undo()
    for map_location, device in ((None, CUDA), ("cpu", CPU), (lambda storage, _: storage, CPU)):
        file.seek(0)
        assert torch.load(file, map_location=map_location).device == device


def test_file_of_ours_loads_without_the_alias(wafer):
    file = io.BytesIO()
    with alias_cuda(wafer, lambda _: None):
        torch.save([torch.ones(2, device="cuda"), nn.Parameter(torch.ones(2).cuda())], file)
    file.seek(0)
    plain, parameter = torch.load(file)
    assert (type(plain), type(parameter)) == (torch.Tensor, nn.Parameter)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loader_with_pinned_memory(x, num_workers):
    data = TensorDataset(torch.randn(8, 4), torch.arange(8))
    for images, labels in DataLoader(data, batch_size=4, pin_memory=True, num_workers=num_workers):
        assert images.device == CPU
        assert (images.to("cuda", non_blocking=True) + x[:1]).device == CUDA
        assert labels.cuda().device == CUDA


def test_compiled_models_and_functions_run_on_the_wafer(wafer, x):
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU()).cuda()
    compiled = torch.compile(model, mode="max-autotune")

    @torch.compile(fullgraph=True)
    def infer(inputs):
        return model(inputs)

    with torch.no_grad():
        assert torch.equal(compiled(x), infer(x))
        model.compile()
        model(x)
    assert isinstance(compiled, torch._dynamo.OptimizedModule)
    assert num_wafer_calls(wafer) == 3
    compiled(x).sum().backward()
    assert not wafer.ledger.gradient_calls
    assert not wafer.ledger.fallbacks


def test_model_compiled_for_the_wafer_by_name(wafer, x):
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU()).cuda()
    compiled = torch.compile(model, backend="onewafer", options={"rectangle": "1x1"})
    with serve_backend(wafer), torch.no_grad():
        results = [compiled(x), compiled(x)]
        assert torch.equal(results[0], model(x))
    assert {r.device for r in results} == {CUDA}
    assert num_wafer_calls(wafer) == 3
    assert not wafer.ledger.fallbacks
    with serve_backend(wafer):
        compiled(x).sum().backward()
    gradient, model[0].weight.grad = model[0].weight.grad, None
    model(x).sum().backward()
    torch.testing.assert_close(gradient, model[0].weight.grad)


def test_numbers_format_as_numbers(x):
    assert f"{x.mean():.3f}, {x[0]}" == "3.500, tensor([0., 1., 2., 3.], device='cuda:0')"


def test_copies_of_tensors_stay_on_the_device(x):
    copies = [copy.deepcopy(x), torch.stack([*x]), torch.as_tensor(x), x.clone()]
    with pytest.warns(UserWarning, match="copy construct"):
        copies.append(torch.tensor(x[0, 0]))
    assert {c.device for c in copies} == {CUDA}
    assert copy.deepcopy({"a": x, "b": x})["a"] is not x


def test_recurrent_layers_and_lengths(x):
    lengths = torch.tensor([3, 2])
    sequences = nn.utils.rnn.pack_padded_sequence(
        torch.randn(2, 3, 4).cuda(), lengths, batch_first=True
    )
    packed, state = nn.GRU(4, 4, batch_first=True).to(x.device)(sequences)
    padded, got = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    assert padded.device == state.device == CUDA
    assert (got.device, got.tolist()) == (CPU, [3, 2])


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpoints(x, use_reentrant):
    model, leaf = nn.Linear(4, 4).cuda(), x.clone().requires_grad_()
    again = torch.utils.checkpoint.checkpoint(model, leaf, use_reentrant=use_reentrant)
    again.sum().backward()
    gradient, leaf.grad = leaf.grad, None
    model(leaf).sum().backward()
    assert torch.equal(gradient, leaf.grad)
    assert gradient.device == CUDA


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def test_functions_with_a_gradient_of_their_own(x):
    leaf = x.clone().requires_grad_()
    result = Squared.apply(leaf)
    result.sum().backward()
    assert result.device == leaf.grad.device == CUDA
    assert torch.equal(leaf.grad, 2 * x)


@pytest.mark.usefixtures("notices")
def test_models_without_memory_get_it_on_the_device():
    with torch.device("meta"):
        empty, assigned = nn.Linear(4, 4), nn.Linear(4, 4)
    assert empty.to_empty(device="cuda").weight.device == CUDA
    assigned.load_state_dict(empty.state_dict(), assign=True)
    assert assigned.weight.device == CUDA
    assert isinstance(assigned.weight, nn.Parameter)


@pytest.mark.usefixtures("notices")
def test_device_contexts_and_default_device():
    with torch.device("cuda"):
        assert torch.zeros(2).device == nn.Linear(2, 2).weight.device == CUDA
        assert torch.zeros(2, device="cpu").device == CPU
    torch.set_default_device("cuda")
    try:
        assert torch.ones(1).device == torch.get_default_device() == CUDA
        with torch.no_grad():
            assert nn.Linear(2, 2)(torch.ones(1, 2)).device == CUDA
    finally:
        torch.set_default_device(None)
    assert torch.ones(1).device == CPU


@pytest.mark.usefixtures("notices")
def test_other_threads_have_the_device_too():
    devices = []
    thread = threading.Thread(target=lambda: devices.append(torch.ones(1).cuda().device))
    thread.start()
    thread.join()
    assert devices == [CUDA]


@pytest.mark.usefixtures("notices")
def test_second_device_is_refused_as_by_cuda():
    for use in (
        lambda: torch.zeros(1, device="cuda:1"),
        lambda: torch.zeros(1).cuda(1),
        lambda: torch.zeros(1).to("cuda:1"),
        lambda: torch.cuda.set_device(1),
        lambda: nn.DataParallel(nn.Linear(2, 2), device_ids=[0, 1]),
    ):
        with pytest.raises(
            RuntimeError, match=r"invalid device ordinal 1: .* one device, the wafer"
        ):
            use()


def test_data_parallel_over_all_devices_is_its_module(wafer, x):
    with torch.no_grad():
        assert nn.DataParallel(nn.Linear(4, 2).cuda())(x).device == CUDA
    assert num_wafer_calls(wafer) == 1


@pytest.mark.usefixtures("notices")
def test_groups_of_devices_and_graphs_are_refused_with_one_message():
    with pytest.raises(ConfigurationError, match=r"group of GPUs \(backend 'nccl'\).*single GPU"):
        torch.distributed.init_process_group("nccl", rank=0, world_size=2)
    with pytest.raises(ConfigurationError, match="records CUDA graphs"):
        torch.cuda.CUDAGraph()
    assert torch.cuda.CUDAGraph | None  # libraries name the class in annotations


def test_everything_is_as_before_afterwards(wafer):
    owners = (torch, torch.Tensor, torch.cuda, torch.accelerator, nn.Parameter, nn.DataParallel)
    before = [dict(vars(owner)) for owner in owners]
    with pytest.raises(ZeroDivisionError), compile_for_wafer(), alias_cuda(wafer, print):
        _ = 1 / 0
    assert [dict(vars(owner)) for owner in owners] == before


def test_nothing_is_announced_to_a_script_that_only_asks(notices):
    assert torch.cuda.is_available()
    torch.manual_seed(0)
    torch.zeros(2, device="cpu").to("cpu").cpu()
    assert notices == []
