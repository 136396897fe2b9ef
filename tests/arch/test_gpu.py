"""GPUs come from sourced files; clusters are named as users write them."""

import pytest

from onewafer.arch import facts_in, find_cluster, gpu_names, load_cluster, load_gpu
from onewafer.errors import ConfigurationError


@pytest.mark.parametrize("name", gpu_names())
def test_every_number_has_a_unit_and_a_source(name):
    for entry in facts_in("onewafer.arch.gpus", name, "GPU"):
        assert entry.unit, entry.path
        assert entry.source, entry.path


@pytest.mark.parametrize("name", gpu_names())
def test_numbers_are_in_the_order_that_physics_wants(name):
    gpu = load_gpu(name)

    assert gpu.fp32_flop_per_second < gpu.bf16_flop_per_second
    assert gpu.network_bytes_per_second < gpu.link_bytes_per_second < gpu.memory_bytes_per_second
    assert gpu.link_seconds < gpu.network_seconds
    assert 0 < gpu.idle_watts < gpu.busy_watts
    assert gpu.reserve_bytes < 0.1 * gpu.memory_bytes
    assert 0 < gpu.link_efficiency <= 1


@pytest.mark.parametrize("name", [n for n in gpu_names() if load_gpu(n).fp8_flop_per_second])
def test_a_halved_format_doubles_the_peak(name):
    gpu = load_gpu(name)

    assert gpu.fp8_flop_per_second == pytest.approx(2 * gpu.bf16_flop_per_second, rel=0.01)


def test_a_node_of_h100_takes_what_its_vendor_says():
    gpu = load_gpu("h100")

    assert 8 * (gpu.busy_watts + gpu.host_watts) == 10_200


def test_a_name_without_a_number_is_one_gpu():
    assert load_cluster("b200").count == 1
    assert load_cluster("b200").name == "b200x1"


def test_names_of_other_systems_are_not_clusters():
    assert find_cluster("cs3x4") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("h10x8", r"no GPU system 'h10x8'; nearest: h100x8"),
        ("h100x0", r"write how many after the x, at least 1: h100x8"),
        ("h100x", r"write how many after the x"),
        ("tpu", r"GPUs are a100, b200, gb200, gb300, h100, h200, followed by x"),
    ],
)
def test_an_unknown_cluster_is_refused_with_what_to_write(name, message):
    with pytest.raises(ConfigurationError, match=message):
        load_cluster(name)


def test_nobody_has_a_million_gpus():
    assert find_cluster("h100x200000").count == 200_000
    with pytest.raises(ConfigurationError, match="at most 262,144 GPUs; write h100 for one"):
        find_cluster("h100x1000000000")
