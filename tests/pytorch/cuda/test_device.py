"""What `torch.cuda` says of the wafer, and what its times are."""

import pytest
import torch
from torch import nn

from onewafer.pytorch import Fidelity, Session, WaferOptions, build_report, intercept_calls
from onewafer.pytorch.cuda import alias_cuda


@pytest.fixture
def wafer():
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1), clock=1e6)
    session = Session(options)
    with intercept_calls(session), alias_cuda(session, lambda _: None):
        yield session


def test_device_is_described(wafer):
    assert torch.cuda.is_available()
    assert torch.cuda.is_initialized()
    assert (torch.cuda.device_count(), torch.cuda.current_device()) == (1, 0)
    assert torch.cuda.get_device_name() == torch.cuda.get_device_name("cuda:0")
    assert torch.cuda.get_device_name(0) == f"onewafer {wafer.architecture.title}"
    properties = torch.cuda.get_device_properties(torch.device("cuda"))
    assert properties.total_memory == properties.multi_processor_count * 48 * 1024
    assert torch.cuda.mem_get_info() == (properties.total_memory, properties.total_memory)
    assert torch.cuda.get_device_capability() == (properties.major, properties.minor) == (7, 0)
    assert torch.cuda.is_bf16_supported(including_emulation=False) is False
    assert torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator().type == "cuda"


@pytest.mark.usefixtures("wafer")
def test_nothing_is_to_be_waited_for():
    torch.cuda.synchronize()
    torch.cuda.synchronize("cuda:0")
    torch.accelerator.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == torch.cuda.memory_allocated("cuda") == 0
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.cuda.device(0):
        torch.ones(2, device="cuda").record_stream(stream)
    torch.cuda.nvtx.range_push("part")
    torch.cuda.nvtx.range_pop()


@pytest.mark.usefixtures("wafer")
def test_random_numbers_are_the_host_s():
    torch.manual_seed(1)
    torch.cuda.manual_seed_all(2)
    expected = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2, device="cuda").cpu(), expected)
    generator = torch.Generator(device="cuda").manual_seed(1)
    assert isinstance(generator, torch.Generator)
    assert isinstance(torch.default_generator, torch.Generator)
    assert torch.equal(torch.rand(2, generator=generator, device="cuda").cpu(), expected)
    state = torch.cuda.get_rng_state()
    first = torch.rand(2)
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(2), first)


def test_events_measure_the_time_of_the_wafer(wafer):
    model, x = nn.Linear(4, 4).cuda(), torch.ones(2, 4).cuda()
    start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
    with torch.no_grad():
        start.record()
        model(x)
        middle.record()
        torch.cuda.synchronize()
        model(x)
        model(x)
        end.record()
    (program,) = build_report(wafer.ledger).programs
    launch_ms = program.cycles_per_launch / 1e6 * 1e3
    assert start.elapsed_time(middle) == pytest.approx(launch_ms)
    assert middle.elapsed_time(end) == pytest.approx(2 * launch_ms)
    assert isinstance(end, torch.cuda.Event)
    assert end.query()
    with pytest.raises(ValueError, match="must be recorded"):
        start.elapsed_time(torch.cuda.Event())
