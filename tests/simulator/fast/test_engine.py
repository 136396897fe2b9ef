"""What is special about the fast engine: its scalars, its machine code and where that is kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import onewafer
from onewafer.image import DsdOperation, ScalarType
from onewafer.simulator import StopReason
from onewafer.simulator.arithmetic.tables import (
    BINARY,
    CONVERSIONS,
    ELEMENTS,
    HALF_ELEMENTS,
    UNARY,
    dsd_element,
)
from onewafer.simulator.fast.kernels.compute_element import scalars
from tests.simulator.assembly import boot, eastward, receiver, sender

ROOT = Path(__file__).parents[3]
PACKAGE = Path(onewafer.__file__).parent
WORDS = (0, 1, 2, 7, 0x3C00, 0x7FFF, 0x8000, 0xBC00, 0xFFFF, 0x3F80_0000, 0x8000_0000, 0xFFFF_FFFE)


def plain(function):
    """Return the Python function of a kernel, which may be compiled."""
    return getattr(function, "py_func", function)


@pytest.fixture
def plain_scalars(monkeypatch):
    """Let the scalar kernels call each other as Python functions."""
    for name, value in vars(scalars).copy().items():
        monkeypatch.setattr(scalars, name, plain(value))
    return scalars


def canonical_words(kind):
    return sorted({CONVERSIONS[ScalarType.U32, kind](word) for word in WORDS})


def test_every_binary_instruction_is_that_of_the_tables(plain_scalars):
    for (opcode, kind), function in BINARY.items():
        for a in canonical_words(kind):
            for b in canonical_words(kind):
                found = plain_scalars.compute_binary(int(opcode), int(kind), a, b)
                assert found == function(a, b), (opcode, kind)


def test_every_unary_instruction_is_that_of_the_tables(plain_scalars):
    for (opcode, kind), function in UNARY.items():
        for a in canonical_words(kind):
            found = plain_scalars.compute_unary(int(opcode), int(kind), a)
            assert found == function(a), (opcode, kind)


def test_every_conversion_is_that_of_the_tables(plain_scalars):
    for (source, target), function in CONVERSIONS.items():
        for word in canonical_words(source):
            found = plain_scalars.convert(int(source), int(target), word)
            assert found == function(word), (source, target)


def test_every_operation_is_that_of_the_tables(plain_scalars):
    for operation in DsdOperation:
        for a, b, scalar in zip(WORDS, WORDS[3:] + WORDS[:3], WORDS[5:] + WORDS[:5], strict=True):
            words = a & 0xFFFF, b & 0xFFFF, scalar & 0xFFFF
            found = plain_scalars.compute_element(int(operation), *words)
            assert found == ELEMENTS[operation](*words), operation
            for half in HALF_ELEMENTS:
                kind = plain_scalars.OF_HALVES >> operation & 1 and half is not ScalarType.F16
                number = int(operation) | (int(half) << plain_scalars.HALF_SHIFT if kind else 0)
                found = plain_scalars.compute_element(number, *words)
                assert found == dsd_element(operation, half)(*words), (operation, half)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_limit_may_have_more_than_64_bits(engine):
    programs = {(0, 0): sender(3, 2), (1, 0): receiver(3, 2)}
    machine = boot(programs, engine=engine, width=2, routes=eastward(3, 0, 1)).machine
    machine.launch("main", [])
    assert machine.run(max_cycles=(1 << 64) + 1) is StopReason.QUIESCENT


RUN = """
from onewafer.simulator.fast.kernels import loop
from tests.simulator.assembly import boot, eastward, receiver, sender

programs = {(0, 0): sender(3, 2), (1, 0): receiver(3, 2)}
run = boot(programs, engine="fast", width=2, routes=eastward(3, 0, 1)).launch()
print("cycle", run.machine.cycle)
for signature in getattr(loop.run_cycles, "signatures", ()):
    print("counts", "NRT_incref" in (loop.run_cycles.inspect_llvm(signature) or ""))
"""


def run_in(folder, cache, **environment):
    """Run a small program with the package in `folder`; return what it printed."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
            "ONEWAFER_CACHE_DIR": str(cache),
            **environment,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    return dict(line.split() for line in process.stdout.splitlines())


def copy_package(folder):
    shutil.copytree(PACKAGE, folder / "onewafer", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "onewafer"


@pytest.mark.slow
def test_a_changed_constant_is_seen(tmp_path):
    """Machine code of other sources is never used, and what is compiled counts no references."""
    package = copy_package(tmp_path)
    first = run_in(tmp_path, tmp_path / "cache")
    assert "counts" not in first  # it came with the package
    path = package / "simulator" / "fast" / "kernels" / "compute_element" / "tasks.py"
    text = path.read_text(encoding="utf-8")
    line = "s.pes[pe, f.PE_MAIN_NEXT] = cycle + s.timing[f.T_TASK_START]"
    changed = text.replace(line, f"{line} + 10")
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    second = run_in(tmp_path, tmp_path / "cache")
    assert int(second["cycle"]) == int(first["cycle"]) + 10
    assert second["counts"] == "False"


BOUNDS_CHECKED = (
    *("-p", "no:cacheprovider", "-k", "fast or agree"),
    *("--ignore", "tests/simulator/fast/test_engine.py"),
    *("--ignore", "tests/simulator/fast/test_mutants.py"),
)


@pytest.mark.slow
def test_no_access_is_out_of_bounds(tmp_path):
    """The engine compiled here, with Numba's bounds checks, on every test of the machine model."""
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/simulator", "-n", "0", *BOUNDS_CHECKED],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "ONEWAFER_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert process.returncode == 0, process.stdout
