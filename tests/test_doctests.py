"""The examples in the docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

import onewafer

PACKAGE = Path(onewafer.__file__).parent


def modules_with_examples():
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
            yield name.removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
