"""Types that name a device."""

import pytest
import torch

from onewafer.pytorch import Fidelity, Session, WaferOptions
from onewafer.pytorch.cuda import alias_cuda

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")


@pytest.fixture(autouse=True)
def _alias():
    with alias_cuda(Session(WaferOptions(fidelity=Fidelity.MODEL)), lambda _: None):
        yield


def test_types_make_tensors_on_the_device():
    kind = torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor
    values = kind([1.0, 2.0])
    assert (values.tolist(), values.dtype, values.device) == ([1, 2], torch.float32, CUDA)
    assert kind(2, 3).fill_(1).device == CUDA
    assert kind(2, 3).shape == (2, 3)
    assert isinstance(values, torch.cuda.FloatTensor)
    assert not isinstance(values.cpu(), torch.cuda.FloatTensor)
    assert not isinstance(values.half(), torch.cuda.FloatTensor)
    assert torch.cuda.LongTensor([3]).dtype is torch.int64


def test_type_of_a_tensor_names_the_device_and_converts():
    x = torch.ones(2)
    assert (x.type(), x.cuda().type()) == ("torch.FloatTensor", "torch.cuda.FloatTensor")
    for kind in ("torch.cuda.DoubleTensor", torch.cuda.DoubleTensor):
        moved = x.type(kind)
        assert (moved.dtype, moved.device) == (torch.float64, CUDA)
    back = x.cuda().type("torch.HalfTensor")
    assert (back.dtype, back.device) == (torch.float16, CPU)
    assert x.cuda().type(torch.int64).device == CUDA
    assert x.type(torch.int64).device == CPU


@pytest.mark.filterwarnings("ignore:.*set_default_tensor_type.*deprecated")
def test_default_type():
    torch.set_default_tensor_type("torch.cuda.DoubleTensor")
    try:
        assert (torch.ones(1).device, torch.ones(1).dtype) == (CUDA, torch.float64)
    finally:
        torch.set_default_device(None)
        torch.set_default_tensor_type("torch.FloatTensor")
    assert (torch.ones(1).device, torch.ones(1).dtype) == (CPU, torch.float32)
