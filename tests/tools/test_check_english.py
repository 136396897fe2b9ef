"""The English check finds sentences that have to be decoded, and no others."""

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_english.py"


@pytest.fixture
def findings(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("check_english", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_english", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def find(text, name="file.py"):
        path = tmp_path / name
        path.write_text(text)
        return [str(finding) for finding in module.check(path)]

    return find


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('"""Of a model."""\n', "begin with the subject"),
        ("# Whether what it reads is known.\n", "name the thing"),
        ('"""What a run took."""\n', "begin with the noun: what the thing is, not what it does"),
        (
            'x = True\n"""Whether it is read."""\n',
            "write `True if …`, or for a function `Tell whether …`",
        ),
        ('"""Choices than which none is as small."""\n', "write two sentences, or a comparison"),
        ('x = 1\n"""Over which it is blocked."""\n', "begin with the noun"),
        ("x = 1  # nobody reads it\n", "say who or what does it"),
    ],
)
def test_sentences_to_decode_are_found(findings, text, advice):
    (finding,) = findings(text)
    assert finding.startswith("file.py:")
    assert finding.endswith(advice)


def test_other_prose_and_strings_are_not(findings):
    text = '"""The bytes of a model, and of its cache."""\nx = "Of nobody"\n# Offsets come first.\n'
    assert findings(text) == []


def test_tests_may_say_what_is_so(findings, tmp_path):
    (tmp_path / "tests").mkdir()
    assert findings('"""What is sent arrives."""\n', "tests/test_links.py") == []


def test_pages_are_read_without_their_code(findings):
    page = "# A page\n\nIts first part.\n\n```\nnobody\n```\n\nNothing that\nsomebody reads.\n"
    (finding,) = findings(page, "page.md")
    assert finding.startswith("page.md:9:")
