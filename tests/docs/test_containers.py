"""The dev container and Binder name files, extras and commands that exist."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
SCRIPTS = (ROOT / ".devcontainer" / "setup", ROOT / ".binder" / "postBuild")
REQUIREMENTS = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8")
EXTRAS = re.compile(r"\.\[([\w,-]+)\]")


def test_the_container_runs_a_script_that_is_there():
    _, name = CONTAINER["postCreateCommand"].split()
    assert ROOT / name == SCRIPTS[0]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_and_may_be_executed(script):
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(
    "text", [SCRIPTS[0].read_text(encoding="utf-8"), REQUIREMENTS], ids=["container", "binder"]
)
def test_extras_are_those_of_the_project(text):
    (extras,) = EXTRAS.findall(text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert {"demo", "notebook"} <= set(extras.split(","))


def test_commands_are_those_of_the_project():
    text = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    commands = set(re.findall(r"^(?:\.venv/bin/)?(\w+) --version", text, re.MULTILINE))
    assert commands == {"onewafer"} <= set(PROJECT["scripts"])


def test_both_have_a_python_that_the_project_supports():
    image = re.search(r"python:(\d\.\d+)", CONTAINER["image"])[1]
    (binder,) = re.findall(r"python-(\d\.\d+)", (ROOT / ".binder" / "runtime.txt").read_text())
    supported = [c for c in PROJECT["classifiers"] if c.startswith("Programming Language")]
    assert image == binder
    assert f"Programming Language :: Python :: {image}" in supported


def test_ports_that_are_forwarded_are_those_of_the_server():
    text = (ROOT / "docs" / "reference" / "cli" / "onewafer-serve.md").read_text(encoding="utf-8")
    for port in CONTAINER["forwardPorts"]:
        assert str(port) in CONTAINER["portsAttributes"]
        assert str(port) in text
