"""What is installed is complete: type marker, machine descriptions, CSL libraries."""

import subprocess
import tomllib
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from pathlib import Path

import pytest

import onewafer

ROOT = Path(__file__).parents[1]

CSL_FOLDERS = ("csl/library", "mesh", "validation/programs", "benchmarks/programs")


def test_the_version_is_the_installed_one():
    assert distribution("onewafer").version == onewafer.__version__


def test_package_data_are_installed():
    root = files("onewafer")
    assert (root / "py.typed").is_file()
    machines = {path.name for path in (root / "arch" / "catalog").iterdir()}
    assert {"wse2.toml", "wse3.toml", "toy.toml"} <= machines


def csl_files(folder):
    for path in folder.iterdir():
        if path.is_dir():
            yield from csl_files(path)
        elif path.name.endswith(".csl"):
            yield path


def test_csl_libraries_and_kernels_are_installed():
    for folder in CSL_FOLDERS:
        installed = {path.name for path in csl_files(files("onewafer").joinpath(folder))}
        assert installed == {path.name for path in csl_files(ROOT / "src" / "onewafer" / folder)}
        assert installed, f"no CSL in onewafer/{folder}"


def test_commands_are_installed():
    commands = {
        point.name: point for point in entry_points(group="console_scripts")
        if point.value.startswith("onewafer.")
    }  # fmt: skip
    assert set(commands) == {"onewafer", "cslc", "cs_python", "sdk_debug_shell"}
    assert all(callable(point.load()) for point in commands.values())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows what belongs to it")
def test_the_source_archive_holds_what_git_has():
    """`tools/check_installs.py sdist` builds one and compares file by file."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    included = {path.removeprefix("/") for path in build["build"]["targets"]["sdist"]["include"]}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout
    assert included == {path.partition("/")[0] for path in listed.splitlines()}
