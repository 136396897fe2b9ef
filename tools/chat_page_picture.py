"""Take the picture of the chat page that the documentation shows.

    onewafer serve smollm2 --against h100x8 &
    python tools/chat_page_picture.py

Asks one question, waits for the answer with its table of times, and writes
docs/pictures/chat-page.png. Needs selenium (extra `test`) and Debian's chromium and
chromium-driver.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "chat-page.png"
QUESTION = "In two sentences: what is a silicon wafer?"
SIZE = (900, 560)
_LONGEST_SECONDS = 300


def open_browser() -> webdriver.Chrome:
    """Return a browser with a window of the picture's size; end the program if there is none."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        sys.exit("chat_page_picture.py needs: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0] or ""
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", size):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    browser.execute_cdp_cmd(  # pyright: ignore[reportUnknownMemberType]  # selenium's hints
        "Emulation.setDeviceMetricsOverride",
        {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False},
    )
    return browser


def main() -> None:
    """Ask, wait, take the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000/", help="where the server listens")
    arguments = parser.parse_args()
    browser = open_browser()
    try:
        browser.get(arguments.url)
        wait = WebDriverWait(browser, _LONGEST_SECONDS)
        wait.until(lambda _: browser.find_element(By.ID, "send").is_enabled())
        browser.find_element(By.ID, "text").send_keys(QUESTION, Keys.ENTER)
        wait.until(lambda _: browser.find_elements(By.CLASS_NAME, "took"))
        PICTURE.write_bytes(browser.get_screenshot_as_png())
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
