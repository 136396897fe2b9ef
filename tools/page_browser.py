"""Debian's Chromium without a window, and pages that `onewafer` serves, for tools.

In: sizes, arguments of `onewafer`. Out: a browser, the address of a page. Needs selenium (extra
`test`) and Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selenium import webdriver

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
_ONEWAFER = "import sys; from onewafer.cli.main import main; main()"
_ADDRESS = re.compile(r"http://\S+")
_PHONE = 600
"""Pixels: a narrower page is one of a phone."""


@contextmanager
def open_browser() -> Generator[webdriver.Chrome]:
    """Yield a browser; end the program if there is none."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        sys.exit("pages need Debian's browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0] or ""
    for flag in _FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    try:
        yield browser
    finally:
        browser.quit()


def set_size(browser: webdriver.Chrome, size: tuple[int, int], *, is_dark: bool = False) -> None:
    """Give pages a size in pixels, and the colors of light or of dark."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < _PHONE}
    colors = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    _command(browser, "Emulation.setDeviceMetricsOverride", screen)
    _command(browser, "Emulation.setEmulatedMedia", {"features": [colors]})


def _command(browser: webdriver.Chrome, name: str, arguments: dict[str, Any]) -> None:
    browser.execute_cdp_cmd(name, arguments)  # pyright: ignore[reportUnknownMemberType]  # selenium's hints


@contextmanager
def served(arguments: Sequence[str]) -> Generator[str]:
    """Yield the address that `onewafer` with these arguments says it serves, until the end."""
    command = [sys.executable, "-u", "-c", _ONEWAFER, *arguments]
    both, pipe = subprocess.STDOUT, subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=both, text=True) as server:  # noqa: S603  # ours
        assert server.stdout is not None, "it was asked for"  # invariant
        try:
            found = next(filter(None, map(_ADDRESS.search, server.stdout)), None)
            if found is None:
                sys.exit(f"onewafer {' '.join(arguments)} served no page")
            yield found.group().rstrip("/")
        finally:
            server.terminate()
