"""The names that SDK programs import."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import onewafer.host
import onewafer.sdk_layout

SOURCE = Path(onewafer.__file__).parents[1]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("cerebras.sdk.runtime.sdkruntimepybind", ("SdkRuntime", "MemcpyDataType", "MemcpyOrder")),
        (
            "cerebras.sdk.runtime.sdkruntimepybind",
            ("SdkTarget", "SimfabConfig", "SdkExecutionPlatform", "get_platform"),
        ),
        (
            "cerebras.sdk.runtime.sdkruntimepybind",
            ("Task", "get_simulator", "get_system"),
        ),
        ("cerebras.sdk.sdk_utils", ("memcpy_view", "input_array_to_u32", "calculate_cycles")),
        ("cerebras.geometry.geometry", ("IntVector", "IntRectangle")),
    ],
)
def test_names_are_those_of_the_host_package(module, names):
    for name in names:
        assert getattr(importlib.import_module(module), name) is getattr(onewafer.host, name)


def test_runtime_of_the_first_sdks_is_refused_in_a_sentence():
    match = r"CSELFRunner belongs to SDK 0\.9 and older: .*SdkRuntime"
    with pytest.raises(ImportError, match=match):
        importlib.import_module("cerebras.elf.cs_elf_runner")


def test_names_of_the_layout_are_those_of_its_package():
    module = importlib.import_module("cerebras.sdk.runtime.sdkruntimepybind")
    for name in onewafer.sdk_layout.__all__:
        assert getattr(module, name) is getattr(onewafer.sdk_layout, name)


def test_a_class_of_the_sdk_has_a_name_in_lower_case():
    module = importlib.import_module("cerebras.sdk.debug.debug_util")
    assert module.debug_util is onewafer.host.DebugUtil


def test_enums_have_the_documented_values():
    data_type, order = onewafer.host.MemcpyDataType, onewafer.host.MemcpyOrder
    assert [(m.name, m.value) for m in data_type] == [("MEMCPY_32BIT", 0), ("MEMCPY_16BIT", 1)]
    assert [(m.name, m.value) for m in order] == [("ROW_MAJOR", 0), ("COL_MAJOR", 1)]
    targets, routes = onewafer.host.SdkTarget, onewafer.sdk_layout.Route
    assert [(m.name, m.value) for m in targets] == [("WSE2", 0), ("WSE3", 1)]
    assert [m.name for m in routes] == ["RAMP", "EAST", "WEST", "NORTH", "SOUTH"]
    assert [m.name for m in onewafer.sdk_layout.Edge] == ["TOP", "BOTTOM", "LEFT", "RIGHT"]


def test_names_that_are_missing_say_so():
    with pytest.raises(ImportError, match="cannot import name 'Sdkruntime'"):
        from cerebras.sdk.runtime.sdkruntimepybind import Sdkruntime  # noqa: F401, PLC0415


def test_another_distribution_can_add_to_the_package(tmp_path):
    """As `cerebras-cloud-sdk` does, with the `cerebras` folder in another place of the path."""
    other = tmp_path / "cerebras" / "another" / "sdk"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("NAME = 'another'\n")
    program = (
        "import cerebras.another.sdk, cerebras.sdk.sdk_utils;"
        "print(cerebras.another.sdk.NAME, cerebras.sdk.sdk_utils.memcpy_view.__name__)"
    )
    for path in ([tmp_path, SOURCE], [SOURCE, tmp_path]):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        result = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout == "another memcpy_view\n"


def test_no_file_claims_the_shared_folders():
    """Where it is installed, `cloud` is there, too: the folder of `cerebras-cloud-sdk`."""
    ours = [folder for folder in (SOURCE / "cerebras").iterdir() if folder.name != "cloud"]
    assert not (SOURCE / "cerebras" / "__init__.py").exists()
    assert not [file for folder in ours for file in folder.rglob("__init__.py")]
