"""The chat page in Debian's Chromium."""

import json
import re
from hashlib import sha256
from importlib.resources import files

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from onewafer.server.contract.events import Delta, Ended, Reason, Started
from onewafer.server.contract.failures import BusyError, UnavailableError
from onewafer.server.http.options import HttpOptions
from onewafer.web_pages import read_page
from tests.browsers import (
    chromium,
    find,
    find_all,
    findings_in_all_looks,
    needs_chromium,
    texts,
    wait_for,
)
from tests.server.running import serving, wait_until
from tests.server.scripted import (
    TEXT,
    Pause,
    ScriptedService,
    completed,
    prompt_text,
    say,
)

STARTED = (Started(prompt_tokens=12, cached_tokens=4),)
OWN = "document.title='owned'"
EVIL = f"""</div><img src=x onerror="{OWN}"><script>{OWN}</script>

<iframe srcdoc="<script>parent.{OWN}</script>"></iframe><svg onload="{OWN}"></svg>

[script](javascript:{OWN}) [data](data:text/html,<script>{OWN}</script>)

<a href="javascript:{OWN}">x</a> [here](/onewafer/advance) [away](https://example.org/) ![picture](https://evil.example/x.png)

<style>body {{ display: none }}</style><form action="/v1/models"><button id=send>x</button></form>

```html"onmouseover={OWN} class="turn
<script>{OWN}</script>
```
"""
MARKDOWN = """# Title

Some **bold** text.

| a | b |
|---|--:|
| 1 | 2 |

```python
def add(a, b):  # a comment
    return a + b
```
"""


def play(generation):
    """Do what the prompt names."""
    match prompt_text(generation):
        case "be evil":
            return answer(generation, EVIL)
        case "write markdown":
            return answer(generation, MARKDOWN)
        case "never end":
            return [STARTED, (Delta(answer=0, text="Well", tokens=(0,)),), Pause()]
        case "fail":
            return [UnavailableError("the <engine> is gone")]
        case "be busy":
            return [BusyError("the queue is full", retry_after_seconds=3.2)]
        case _:
            return say(generation)


def answer(generation, text):
    pieces = [
        (Delta(answer=0, text=one, tokens=(0,)),) for one in re.findall(".{1,7}", text, re.DOTALL)
    ]
    end = (Ended(answer=0, reason=Reason.END), completed(generation, len(pieces)))
    return [STARTED, *pieces, end]


@pytest.fixture(scope="module")
def browser():
    with chromium("--disable-gpu") as driver:
        yield driver


@pytest.fixture(scope="module")
def service():
    return ScriptedService(play)


@pytest.fixture(scope="module")
def server(service):
    with serving(service) as running:
        yield running


@pytest.fixture
def page(browser, server):
    """The page as someone sees it who was never there."""
    browser.get(f"{server.url}/page/look.css")
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    browser.get(server.url)
    wait_for(browser, lambda: find(browser, "#send").is_enabled())
    browser.get_log("browser")
    return browser


def reload(page):
    page.refresh()
    wait_for(page, lambda: find(page, "#send").is_enabled())


def ask(page, text):
    find(page, "#text").send_keys(text, Keys.ENTER)


def ask_and_wait(page, text):
    num_answers = len(find_all(page, ".took"))
    ask(page, text)
    wait_for(page, lambda: len(find_all(page, ".took")) > num_answers)


def said(page, kind="assistant"):
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())"
    return page.execute_script(script, f".{kind} .text")


def asked(service):
    """Return what the service was asked last, message by message."""
    return [(one.role.value, one.text) for one in service.asked[-1].prompt.messages]


def choose(page, action):
    find(page, "#open-menu").click()
    find(page, f"#{action}").click()


@needs_chromium
def test_a_conversation(page, service):
    ask_and_wait(page, "Say something.")
    ask_and_wait(page, "Again.")

    assert texts(page, ".user .text") == ["Say something.", "Again."]
    assert [text.split() for text in said(page)] == [TEXT.split(), TEXT.split()]
    assert asked(service) == [("user", "Say something."), ("assistant", TEXT), ("user", "Again.")]
    assert "scripted on cs3" in find(page, "#served").text


@needs_chromium
def test_one_line_says_what_the_wafer_did_and_unfolds(page):
    ask_and_wait(page, "Say something.")
    line = "5 tokens/s on cs3 · 6 tokens in 1.75 s · 7 launches · 3.5 J"
    assert texts(page, ".took summary") == [line]
    assert not find(page, ".took table").is_displayed()
    find(page, ".took summary").click()

    rows = [" ".join(row.split()) for row in texts(page, ".took tbody tr")]
    assert rows == [
        "cs3 5 750 ms 1.75 s",
        "h100x8 40 125 ms 2.5 s",
        "this computer 500 10 ms 20 ms",
    ]
    facts = find(page, ".took dl").text
    for fact in (
        "12 tokens, 4 of them kept from before",
        "1,000,000 from the first launch",
        "3.5 J",
    ):
        assert fact in facts


@needs_chromium
def test_a_long_bar_is_a_high_rate(page):
    ask_and_wait(page, "Say something.")
    find(page, ".took summary").click()
    widths = [rect.size["width"] for rect in find_all(page, ".took rect")]
    rates = [5, 40, 500]

    assert "a longer bar is faster" in find(page, ".took thead").text
    assert widths == pytest.approx([rate / 500 * widths[2] for rate in rates], abs=2)


@needs_chromium
def test_nothing_that_a_model_says_runs_or_looks_like_the_page(page, server):
    ask_and_wait(page, "be evil")
    text = find(page, ".assistant .text")
    names = "return [...new Set([...arguments[0].querySelectorAll('*')].map((e) => e.localName))]"
    links = "return [...arguments[0].querySelectorAll('[href]')].map((e) => e.href)"

    allowed = {"div", "p", "a", "pre", "code", "span", "button"}
    assert set(page.execute_script(names, text)) <= allowed
    assert page.execute_script(links, text) == [
        "https://example.org/",
        "https://evil.example/x.png",
    ]
    assert f"<script>{OWN}</script>" in said(page)[0]
    attributes = page.execute_script(
        "return [...arguments[0].querySelectorAll('*')].flatMap((e) => e.getAttributeNames())", text
    )
    assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
    for link in find_all(page, ".assistant .text a:not([href])"):
        link.click()
    reload(page)  # kept, and shown again
    wait_for(page, lambda: OWN in said(page)[0])
    assert page.title == "onewafer"
    assert page.current_url == f"{server.url}/"
    assert page.get_log("browser") == []


@needs_chromium
def test_markdown_is_shown_as_such(page):
    ask_and_wait(page, "write markdown")
    wait_for(page, lambda: find_all(page, ".hljs-keyword"))

    assert texts(page, ".assistant .text h3, .assistant strong")[:2] == ["Title", "bold"]
    assert texts(page, ".assistant .text td") == ["1", "2"]
    assert texts(page, ".code .bar span") == ["python"]
    assert said(page)[0].endswith("def add(a, b):  # a comment\n    return a + b")
    assert "# Title" not in said(page)[0]


@needs_chromium
def test_an_answer_that_is_stopped_frees_its_place_and_keeps_what_came(page, service):
    before = len(service.given_up)
    ask(page, "never end")
    wait_for(page, lambda: said(page) == ["Well"])
    find(page, "#stop").click()

    wait_until(lambda: len(service.given_up) == before + 1)
    wait_for(page, lambda: texts(page, ".assistant .note") == ["You stopped it here."])
    reload(page)
    assert said(page) == ["Well"]
    ask_and_wait(page, "Go on.")
    assert asked(service) == [("user", "never end"), ("assistant", "Well"), ("user", "Go on.")]


@needs_chromium
def test_a_page_that_is_left_in_mid_answer_has_what_was_shown(page):
    ask(page, "never end")
    wait_for(page, lambda: said(page) == ["Well"])
    reload(page)

    assert said(page, "user") == ["never end"]
    assert said(page) == ["Well"]
    assert "The page was left" in texts(page, ".assistant .note")[0]


@needs_chromium
def test_an_error_is_said_in_plain_words_and_the_question_can_be_asked_again(page, service):
    ask(page, "fail")
    words = "The server cannot answer at present: the <engine> is gone."
    wait_for(page, lambda: texts(page, ".error") == [words])
    num_asked = len(service.asked)
    find(page, ".again").click()
    wait_for(page, lambda: len(service.asked) > num_asked and texts(page, ".error") == [words])
    ask(page, "be busy")
    wait_for(page, lambda: len(find_all(page, ".error")) == 2)
    assert texts(page, ".error")[1].endswith("There may be room in 4 s.")
    ask_and_wait(page, "Say something.")

    assert asked(service) == [("user", "Say something.")]  # what has no answer is left out


@needs_chromium
def test_a_server_that_is_gone_is_said(browser):
    with serving(ScriptedService()) as server:
        browser.get(server.url)
        wait_for(browser, lambda: find(browser, "#send").is_enabled())
    ask(browser, "Hello?")
    wait_for(browser, lambda: find_all(browser, ".error"))
    assert texts(browser, ".error")[0].startswith("The server does not answer.")
    wait_for(browser, lambda: find(browser, "#served").text == "the server does not answer")


@needs_chromium
def test_settings_are_what_is_asked_and_are_kept(page, service):
    find(page, "#open-settings").click()
    for name, text in (("system", "Be brief."), ("temperature", "0.75"), ("length", "4")):
        find(page, f"#{name}").clear()
        find(page, f"#{name}").send_keys(text)
    find(page, "#stops").send_keys("a\nb\nc\nd\ne")
    find(page, "#settings .primary").click()
    assert find(page, "#wrong").text == "At most 4 texts end an answer."
    find(page, "#stops").clear()
    find(page, "#stops").send_keys("\\n\\n\n\\\\n")
    find(page, "#settings .primary").click()
    ask_and_wait(page, "Say something.")
    asked_first = service.asked[-1]
    reload(page)
    find(page, "#again").click()
    ask_and_wait(page, "Hello.")

    for generation in (asked_first, service.asked[-1]):
        assert generation.sampling.temperature == 0.75
        assert generation.max_tokens == 4
        assert generation.stop == ("\n\n", "\\n")
    assert asked(service) == [("system", "Be brief."), ("user", "Hello.")]


@needs_chromium
def test_an_answer_as_long_as_it_may_be_says_so(page):
    find(page, "#open-settings").click()
    find(page, "#length").send_keys("2")
    find(page, "#settings .primary").click()
    ask_and_wait(page, "Say something.")

    assert "as long as answers may be" in texts(page, ".assistant .note")[0]


@needs_chromium
def test_an_answer_is_written_anew_and_a_question_is_changed(page, service):
    ask_and_wait(page, "One.")
    ask_and_wait(page, "Two.")
    num_asked = len(service.asked)
    find(page, ".turn:last-child .again").click()
    wait_for(page, lambda: len(service.asked) > num_asked and len(find_all(page, ".took")) == 2)
    assert asked(service)[-1] == ("user", "Two.")
    assert len(said(page)) == 2

    find_all(page, ".edits")[0].click()
    ActionChains(page).send_keys(" And more.", Keys.ENTER).perform()
    wait_for(page, lambda: said(page, "user") == ["One. And more."])
    wait_for(page, lambda: len(find_all(page, ".took")) == 1)
    assert asked(service) == [("user", "One. And more.")]


@needs_chromium
def test_the_former_answer_stays_where_another_one_fails(page, service, monkeypatch):
    ask_and_wait(page, "Say something.")
    monkeypatch.setattr(service, "script", lambda _: [UnavailableError("it is gone")])
    find(page, ".again").click()
    wait_for(page, lambda: find_all(page, ".error"))
    assert said(page)[0].split() == TEXT.split()


@needs_chromium
def test_several_conversations_are_kept_renamed_and_deleted(page, service):
    ask_and_wait(page, "The <i>first</i>.")
    find(page, "#again").click()
    assert said(page) == []
    ask_and_wait(page, "The second.")
    assert asked(service) == [("user", "The second.")]
    assert texts(page, "#list button") == ["The second.", "The <i>first</i>."]

    choose(page, "rename")
    find(page, "#title").clear()
    find(page, "#title").send_keys("Better", Keys.ENTER)
    wait_for(page, lambda: texts(page, "#list button")[0] == "Better")
    find_all(page, "#list button")[1].click()
    reload(page)
    assert said(page, "user") == ["The <i>first</i>."]

    choose(page, "delete")
    assert texts(page, "#list button") == ["Better"]
    assert find(page, "#notice").text == "Deleted “The <i>first</i>.”. Undo"
    find(page, "#notice button").click()
    assert texts(page, "#list button") == ["Better", "The <i>first</i>."]
    choose(page, "delete")
    reload(page)
    assert texts(page, "#list button") == ["Better"]


@needs_chromium
def test_a_conversation_is_exported(page, tmp_path):
    behavior = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    ask_and_wait(page, "Say / something.")
    choose(page, "export-text")
    choose(page, "export-json")
    wait_for(page, lambda: len([*tmp_path.glob("Say-something.[mj]*")]) == 2)
    wait_for(page, lambda: not [*tmp_path.glob("*.crdownload")])

    text = (tmp_path / "Say-something.md").read_text(encoding="utf-8")
    assert text.startswith("# Say / something.\n\n## You\n\nSay / something.\n\n## scripted\n\n")
    kept = json.loads((tmp_path / "Say-something.json").read_text(encoding="utf-8"))
    assert [one["role"] for one in kept["messages"]] == ["user", "assistant"]
    assert kept["messages"][1]["took"]["onewafer"]["joules"] == 3.5


@needs_chromium
def test_keys_are_enough(page, service):
    keys = ActionChains(page)
    keys.send_keys("Say something.", Keys.ENTER).perform()
    wait_for(page, lambda: find_all(page, ".took"))
    keys.send_keys(Keys.ARROW_UP).perform()  # the last question
    keys.send_keys(" Please.", Keys.ENTER).perform()
    wait_for(page, lambda: asked(service) == [("user", "Say something. Please.")])
    wait_for(page, lambda: find_all(page, ".took"))
    reached = set()
    for _ in range(25):
        keys.send_keys(Keys.TAB).perform()
        element = page.switch_to.active_element
        reached.add(element.get_attribute("id") or element.text or element.tag_name)
    wanted = {"again", "open-settings", "open-menu", "text", "Edit", "Answer again", "conversation"}
    assert wanted <= reached
    assert any("tokens/s" in name for name in reached)

    keys.send_keys(Keys.ESCAPE).perform()
    ask(page, "never end")
    wait_for(page, lambda: "Well" in said(page))
    keys.send_keys(Keys.ESCAPE).perform()
    wait_for(page, lambda: "You stopped it here." in texts(page, ".note"))


@needs_chromium
def test_axe_finds_nothing(page):
    assert findings_in_all_looks(page) == []
    ask_and_wait(page, "write markdown")
    ask(page, "fail")
    wait_for(page, lambda: find_all(page, ".error"))
    find(page, ".took summary").click()
    assert findings_in_all_looks(page) == []
    find(page, "#open-settings").click()
    assert findings_in_all_looks(page, "#settings") == []


@needs_chromium
def test_the_page_asks_no_other_server_and_breaks_no_rule_of_its_own(page, server):
    ask_and_wait(page, "write markdown")
    wait_for(page, lambda: find_all(page, ".hljs-keyword"))
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
    found = read_page("onewafer.server.page")
    names = ("page.js", "page.css", "look.css", "icon.svg", "vendor/marked.esm.js")
    assert {"/", *(f"/page/{name}" for name in names)} <= set(found)
    for path, file in found.items():
        answer = httpx.get(f"{server.url}{path}")
        assert answer.content == file.body
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        if "/vendor/" not in path:
            text = file.body.replace(b"http://www.w3.org/2000/svg", b"")  # a name, no address
            assert b"http:" not in text
            assert b"https:" not in text
            assert b"innerHTML" not in file.body


def test_files_of_others_are_as_they_were_published_and_have_their_licences():
    folder = files("onewafer.server.page") / "vendor"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\S+)` \|.*?, `(\S+\.LICENSE)` \| `([0-9a-f]{64})` \|$", listed, re.MULTILINE
    )
    assert {name for name, _, _ in rows} == {
        file.name for file in folder.iterdir() if file.name.endswith(".js")
    }
    for name, licence, digest in rows:
        assert sha256((folder / name).read_bytes()).hexdigest() == digest
        assert len((folder / licence).read_text(encoding="utf-8")) > 1000
