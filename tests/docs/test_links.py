"""Links between the Markdown pages lead somewhere: to a file, and to a heading of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^()\s]*)\)")
FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|csl|toml|json|md))`")
MADE_BY_USERS = {"out/simulation.json", "docs/reference/errors/code.md"}
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(page):
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    titles = (title.replace("`", "").lower() for title in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def links(page):
    return [link for link in LINK.findall(prose(page)) if not link.startswith("http")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_index():
    found, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page.suffix == ".md" and page not in found:
            found.add(page)
            waiting += [page.parent / link.partition("#")[0] for link in links(page)]
    assert {page for page in PAGES if page.parent != ROOT} <= found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page):
    named = set(PATH.findall(prose(page))) - MADE_BY_USERS
    folders = (ROOT, ROOT / "src" / "onewafer")
    assert [name for name in named if not any((top / name).exists() for top in folders)] == []
