"""The page of a study in Debian's Chromium."""

import pytest

pytest.importorskip("pyarrow")

from selenium.webdriver.common.keys import Keys

from onewafer.sweep import FollowedStudy, points_of, read_study
from onewafer.sweep.results.store import open_store
from onewafer.sweep.subjects.outcome import Outcome, Status
from tests.browsers import (
    chromium,
    find,
    find_all,
    findings_in_all_looks,
    needs_chromium,
    texts,
    wait_for,
)
from tests.sweep.results.test_followed import EVIL, begun
from tests.viewer.recorded_runs import serving

pytestmark = needs_chromium
STUDY_PAGE = "onewafer.viewer.study_page"


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(browser, tmp_path):
    """Show a study of which three of six points are known."""
    path = begun(tmp_path, 3)
    with serving(FollowedStudy(path), STUDY_PAGE) as address:
        browser.get(address)
        wait_for(browser, lambda: len(find_all(browser, "#table tbody tr")) == 3)
        yield path
        browser.get("about:blank")


def test_new_points_appear_while_a_sweep_goes_on(browser, page):
    assert texts(browser, "#count") == ["3 of 6 points: 2 answered, 1 refused"]
    begun(page.parent, 5)
    wait_for(browser, lambda: len(find_all(browser, "#chart .mark")) == 5)
    assert texts(browser, "#count") == ["5 of 6 points: 4 answered, 1 refused"]


@pytest.mark.usefixtures("page")
def test_a_refused_point_says_the_term_that_does_not_fit(browser):
    find(browser, "#table tbody tr button").click()
    assert texts(browser, "#point .breaks") == ["weights 16 GB: does not fit"]
    assert find_all(browser, "#point svg.memory .limit")
    assert "there are 10 GB" in find(browser, "#point").text


def test_many_points_are_pages_of_the_table_and_a_click_draws_no_chart_anew(browser, tmp_path):
    with serving(FollowedStudy(begun(tmp_path, 250, range(1, 101))), STUDY_PAGE) as address:
        browser.get(address)
        wait_for(browser, lambda: len(find_all(browser, "#chart .mark")) == 250)
        mark = find(browser, '[data-place="230"]')
        seen = []
        for click in (None, "#after", "#after", "#before"):
            if click:
                find(browser, click).click()
            seen += texts(browser, "#shown-count")
        browser.execute_script(
            "arguments[0].dispatchEvent(new Event('click', {bubbles: true}))", mark
        )
        seen += texts(browser, "#shown-count")
        chosen = [one.text for one in find_all(browser, "#table tr.chosen")]
        is_marked = "chosen" in mark.get_attribute("class")  # the same mark as before
        browser.get("about:blank")

    second, third = "101 to 200 of 250", "201 to 250 of 250"
    assert seen == ["1 to 100 of 250", second, third, second, third]
    assert len(chosen) == 1
    assert is_marked


def test_a_refusal_that_knows_its_sum_alone_blames_no_term(browser, tmp_path):
    path = begun(tmp_path, 0)
    study = read_study(path)
    figures = {"memory_used_bytes": 39e9, "memory_available_bytes": 10e9}
    refused = Outcome(status=Status.REFUSED, reason="it has no room", figures=figures)
    with open_store(path.with_suffix(".sweep"), is_fresh=False) as store:
        store.keep(points_of(study)[0], refused)
    with serving(FollowedStudy(path), STUDY_PAGE) as address:
        browser.get(address)
        wait_for(browser, lambda: find_all(browser, "#point .breaks"))
        shown = texts(browser, "#point .breaks") + texts(browser, "#point > p")
        browser.get("about:blank")

    assert shown[:2] == ["everything together 39 GB: does not fit", "it has no room"]


@pytest.mark.usefixtures("page")
def test_texts_of_a_study_are_data(browser):
    find(browser, "#table tbody tr button").click()
    assert EVIL in find(browser, "#point").text
    assert find(browser, "h1").text == "Wafers & <b>SRAM</b>"
    assert not find_all(browser, "img")


def test_a_page_opened_at_the_first_refusal_draws_what_the_study_asks(browser, tmp_path):
    path = begun(tmp_path, 1)
    with serving(FollowedStudy(path), STUDY_PAGE) as address:
        browser.get(address)
        wait_for(browser, lambda: len(find_all(browser, "#chart .cross")) == 1)
        begun(tmp_path, 3)
        wait_for(browser, lambda: len(find_all(browser, "#chart circle.mark")) == 2)
        shown = [find(browser, f"#{name}").get_attribute("value") for name in ("x", "y", "color")]
        browser.get("about:blank")
    assert shown == ["sram", "seconds", "batch"]


@pytest.mark.usefixtures("page")
def test_arrow_keys_go_from_point_to_point(browser):
    find(browser, "#chart svg").send_keys(Keys.ARROW_RIGHT)
    assert texts(browser, "#point h2")[0] == "Point: answered, on the Pareto front"
    assert "500 µs" in find(browser, "#point").text


@pytest.mark.usefixtures("page")
def test_a_column_sorts_and_the_front_is_shown_alone(browser):
    find_all(browser, "#table th button")[2].click()
    assert [text.split("\t")[3] for text in texts(browser, "#table tbody tr")] == [
        "500 µs",
        "1 ms",
        "–",
    ]
    find(browser, "#shown option[value=front]").click()
    assert texts(browser, "#shown-count") == ["2 of 3"]


@pytest.mark.usefixtures("page")
def test_axe_finds_nothing_and_no_look_scrolls_sideways(browser):
    assert findings_in_all_looks(browser) == []
    wide = "return document.documentElement.scrollWidth - innerWidth"
    assert browser.execute_script(wide) == 0
