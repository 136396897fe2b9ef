"""What a program runs on, in every form that the SDK's documentation has for it."""

import pytest

from onewafer.errors import HostError
from onewafer.host import (
    SdkExecutionPlatform,
    SdkRuntime,
    SdkTarget,
    SimfabConfig,
    get_platform,
    get_simulator,
    get_system,
)

WSE2, WSE3 = SdkExecutionPlatform(SdkTarget.WSE2), SdkExecutionPlatform(SdkTarget.WSE3)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (get_platform, WSE3),
        (lambda: get_platform(None), WSE3),
        (lambda: get_platform(""), WSE3),
        (lambda: get_platform(cmaddr=None, target=SdkTarget.WSE2), WSE2),
        (lambda: get_platform(addr=None, config=SimfabConfig(dump_core=True)), WSE3),
        (lambda: get_platform(None, SimfabConfig(), SdkTarget.WSE2), WSE2),
        (get_simulator, WSE3),
        (lambda: get_simulator(SimfabConfig(num_threads=4), SdkTarget.WSE2), WSE2),
    ],
)
def test_platforms_are_simulated_wafers(make, expected):
    platform = make()
    assert platform == expected
    assert platform.is_simulation()
    assert not platform.is_system()


ADDRESS = "10.0.0.1:9000"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: get_platform(ADDRESS),
            f"get_platform: the address '{ADDRESS}' names a real system; .*: leave it out",
        ),
        (lambda: get_platform(addr=ADDRESS), "the address .* names a real system"),
        (
            lambda: get_platform(addr=None, cmaddr=None),
            "get_platform: addr is another name of cmaddr: leave one out",
        ),
        (
            lambda: get_platform(SdkTarget.WSE2),
            r"SdkTarget.WSE2: 0> is not an address: write target=SdkTarget\.WSE2",
        ),
        (lambda: get_platform(3), "3 is not an address: leave it out"),
        (
            lambda: get_platform(None, SdkTarget.WSE2),
            r"is not a SimfabConfig: write target=SdkTarget\.WSE2",
        ),
        (lambda: get_simulator({}), "config={} is not a SimfabConfig: leave it out"),
        (lambda: get_simulator(target=7), "7 is not a machine: write SdkTarget.WSE2 or"),
        (
            lambda: get_system(ADDRESS),
            rf"get_system\('{ADDRESS}'\): there is no real system here.*write get_simulator\(\)",
        ),
        (lambda: get_system(cmaddr=ADDRESS), "there is no real system here"),
    ],
)
def test_other_forms_are_refused(make, message):
    with pytest.raises(HostError, match=message):
        make()


def test_a_runtime_has_one_platform(tmp_path):
    platform = get_platform()
    with pytest.raises(HostError, match="leave one out"):
        SdkRuntime(str(tmp_path), platform=platform, cmaddr=get_platform())
    with pytest.raises(HostError, match="only simulates"):
        SdkRuntime(str(tmp_path), platform=platform, cmaddr="10.0.0.1:9000")
