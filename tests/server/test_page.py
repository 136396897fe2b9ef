"""The chat page in Debian's Chromium."""

import shutil

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from onewafer.server.events import Delta, Ended, Reason, Started
from onewafer.server.failures import UnavailableError
from onewafer.server.http.options import HttpOptions
from onewafer.web_pages import read_page
from tests.server.running import serving, wait_until
from tests.server.scripted import (
    TEXT,
    Pause,
    ScriptedService,
    completed,
    prompt_text,
    say,
)

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"
)
STARTED = (Started(prompt_tokens=12, cached_tokens=4),)
EVIL = "</div><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def play(generation):
    """Do what the prompt names."""
    match prompt_text(generation):
        case "be evil":
            end = (Ended(answer=0, reason=Reason.END), completed(generation, 1))
            return [STARTED, (Delta(answer=0, text=EVIL, tokens=(0,)),), end]
        case "never end":
            return [STARTED, (Delta(answer=0, text="Well", tokens=(0,)),), Pause()]
        case "fail":
            return [UnavailableError("the <engine> is gone")]
        case _:
            return say(generation)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def service():
    return ScriptedService(play)


@pytest.fixture(scope="module")
def server(service):
    with serving(service) as running:
        yield running


@pytest.fixture
def page(browser, server):
    browser.get(server.url)
    wait_for(browser, lambda: find(browser, "#send").is_enabled())
    return browser


def wait_for(browser, condition):
    WebDriverWait(browser, 30, poll_frequency=0.05).until(lambda _: condition())


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def ask(browser, text):
    find(browser, "#text").send_keys(text, Keys.ENTER)


def ask_and_wait(browser, text):
    num_tables = len(texts(browser, "table"))
    ask(browser, text)
    wait_for(browser, lambda: len(texts(browser, "table")) > num_tables)


@needs_chromium
def test_a_conversation(page, service):
    ask_and_wait(page, "Say something.")
    ask_and_wait(page, "Again.")

    said = page.find_elements(By.CSS_SELECTOR, ".assistant .text")
    assert texts(page, ".user .text") == ["Say something.", "Again."]
    assert [one.get_property("textContent") for one in said] == [TEXT, TEXT]
    assert [one.text for one in service.asked[-1].prompt.messages] == [
        "Say something.",
        TEXT,
        "Again.",
    ]
    assert "scripted on cs3" in find(page, "#served").text


@needs_chromium
def test_the_clocks_beside_each_other(page):
    ask_and_wait(page, "Say something.")

    rows = texts(page, "tbody tr")
    assert rows == [
        "cs3 750 ms 1.75 s 5",
        "this computer 10 ms 20 ms 500",
        "h100x8 125 ms 2.5 s 40",
    ]
    bars = page.find_elements(By.CSS_SELECTOR, ".bar rect")
    assert [one.get_attribute("width") for one in bars] == ["1%", "100%", "8%"]  # as their rates
    caption = find(page, "caption").text
    assert "12 tokens read (4 from the cache) · 6 written · 1,000,000 cycles" in caption
    assert "3.5 J" in caption


@needs_chromium
def test_what_a_model_says_is_text(page):
    ask_and_wait(page, "be evil")

    assert texts(page, ".assistant .text") == [EVIL]
    assert page.title == "onewafer"
    assert not page.find_elements(By.CSS_SELECTOR, ".text *")


@needs_chromium
def test_an_answer_that_is_stopped_frees_its_place(page, service):
    before = len(service.given_up)
    ask(page, "never end")
    wait_for(page, lambda: texts(page, ".assistant .text") == ["Well"])
    find(page, "#stop").click()

    wait_until(lambda: len(service.given_up) == before + 1)
    wait_for(page, lambda: texts(page, ".assistant .rate") == ["stopped"])


@needs_chromium
def test_an_error_is_shown_and_the_question_can_be_asked_again(page, service):
    ask(page, "fail")
    wait_for(page, lambda: texts(page, ".error") == ["the <engine> is gone"])
    ask_and_wait(page, "Say something.")

    assert [one.text for one in service.asked[-1].prompt.messages] == ["Say something."]


@needs_chromium
def test_a_new_conversation_forgets(page, service):
    ask_and_wait(page, "Say something.")
    find(page, "#again").click()
    assert not texts(page, ".turn")
    ask_and_wait(page, "Hello.")

    assert [one.text for one in service.asked[-1].prompt.messages] == ["Hello."]


@needs_chromium
def test_the_page_asks_no_other_server_and_breaks_no_rule_of_its_own(page, server):
    page.get_log("browser")
    page.refresh()
    wait_for(page, lambda: find(page, "#send").is_enabled())
    ask_and_wait(page, "be evil")
    names = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")

    assert len(names) >= 5
    assert all(name.startswith(f"{server.url}/") for name in names)
    assert page.get_log("browser") == []


@needs_chromium
def test_the_page_asks_for_the_key(browser):
    with serving(ScriptedService(), HttpOptions(keys=("right",))) as server:
        browser.get(server.url)
        wait_for(browser, lambda: find(browser, "#key").is_displayed())
        find(browser, "#key").send_keys("wrong", Keys.ENTER)
        wait_for(browser, lambda: "The key is wrong" in find(browser, "#refused").text)
        find(browser, "#key").clear()
        find(browser, "#key").send_keys("right", Keys.ENTER)
        wait_for(browser, lambda: find(browser, "#send").is_enabled())
        ask_and_wait(browser, "Say something.")

        assert not find(browser, "#unlock").is_displayed()


def test_the_files_of_the_page_name_no_other_server(server):
    files = read_page("onewafer.server.page")
    names = ("page.js", "page.css", "look.css", "icon.svg")
    assert {"/", *(f"/page/{name}" for name in names)} <= set(files)
    for path, file in files.items():
        answer = httpx.get(f"{server.url}{path}")
        assert answer.content == file.body
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        text = file.body.replace(b"http://www.w3.org/2000/svg", b"")  # a name, not an address
        assert b"http" not in text
        assert b"innerHTML" not in file.body
