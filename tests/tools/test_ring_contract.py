"""The contract finds rings, through types and through the face of a package, too."""

import grimp
import pytest

from tools.ring_contract import WithoutRings, find_ring

FILES = {
    "__init__.py": "from made_up.first import A",
    "first.py": "A = 1",
    "second.py": "from made_up.first import A",
}
TYPED = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from made_up.second import A
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    def run(**changes):
        package = tmp_path / "made_up"
        package.mkdir(exist_ok=True)
        for name, text in (FILES | {f"{name}.py": text for name, text in changes.items()}).items():
            (package / name).write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        options = {"packages": ["made_up"]}
        contract = WithoutRings(name="", session_options={}, contract_options=options)
        return contract.check(grimp.build_graph("made_up", cache_dir=None), verbose=False)

    return run


def test_modules_in_layers_pass(check):
    assert check().kept


@pytest.mark.parametrize(
    ("changes", "ring"),
    [
        ({"first": "from made_up import second"}, ["made_up.first", "made_up.second"]),
        ({"first": TYPED}, ["made_up.first", "made_up.second"]),
        ({"first": "from made_up import B"}, ["made_up", "made_up.first"]),
    ],
)
def test_a_ring_is_named(check, changes, ring, capsys):
    found = check(**changes)
    assert found.metadata == {"rings": [[*ring, ring[0]]]}
    assert not found.kept
    WithoutRings.render_broken_contract(None, found)
    assert f"{ring[-1]} imports {ring[0]}" in capsys.readouterr().out


def test_the_shortest_name_begins_a_ring():
    assert find_ring({"c": ["a"], "a": ["b"], "b": ["c"]}) == ["a", "b", "c", "a"]
    assert find_ring({"a": ["b", "c"], "b": ["c"]}) == []
