"""The page of training scripts: as the command writes it, of the rows that it has."""

from __future__ import annotations

from tools.training_scripts import PAGE, SCRIPTS, read_rows, write_page


def test_the_page_is_as_the_command_writes_it():
    rows = read_rows()
    assert rows.keys() <= {script.name for script in SCRIPTS}
    assert PAGE.read_text(encoding="utf-8") == write_page(rows)


def test_rows_that_are_written_anew_are_in_the_order_of_the_scripts():
    names = [script.name for script in SCRIPTS]
    page = write_page({name: f"| [{name}](somewhere) | new |" for name in reversed(names)})
    assert [line[3 : line.index("]")] for line in page.splitlines() if line[:3] == "| ["] == names
