"""Measure the page of `onewafer view` in Debian's Chromium: first picture, zoom steps.

    python tools/measure_view.py run.parquet

Opens the page several times, zooms from the wafer to one PE and back, and prints medians of what
the browser measures: from the start of the navigation to the first picture, and the drawing of a
step until the frame after it.
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING

from page_browser import open_browser, served, set_size
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver

SIZE = (1280, 720)
NUM_OPENINGS = 5
NUM_STEPS = 16
_LONGEST_SECONDS = 120
_FIRST = "return performance.getEntriesByName('first picture')[0]?.startTime"
_STEP = """
const done = arguments[1];
const start = performance.now();
document.getElementById(arguments[0]).click();
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
"""


def open_page(browser: webdriver.Chrome, url: str) -> float:
    """Open the page anew; return the milliseconds to its first picture."""
    browser.get("about:blank")
    browser.get(url)
    wait = WebDriverWait(browser, _LONGEST_SECONDS, poll_frequency=0.05)
    return float(wait.until(lambda _: browser.execute_script(_FIRST)))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownLambdaType]  # selenium's hints


def zoom_steps(browser: webdriver.Chrome) -> Iterator[float]:
    """Zoom in, step by step, and out again; yield the milliseconds of each step."""
    for button in ("in", "out"):
        for _ in range(NUM_STEPS):
            yield float(browser.execute_async_script(_STEP, button))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # likewise


def measure(browser: webdriver.Chrome, url: str, renderer: str) -> str:
    """Return a line with the medians of one way to draw."""
    link = f"{url}/#renderer={renderer}"
    first = [open_page(browser, link) for _ in range(NUM_OPENINGS)]
    steps = list(zoom_steps(browser))
    return (
        f"{renderer:>6}: first picture {statistics.median(first):,.0f} ms "
        f"(of {NUM_OPENINGS} openings, the first {first[0]:,.0f} ms), "
        f"zoom step {statistics.median(steps):.0f} ms "
        f"(of {len(steps)}, the slowest {max(steps):.0f} ms)"
    )


def main() -> None:
    """Serve the recording, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("recording", help="what --record FILE wrote")
    recording = parser.parse_args().recording
    with served(("view", recording, "--port", "0")) as url, open_browser() as browser:
        set_size(browser, SIZE)
        for renderer in ("webgl", "canvas"):
            print(measure(browser, url, renderer))


if __name__ == "__main__":
    main()
