"""Take the pictures of pages that the documentation shows.

    python tools/page_pictures.py [NAME ...]

Without names it takes all of `PICTURES`: it makes what a page shows (records runs, starts a model),
serves the page, opens it in Debian's Chromium, does what the picture is to show, and writes
docs/pictures/NAME.png. A new page adds its pictures to the registry.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from page_browser import open_browser, served, set_size
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Generator

    from selenium.webdriver import Chrome

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "docs" / "pictures"
DESKTOP: Final = (1280, 720)
PHONE: Final = (390, 844)
_LONGEST_SECONDS: Final = 300

Serve = Callable[[], AbstractContextManager[str]]
"""Makes what a page shows, and yields its address."""
Act = Callable[["Chrome"], None]
"""Does what a picture is to show, and waits until it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of a page."""

    serve: Serve
    link: str = "/"
    """The path behind the page's address."""
    act: Act
    size: tuple[int, int] = DESKTOP
    is_dark: bool = False

    def take(self, browser: Chrome) -> bytes:
        """Return the picture, a PNG."""
        set_size(browser, self.size, is_dark=self.is_dark)
        with self.serve() as address:
            browser.get(address + self.link)
            self.act(browser)
            picture = browser.get_screenshot_as_png()
            browser.get("about:blank")  # before the server ends, which the page may ask
        return picture


def wait_for(browser: Chrome, condition: Callable[[], object]) -> None:
    """Wait until something on the page is there."""
    WebDriverWait(browser, _LONGEST_SECONDS).until(lambda _: condition())


# --- onewafer view --------------------------------------------------------------------------------


@cache
def _recordings() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the recorded runs, which is there until the end of the program."""
    return tempfile.TemporaryDirectory()


@cache
def _recorded(name: str, *commands: tuple[str, ...]) -> Path:
    """Return the recording that commands of `onewafer` and `cslc` make, in one folder for all."""
    folder = Path(_recordings().name)
    for program, *arguments in commands:
        start = (
            "main import main" if program == "onewafer" else f"commands import {program} as main"
        )
        command = [sys.executable, "-c", f"from onewafer.cli.{start}; main()", *arguments]
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603  # ours
    return folder / name


def _digits() -> Path:
    script = str(ROOT / "examples" / "digits.py")
    options = ("--rectangle", "16x16", "--record", "digits.parquet", "--sample-every", "200")
    return _recorded("digits.parquet", ("onewafer", "run", "-q", *options, script))


def _all_reduce(num_words: int) -> Path:
    source = str(ROOT / "src/onewafer/benchmarks/programs/all_reduce.csl")
    params = f"width:16,height:16,num_words:{num_words},kind:0"
    name = f"all-reduce-{num_words}"
    options = ("--arch", "wse3", "--memcpy", "--fabric-dims", "24,24", "--params", params)
    trace = ("csl", "trace", "--record", f"{name}.parquet", "--launch", "main", name)
    compiled = ("cslc", source, *options, "-o", name)
    return _recorded(f"{name}.parquet", compiled, ("onewafer", *trace))


@contextmanager
def _viewed(*recordings: Callable[[], Path]) -> Generator[str]:
    files = [str(recording()) for recording in recordings]
    with served(("view", *files, "--port", "0")) as address:
        yield address


def _until_ready(browser: Chrome) -> None:
    ready = "return document.documentElement.dataset.ready"
    wait_for(browser, lambda: browser.execute_script(ready))  # pyright: ignore[reportUnknownMemberType]  # selenium's hints


def _study() -> Path:
    study = str(ROOT / "examples" / "studies" / "fewer-pes.toml")
    return _recorded("study.sweep", ("onewafer", "sweep", study, "-o", "study.sweep"))


# --- the chat page --------------------------------------------------------------------------------


def _ask(browser: Chrome) -> None:
    """Ask one question, and wait for the answer with what the wafer did."""
    question = "In two sentences: what is a silicon wafer?"
    wait_for(browser, lambda: browser.find_element(By.ID, "send").is_enabled())
    browser.find_element(By.ID, "text").send_keys(question, Keys.ENTER)
    wait_for(browser, lambda: browser.find_elements(By.CLASS_NAME, "took"))


_CHAT: Final = ("serve", "smollm2", "--against", "h100x8", "--port", "0")

PICTURES: Final[dict[str, Picture]] = {
    "chat-page": Picture(serve=partial(served, _CHAT), act=_ask, size=(900, 560)),
    "view-wafer": Picture(serve=partial(_viewed, _digits), act=_until_ready),
    "view-time": Picture(
        serve=partial(_viewed, _digits),
        link="/#tab=operations&map=operation-3",
        act=_until_ready,
    ),
    "study-page": Picture(serve=partial(_viewed, _study), act=_until_ready),
    "view-tasks": Picture(
        serve=partial(_viewed, partial(_all_reduce, 16)),
        link="/#cycle=120.5&pe=3,4&tab=activity",
        act=_until_ready,
    ),
    "view-two-runs": Picture(
        serve=partial(_viewed, partial(_all_reduce, 16), partial(_all_reduce, 32)),
        link="/#map=waiting",
        act=_until_ready,
    ),
}


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    names = parser.parse_args().names or list(PICTURES)
    unknown = [name for name in names if name not in PICTURES]
    if unknown:
        parser.error(f"there is no picture {unknown[0]}; there are: {', '.join(PICTURES)}")
    with open_browser() as browser:
        for name in names:
            file = FOLDER / f"{name}.png"
            file.write_bytes(PICTURES[name].take(browser))
            print(f"wrote {file.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main()
