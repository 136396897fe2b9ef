"""The check of prebuilt kernels finds whatever is not as it was made."""

import json
import shutil

import prebuild_kernels
import pytest
from kernel_objects import PLATFORMS, code_for

from onewafer.simulator.fast.machine_code.prebuilt import FOLDER, MANIFEST, file_name


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Return a copy of the files that the package has."""
    copy = shutil.copytree(FOLDER, tmp_path / "binaries")
    monkeypatch.setattr(prebuild_kernels, "FOLDER", copy)
    monkeypatch.setattr(prebuild_kernels, "ROOT", tmp_path)
    return copy


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_was_made_is_fine(folder):
    assert prebuild_kernels.check() == []
    assert prebuild_kernels.compare(FOLDER) == []
    prebuild_kernels.write_manifest(folder)
    assert prebuild_kernels.compare(FOLDER) == []


def test_changed_sources_are_found(folder):
    change(folder / MANIFEST, sources="0")
    (finding,) = prebuild_kernels.check()
    assert finding == (
        "the sources of kernels have changed: run `python tools/prebuild_kernels.py` and commit "
        "what it writes"
    )


@pytest.mark.parametrize("platform", PLATFORMS)
def test_another_file_is_found(folder, platform):
    path = folder / file_name(platform)
    path.write_bytes(path.read_bytes() + b"\0")
    name = f"kernels-{platform}.so"
    assert [f.partition(":")[0] for f in prebuild_kernels.check()] == [
        f"binaries/{name} is not the file that was made"
    ]
    assert [f.partition(":")[0] for f in prebuild_kernels.compare(FOLDER)] == [
        f"{name} is not what the sources give"
    ]
    path.unlink()
    assert len(prebuild_kernels.check()) == len(prebuild_kernels.compare(FOLDER)) == 1


def test_a_platform_that_is_forgotten_is_found(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"][file_name("linux-aarch64")]
    change(folder / MANIFEST, files=manifest["files"])
    (finding,) = prebuild_kernels.check()
    assert finding.startswith("kernels.json does not name exactly kernels-linux-aarch64.so, ")


CODE = """\
target triple = "x86_64-unknown-linux-gnu"
declare void @llvm.x86.sse2.pause() #4
  tail call void @llvm.x86.sse2.pause()
declare double @llvm.floor.f64(double) #1
  %1 = tail call double @llvm.floor.f64(double %0)
"""


def test_code_of_the_host_becomes_that_of_another_platform():
    assert code_for("linux-aarch64", CODE).splitlines() == [
        "declare void @llvm.aarch64.hint(i32) #4",
        "  tail call void @llvm.aarch64.hint(i32 1)",
        "declare double @llvm.floor.f64(double) #1",
        "  %1 = tail call double @llvm.floor.f64(double %0)",
    ]
    host = code_for("linux-x86_64", CODE)
    assert "@llvm.x86.sse2.pause() #4" in host
    assert "%1 = tail call double @floor_of(double %0)" in host
    assert "floor.f64" not in host  # the least x86-64 has no instruction for it
