"""The generated documents are current, and the tool says so when they are not."""

import re
from pathlib import Path

from cli_reference import cli_pages
from generate_docs import documents, main
from recorded_pages import RECORDED_PAGES, RecordedPage

ROOT = Path(__file__).parents[2]


def test_the_documents_are_current(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out


PAGE = RecordedPage(
    path="page.md", command="count", head="# Counts of {n} things\n", parts=("one",)
)


def test_a_page_of_a_long_run_that_is_current_has_no_faults():
    assert [*PAGE.faults("# Counts of 2 things\n\nby `count`: one, two\n")] == []


def test_a_page_of_a_long_run_that_lacks_something_is_out_of_date():
    assert [*PAGE.faults("# Sums of 2 things\n\nthree\n")] == [
        "its first lines do not name `count`",
        "its opening is not that of the command",
        "it lacks 'one'",
    ]


def test_every_page_that_names_its_command_is_checked():
    written = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "docs").rglob("*.md")
        if re.search(
            "(?:Generated|Written|written) by\\s+`", path.read_text(encoding="utf-8")[:400]
        )
    }
    pages = {path for path in documents() if path.endswith(".md")}
    assert written == pages | {page.path for page in RECORDED_PAGES}


def test_the_reference_has_every_option_of_a_command():
    page = cli_pages()["docs/reference/cli/onewafer-run.md"]
    assert "| `--arch NAME` | Machine: wse2, wse3 or toy. | `wse3` |" in page
    assert "| `--quiet`, `-q` |" in page
    assert "onewafer run [OPTIONS] SCRIPT [ARGUMENT]…" in page
