"""What is installed is complete: type marker, machine descriptions, CSL libraries."""

from importlib.metadata import distribution, entry_points
from importlib.resources import files

import onewafer

CSL_FOLDERS = {
    "csl": "library",
    "mesh": "kernels",
    "validation": "programs",
    "benchmarks": "programs",
}


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
    for package, folder in CSL_FOLDERS.items():
        names = [path.name for path in csl_files(files("onewafer") / package / folder)]
        assert names, f"no CSL in onewafer/{package}/{folder}"


def test_commands_are_installed():
    commands = {
        point.name: point for point in entry_points(group="console_scripts")
        if point.value.startswith("onewafer.")
    }  # fmt: skip
    assert set(commands) == {"onewafer", "cslc", "cs_python", "sdk_debug_shell"}
    assert all(callable(point.load()) for point in commands.values())
