"""Install onewafer as users do, in fresh virtual environments, and try it there.

    python tools/check_installs.py                 all of the below, but for those with torch
    python tools/check_installs.py sdist           from the source archive, whose files are those
                                                   that git knows; some of its tests run
    python tools/check_installs.py wheels          the wheels that are published: their files, then
                                                   each in a fresh environment, with uvx and pipx
    python tools/check_installs.py lowest          the lowest versions of every dependency
    python tools/check_installs.py pythons         every supported Python that this computer has
    python tools/check_installs.py lowest --torch  with the extras that need torch: on x86-64 Linux
                                                   about 3 GB to fetch and 6 GB on disk

Python's own modules are enough to run it; uv and build come from PyPI into an environment of their
own. A Python that is not there is left out, and said.

Exit code: 0 all is well, 1 something is not.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from check_wheels import build_wheels, compiled_kernels, try_program

ROOT = Path(__file__).parents[1]
CHECKS = ("sdist", "wheels", "lowest", "pythons")
PYTHONS = ("3.11", "3.12", "3.13")
LIGHT_EXTRAS = ("gpu", "view", "sweep")
TORCH_EXTRAS = ("demo", "models", "coverage", "serve")
_PROGRAM = "examples/csl/axpy-sum"
_TESTS = ("tests/image", "tests/diagnostics", "tests/test_units.py", "tests/test_package.py")
"""Tests that run from the source archive: quick ones, of every kind of file in it."""


class CheckError(Exception):
    """The error of a trial that does not work; the output of the command says why."""


def run(*command: str | Path, folder: Path = ROOT, **variables: str) -> str:
    """Run a command in a clean environment and return its output."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"NO_COLOR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment |= {"ONEWAFER_RAISE_OWN_ERRORS": "on"}  # the host hides no bug of ours
    done = subprocess.run(  # noqa: S603 - our own commands
        list(map(str, command)),
        cwd=folder,
        env={**environment, **variables},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        shown = " ".join(map(str, command))
        raise CheckError(f"{shown}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Environment:
    """A virtual environment with onewafer in it."""

    def __init__(self, folder: Path, python: Path | str, uv: Path) -> None:
        """Make an empty one."""
        self.folder, self._uv = folder, uv
        run(uv, "venv", "--python", python, folder)

    def install(self, *what: str, resolution: str = "highest") -> str:
        """Install packages; return what there is then, a line each."""
        python = ("--python", self.folder / "bin" / "python")
        run(self._uv, "pip", "install", *python, "--resolution", resolution, *what)
        return run(self._uv, "pip", "freeze", *python)

    def command(self, name: str, *arguments: str, folder: Path = ROOT) -> str:
        """Run one of its commands."""
        cache = str(self.folder / "cache")
        return run(self.folder / "bin" / name, *arguments, folder=folder, ONEWAFER_CACHE_DIR=cache)


def try_commands(environment: Environment) -> None:
    """Try what needs no extra: the command line, the compiler, both engines."""
    for arguments in (("--version",), ("--help",), ("compare", "--list"), ("bench", "--list")):
        environment.command("onewafer", *arguments)
    program = environment.folder / "program"
    shutil.copytree(ROOT / _PROGRAM, program)
    options = ("--arch=wse3", "--fabric-dims=9,3", "--fabric-offsets=4,1", "--memcpy")
    environment.command("cslc", "layout.csl", *options, "--params=block_size:8", folder=program)
    for engine in ("reference", "fast"):
        environment.command(
            "cs_python", f"--engine={engine}", "run.py", "--name", "out", folder=program
        )


_STUDY = """
title = "the latency of a hop"
[csl]
file = "program/layout.csl"
host = "program/run.py"
[axes]
params.block_size = [8]
hop_latency = [1, 2]
"""


def try_extras(environment: Environment) -> None:
    """Try what needs the light extras: a recording and its picture, a sweep here and with Ray."""
    environment.command("python", "-c", "import onewafer.perf.gpu")
    try_commands(environment)
    program = environment.folder / "program"
    shutil.rmtree(program / "out")
    study = environment.folder / "study.toml"
    study.write_text(_STUDY, "utf-8")
    tables: list[bytes] = []
    for name, options in (("here", ()), ("ray", ("--ray", "local"))):
        out = environment.folder / name
        environment.command("onewafer", "sweep", str(study), "-o", str(out), *options)
        tables.append((out / "points.parquet").read_bytes())
    if tables[0] != tables[1]:
        raise CheckError("a sweep with Ray has other bytes than one with processes")
    options = ("--arch=wse3", "--fabric-dims=9,3", "--fabric-offsets=4,1", "--memcpy")
    environment.command("cslc", "layout.csl", *options, "--params=block_size:8", folder=program)
    recorded = ("--record", "run.parquet", "--sample-every", "50")
    environment.command("cs_python", *recorded, "run.py", "--name", "out", folder=program)
    for form in ("png", "html"):
        environment.command(
            "onewafer", "view", "run.parquet", f"--{form}=run.{form}", folder=program
        )


def try_torch(environment: Environment) -> None:
    """Try what needs torch: a script, a language model, a comparison with a picture, a server."""
    environment.command("onewafer", "run", "--fidelity", "model", "examples/digits.py")
    options = ("--fidelity", "model", "--rectangle", "8x8")
    report = environment.folder / "report.json"
    environment.command("onewafer", "run", *options, f"--json={report}", "examples/generate.py")
    picture = environment.folder / "picture.svg"
    environment.command("onewafer", "compare", "bert-base", "--prefill", f"--plot={picture}")
    trace = environment.folder / "trace.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": 20, "output_length": 5}\n', "utf-8")
    environment.command("onewafer", "serve", "gpt2", "--context", "64", f"--replay={trace}")


def check_lowest(folder: Path, uv: Path, *, with_torch: bool) -> None:
    """Install the lowest version that each requirement allows, and try it."""
    python = find_python(PYTHONS[0])
    if python is None:
        say(f"lowest versions: Python {PYTHONS[0]} not found, left out")
        return
    core = Environment(folder / "lowest", python, uv)
    versions = core.install(str(ROOT), resolution="lowest-direct")
    try_commands(core)
    say(f"lowest versions on Python {PYTHONS[0]}: {_named(versions, ())}")
    extras = (*LIGHT_EXTRAS, *TORCH_EXTRAS) if with_torch else LIGHT_EXTRAS
    whole = Environment(folder / "lowest-extras", python, uv)
    versions = whole.install(f"{ROOT}[{','.join(extras)}]", resolution="lowest-direct")
    try_extras(whole)
    if with_torch:
        try_torch(whole)
    say(f"and of {', '.join(extras)}: {_named(versions, extras)}")
    if not with_torch:
        say(f"and of {', '.join(TORCH_EXTRAS)}: left out; add --torch")
    tests = Environment(folder / "lowest-test", python, uv)
    versions = tests.install(f"{ROOT}[test]", resolution="lowest-direct")
    tests.command("python", "-m", "pytest", "-n", "0", *_TESTS)
    tests.command("lint-imports")
    tests.command("ruff", "--version")
    say(f"and of test: {_named(versions, ('test',))}")
    check_lowest_docs(folder, uv)
    if with_torch:
        check_lowest_notebook(folder, uv)
    else:
        say("and of notebook: left out; add --torch")


def check_lowest_docs(folder: Path, uv: Path) -> None:
    """Build the documentation with the lowest versions."""
    docs = Environment(folder / "lowest-docs", find_python(PYTHONS[0]) or sys.executable, uv)
    versions = docs.install(f"{ROOT}[docs]", resolution="lowest-direct")
    docs.command("sphinx-build", "-W", "-n", "-q", "-E", "docs", str(docs.folder / "site"))
    say(f"and of docs: {_named(versions, ('docs',))}")


def check_lowest_notebook(folder: Path, uv: Path) -> None:
    """Run the tests of notebooks with the lowest versions."""
    cells = Environment(folder / "lowest-cells", find_python(PYTHONS[0]) or sys.executable, uv)
    extras = ("notebook", "view", "demo", "test")
    versions = cells.install(f"{ROOT}[{','.join(extras)}]", resolution="lowest-direct")
    tests = ("tests/api/test_in_a_kernel.py", "tests/docs/test_notebooks.py")
    # Old packages warn of one another, which is no error of a notebook.
    cells.command("python", "-m", "pytest", "-n", "0", "-m", "notebook", "-W", "default", *tests)
    say(f"and of notebook: {_named(versions, ('notebook',))}")


def _named(versions: str, extras: tuple[str, ...]) -> str:
    """Return the lines of `pip freeze` that the project names."""
    named = {_name(requirement) for requirement in requirements(extras)}
    return ", ".join(line for line in versions.splitlines() if _name(line) in named)


def requirements(extras: tuple[str, ...]) -> list[str]:
    """Return what the project and some of its extras ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


def _name(requirement: str) -> str:
    """Return the name of a requirement, or of a line of `pip freeze`."""
    for mark in "<>=!~[;@ ":
        requirement = requirement.partition(mark)[0]
    return requirement.lower().replace("_", "-")


def check_pythons(folder: Path, uv: Path) -> None:
    """Install the newest versions on each Python, and try them."""
    for version in PYTHONS:
        python = find_python(version)
        if python is None:
            say(f"Python {version}: not found, left out")
            continue
        environment = Environment(folder / f"python-{version}", python, uv)
        environment.install(f"{ROOT}[{','.join(LIGHT_EXTRAS)}]")
        try_commands(environment)
        say(f"Python {version}: {environment.command('python', '--version').split()[1]}, fine")


def find_python(version: str) -> Path | None:
    """Return a Python of a version: on the path, or one that pyenv keeps."""
    name = f"python{version}"
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        *(Path(folder) / name for folder in os.get_exec_path()),
        *sorted(kept.glob(f"{version}.*/bin/{name}")),
    ]
    return next(filter(_runs, candidates), None)


def _runs(python: Path) -> bool:
    """Tell whether a Python starts and has its headers' modules; a shim of pyenv may not."""
    if not python.is_file():
        return False
    command = [str(python), "-c", "import venv, ssl, sqlite3"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - a Python


def check_sdist(folder: Path, uv: Path, tools: Path) -> None:
    """Build the source archive, hold its files against git's, and test what is built from it."""
    run(tools / "python", "-m", "build", "--sdist", "--outdir", folder, ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    held = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    known = {name for name in run("git", "ls-files").splitlines() if (ROOT / name).is_file()}
    wrong = sorted((held - {"PKG-INFO"}) ^ known)
    if wrong:
        raise CheckError(f"the archive and git differ in: {', '.join(wrong)}")
    environment = Environment(folder / "from-sdist", find_python(PYTHONS[0]) or sys.executable, uv)
    environment.install(f"{unpacked}[test]")
    environment.command("python", "-m", "pytest", "-n", "0", *_TESTS, folder=unpacked)
    say(f"source archive: {len(known)} files, as git has them; tests of it pass")


def check_wheels(folder: Path, uv: Path, tools: Path) -> None:
    """Build the wheels, check them, and run a program with those that this computer takes."""
    run(uv, "pip", "install", "--python", tools / "python", "twine>=6", "pipx>=1.7")

    def build(*options: str | Path, **variables: str) -> str:
        return run(tools / "python", "-m", "build", *options, folder=folder, **variables)

    wheels = build_wheels(folder / "wheels", build)
    run(tools / "twine", "check", "--strict", *(wheel.path for wheel in wheels))
    if findings := [finding for wheel in wheels for finding in wheel.findings()]:
        raise CheckError("\n".join(findings))
    for wheel in wheels:
        if not wheel.runs_here:
            say(f"wheel for {wheel.platform}: right files; not tried on this computer")
            continue
        environment = Environment(folder / f"wheel-{wheel.platform}", sys.executable, uv)
        environment.install(str(wheel.path))
        try_program(environment.command, environment.folder, ("reference", "fast"))
        has_kernels = not compiled_kernels(environment.folder / "cache")
        if has_kernels == (wheel.platform == "any"):
            raise CheckError(f"{wheel.path.name}: it brought kernels: {has_kernels}")
        say(f"wheel for {wheel.platform}: a program runs, with prebuilt kernels: {has_kernels}")
    path = next(wheel.path for wheel in wheels if wheel.runs_here)
    versions = [
        run(uv, "tool", "run", "--from", path, "onewafer", "--version", folder=folder),
        run(tools / "pipx", "run", "--spec", path, "onewafer", "--version", folder=folder),
    ]
    say(f"uvx and pipx run it: {', '.join(map(str.strip, versions))}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> int:
    """Run the checks that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(CHECKS))
    parser.add_argument("--torch", action="store_true", help="with the extras that need torch")
    options = parser.parse_args()
    checks = options.checks or CHECKS
    if unknown := set(checks) - set(CHECKS):
        parser.error(f"there is no check {min(unknown)}")
    if platform.system() == "Windows":
        parser.error("it needs the layout of environments that POSIX systems have")
    with tempfile.TemporaryDirectory(prefix="onewafer-installs-") as name:
        folder = Path(name)
        tools = folder / "tools" / "bin"
        run(sys.executable, "-m", "venv", tools.parent)
        run(tools / "python", "-m", "pip", "install", "uv>=0.5", "build>=1.2")
        failed = False
        for check in checks:
            try:
                if check == "sdist":
                    check_sdist(folder, tools / "uv", tools)
                elif check == "wheels":
                    check_wheels(folder, tools / "uv", tools)
                elif check == "lowest":
                    check_lowest(folder, tools / "uv", with_torch=options.torch)
                else:
                    check_pythons(folder, tools / "uv")
            except CheckError as error:
                failed = True
                say(f"{check}: FAILED\n{error}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
