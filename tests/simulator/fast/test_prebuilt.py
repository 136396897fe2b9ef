"""Machine code that comes with the package: used if it is exactly that of the sources, else not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onewafer.errors import InternalError
from onewafer.settings import wants_compiled_kernels
from onewafer.simulator.fast.machine_code import execution, prebuilt
from onewafer.simulator.fast.machine_code.execution import Execution
from onewafer.simulator.fast.machine_code.prebuilt import (
    FAILED,
    FOLDER,
    MANIFEST,
    NUM_WORDS,
    NotUsableError,
    PrebuiltEntry,
    check_file,
    load_entries,
    platform_name,
)

ROOT = Path(__file__).parents[3]
X86 = "linux-x86_64"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="there are files for Linux alone")
unless_compiled = pytest.mark.skipif(
    wants_compiled_kernels(), reason="the environment asks for kernels that are compiled here"
)


@pytest.fixture
def folder(tmp_path):
    """Return a copy of the files, to be damaged."""
    return shutil.copytree(FOLDER, tmp_path / "binaries")


@pytest.mark.parametrize("platform", [X86, "linux-aarch64"])
def test_the_package_has_machine_code_of_its_sources(platform):
    assert check_file(FOLDER, platform).stat().st_size < 1 << 20


@on_linux
@unless_compiled
def test_it_is_used():
    if platform_name() not in (X86, "linux-aarch64"):
        pytest.skip("there are files for other computers alone")
    assert execution.why_compiled() == ""
    assert load_entries(FOLDER, platform_name()).keys() == NUM_WORDS.keys()


@unless_compiled
def test_numba_is_not_imported_for_it(tmp_path):
    """Its import takes longer than most programs run."""
    code = (
        "import sys; from tests.simulator.assembly import boot, eastward, receiver, sender;"
        "programs = {(0, 0): sender(3, 2), (1, 0): receiver(3, 2)};"
        "boot(programs, engine='fast', width=2, routes=eastward(3, 0, 1)).launch();"
        "assert not {'numba', 'llvmlite'} & sys.modules.keys()"
    )
    environment = {**os.environ, "ONEWAFER_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "cache").exists()


def change_sources(_folder, monkeypatch):
    monkeypatch.setattr(prebuilt, "sources_digest", lambda: "0" * 64)


def flip_a_bit(folder, _monkeypatch):
    path = folder / f"kernels-{X86}.so"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(folder, _monkeypatch):
    path = folder / f"kernels-{X86}.so"
    path.write_bytes(path.read_bytes()[:-1])


def swap(folder, _monkeypatch):
    shutil.copy(folder / "kernels-linux-aarch64.so", folder / f"kernels-{X86}.so")


def write_nonsense(folder, _monkeypatch):
    (folder / MANIFEST).write_text("[]")


def drop_manifest(folder, _monkeypatch):
    (folder / MANIFEST).unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (change_sources, "made of other sources"),
        (flip_a_bit, "damaged"),
        (cut_off, "damaged"),
        (swap, "damaged"),
        (write_nonsense, "cannot be checked"),
        (drop_manifest, "cannot be checked"),
    ],
)
def test_what_does_not_fit_is_not_loaded(folder, monkeypatch, damage, reason):
    check_file(folder, X86)
    damage(folder, monkeypatch)
    monkeypatch.setattr("ctypes.CDLL", lambda _path: pytest.fail("it was loaded"))
    with pytest.raises(NotUsableError, match=reason):
        load_entries(folder, X86)


def test_there_is_none_for_other_computers():
    with pytest.raises(NotUsableError, match="there are no prebuilt ones for win32-x86_64"):
        load_entries(FOLDER, "win32-x86_64")


@on_linux
def test_what_the_system_refuses_is_not_used():
    other = "linux-aarch64" if platform_name() == X86 else X86
    with pytest.raises(NotUsableError, match="cannot be loaded"):
        load_entries(FOLDER, other)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Execution.PREBUILT),
        ({"ONEWAFER_PREBUILT": "off"}, Execution.COMPILED),
        ({"NUMBA_BOUNDSCHECK": "1"}, Execution.COMPILED),
        ({"NUMBA_BOUNDSCHECK": "0"}, Execution.PREBUILT),
        ({"NUMBA_DISABLE_JIT": "1", "ONEWAFER_PREBUILT": "off"}, Execution.PYTHON),
    ],
)
def test_who_asks_for_another_execution_gets_it(monkeypatch, variables, expected):
    for name in ("ONEWAFER_PREBUILT", "NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(execution, "load_entries", lambda _folder, _platform: {})
    execution._prebuilt_entries.cache_clear()
    try:
        assert execution.execution() is expected
    finally:
        monkeypatch.undo()
        execution._prebuilt_entries.cache_clear()


def test_an_entry_passes_addresses_and_lengths():
    seen = []
    entry = PrebuiltEntry("wake_routers", lambda *words: seen.append(words) or 0)
    bound, pes = np.zeros(4, np.int64), np.arange(5)
    entry(bound, pes, np.int64(7))
    entry(bound, pes[::2], 8)
    assert seen[0] == (bound.ctypes.data, pes.ctypes.data, 5, 7)
    assert seen[1][0] == bound.ctypes.data
    assert seen[1][1] not in (pes.ctypes.data, 0)  # kernels step by one
    assert seen[1][2:] == (3, 8)


def test_an_exception_in_a_kernel_is_no_result():
    with pytest.raises(InternalError, match="run_cycles"):
        PrebuiltEntry("run_cycles", lambda *_words: FAILED)(np.zeros(1, np.int64), 0, 0, 0, 0)


@pytest.mark.slow
def test_what_is_compiled_here_agrees_too(tmp_path):
    """The same tests of values and cycles that machine code of the package passes each time."""
    names = ("test_engines_agree", "test_generated_features", "fast/test_threads_agree")
    process = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"),
            *(f"tests/simulator/{name}.py" for name in names),
        ],
        env={**os.environ, "ONEWAFER_PREBUILT": "off", "ONEWAFER_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert process.returncode == 0, process.stdout
    assert [*tmp_path.rglob("*run_cycles*.nbc")], "nothing was compiled"
