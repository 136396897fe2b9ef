"""Debian's Chromium for tests of pages: how it is started, waited for, and looked at."""

import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"
)
DESK, PHONE = (1280, 720), (390, 844)


@contextmanager
def chromium(*flags):
    """Yield a browser as large as a desk's."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        look(driver)
        yield driver
    finally:
        driver.quit()


def look(browser, size=DESK, scheme="light"):
    """Have a window of a size, and a user who likes light or dark pages."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def wait_for(browser, condition):
    WebDriverWait(browser, 30, poll_frequency=0.05).until(lambda _: condition())


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def find_all(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    """Return the texts of elements, which the page may replace at any time."""
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
    return browser.execute_script(script, selector)


def findings(browser, part="html"):
    """Return what axe finds in a part of a page: rules, and the elements that break them."""
    axe = pytest.importorskip("axe_selenium_python").Axe(browser)
    axe.inject()
    found = axe.run(part)["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]


def findings_in_all_looks(browser, part="html"):
    """Return what axe finds on a desk and on a phone, in light and in dark."""
    found = []
    for size in (DESK, PHONE):
        for scheme in ("light", "dark"):
            look(browser, size, scheme)
            found += [(size, scheme, *one) for one in findings(browser, part)]
    look(browser)
    return found
