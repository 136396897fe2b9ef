"""docs/explanation/machine.md, the tests and the engines tell the same story."""

import re
from pathlib import Path

import pytest

from onewafer.simulator import reference

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/explanation/machine.md").read_text(encoding="utf-8")
RULES = dict(
    re.findall(
        r"^\*\*(M\d+)\*\* (.*?)(?=\n\n(?:\*\*M|#))", DOCUMENT, flags=re.MULTILINE | re.DOTALL
    )
)
TESTS = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("simulator", "arch", "host")
    for path in sorted((ROOT / "tests" / folder).rglob("test_*.py"))
    if path != Path(__file__)
)


def cited_rules(text):
    """Return the rules that a text names; `M20–M24` names all between."""
    cited = {f"M{number}" for number in re.findall(r"\bM(\d+)\b", text)}
    for first, last in re.findall(r"\bM(\d+)–M(\d+)\b", text):
        cited |= {f"M{number}" for number in range(int(first), int(last) + 1)}
    return cited


@pytest.mark.parametrize("rule", RULES)
def test_rule_says_its_source_and_names_its_tests(rule):
    source = RULES[rule].rpartition("— ")[2]
    assert re.search(
        r"— .*(Published|Derived|Assumed|Chosen|Definition|published)", RULES[rule], re.DOTALL
    ), rule
    names = re.findall(r"`(test_\w+)`", source)
    assert names, f"{rule} names no test"
    for name in names:
        match = re.search(rf'def {name}\(.*?\):\n    """(.*?)"""', TESTS, flags=re.DOTALL)
        assert match, f"{rule}: there is no {name}"
        assert rule in cited_rules(match[1]), f"{name} does not cite {rule}"


def test_tests_and_engine_cite_only_rules_that_exist():
    engine = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted(Path(reference.__file__).parent.rglob("*.py"))
    )
    cited = {f"M{number}" for number in re.findall(r"\bM(\d+)\b", TESTS + engine)}
    assert cited <= set(RULES)


def test_timing_fields_cite_rules_that_exist():
    timing = (ROOT / "src/onewafer/arch/timing.py").read_text(encoding="utf-8")
    cited = {f"M{number}" for number in re.findall(r"\bM(\d+)\b", timing)}
    assert cited <= set(RULES)
    assert len(cited) > 10
