"""The page of the optimiser has the sizes of today."""

from __future__ import annotations

from pathlib import Path

import code_sizes
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "optimiser.md"


@pytest.mark.slow
def test_the_page_has_the_sizes_of_today(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    empty, _, large = code_sizes.own_examples(tmp_path)
    for example in (empty, large):
        assert code_sizes.row_of(example, tmp_path / "out") in page


def test_command_lines_are_read_from_scripts(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks" / "copy"
    folder.mkdir(parents=True)
    script = (
        "set -e\ncslc --arch=wse3 ./layout.csl \\\n  --memcpy -o out # comment\ncs_python run.py\n"
    )
    (folder / code_sizes.SCRIPT).write_text(script, encoding="utf-8")
    (example,) = code_sizes.examples_of(tmp_path)
    assert example.name == "copy"
    assert example.arguments == ("--arch=wse3", "./layout.csl", "--memcpy")
