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
    def run(*, of_folders=False, **changes):
        package = tmp_path / "made_up"
        package.mkdir(exist_ok=True)
        for name, text in (FILES | {f"{name}.py": text for name, text in changes.items()}).items():
            path = package / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        options = {"packages": ["made_up"], "of_folders": str(of_folders)}
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


IN_FOLDERS = {"a/__init__": "", "b/__init__": "", "a/conductor": "from made_up.b import noun"}


def test_folders_in_layers_pass(check):
    assert check(of_folders=True, **IN_FOLDERS, **{"b/noun": ""}).kept


def test_folders_whose_modules_are_in_no_ring_may_be_in_one(check):
    files = IN_FOLDERS | {"a/noun": "", "b/noun": "from made_up.a import noun"}
    assert check(**files).kept
    found = check(of_folders=True, **files)
    assert found.metadata == {"rings": [["made_up.a", "made_up.b", "made_up.a"]]}


def test_files_beside_a_folder_are_a_folder(check):
    found = check(of_folders=True, **IN_FOLDERS, **{"b/noun": "from made_up import second"})
    assert found.kept
    files = {"second": "from made_up.b import noun", "b/noun": "from made_up import first"}
    assert not check(of_folders=True, **(IN_FOLDERS | files)).kept


def test_the_shortest_name_begins_a_ring():
    assert find_ring({"c": ["a"], "a": ["b"], "b": ["c"]}) == ["a", "b", "c", "a"]
    assert find_ring({"a": ["b", "c"], "b": ["c"]}) == []
