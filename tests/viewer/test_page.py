"""The page of a recorded run in Debian's Chromium."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from onewafer.recording import RecordingFile
from onewafer.viewer.awaited_run import AwaitedRun
from onewafer.viewer.compared_runs import ComparedParts, Difference
from onewafer.viewer.heat_maps import draw_codes, find_map
from onewafer.viewer.page_file import write_page
from onewafer.viewer.page_parts import PageParts
from onewafer.viewer.palettes import difference_palette, palette_of, value_palette
from onewafer.viewer.windows import Windows
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3
from tests.viewer.recorded_runs import (
    EVIL,
    program,
    record_grid,
    record_image,
    record_traced,
    serving,
    viewing,
)

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
TWO_FRAMES = """
requestAnimationFrame(() => requestAnimationFrame(arguments[0]));
"""
"""What is due is drawn then."""
PIXELS = """
const wafer = document.querySelectorAll(".wafer")[arguments[0]];
const copy = new OffscreenCanvas(wafer.width, wafer.height);
const context = copy.getContext("2d");
context.drawImage(wafer, 0, 0);
const { data } = context.getImageData(0, 0, wafer.width, wafer.height);
let text = "";
for (let i = 0; i < data.length; i += 4) {
  text += ((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]).toString(16).padStart(6, "0");
}
return [wafer.width, wafer.height, text];
"""


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    size = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return record_grid(tmp_path_factory.mktemp("small") / "run.parquet", 2, 2)


@pytest.fixture(scope="module")
def small_server(small):
    with viewing(small) as url:
        yield url


@pytest.fixture(autouse=True)
def no_errors(browser):
    """No test leaves an error in the console; what WebGL says of its speed is none."""
    browser.get_log("browser")
    yield
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def open_page(browser, url, link=""):
    browser.get("about:blank")
    browser.get(f"{url}{link}")
    wait_for(
        browser, lambda: browser.execute_script("return document.documentElement.dataset.ready")
    )


def wait_for(browser, condition):
    WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def text_of(browser, selector):
    """Return the text of an element that the page may replace at any time."""
    script = "return document.querySelector(arguments[0])?.textContent ?? ''"
    return browser.execute_script(script, selector)


def show(browser, tab):
    """Open a tab of the panel."""
    find(browser, f"#tab-{tab}").click()
    selected = f"#tab-{tab}[aria-selected=true]"
    wait_for(browser, lambda: browser.find_elements(By.CSS_SELECTOR, selected))


def status(browser):
    return find(browser, "#status").text


def pixels(browser, pane=0):
    """Return the drawn map of a pane, `[y, x, 3]`."""
    wait_for(
        browser, lambda: browser.execute_script("return document.documentElement.dataset.drawn")
    )
    browser.execute_async_script(TWO_FRAMES)
    width, height, text = browser.execute_script(PIXELS, pane)
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(height, width, 3)


def fitting(across, down, width, height):
    """Return the pixels of a PE when the map has all of them."""
    return min(150, 0.94 * min(across / width, down / height))


def middles(picture, width, height):
    """Return the colors in the middle of each PE of a whole wafer, `[y, x, 3]`."""
    side = fitting(picture.shape[1], picture.shape[0], width, height)
    x = picture.shape[1] / 2 + (np.arange(width) + 0.5 - width / 2) * side
    y = picture.shape[0] / 2 + (np.arange(height) + 0.5 - height / 2) * side
    return picture[np.ix_(y.astype(int), x.astype(int))]


def colors(path, name):
    recording = RecordingFile(path)
    return value_palette()[draw_codes(recording, find_map(recording, name)).levels[0]]


def test_pixels_have_the_colors_of_the_counters(browser, small, small_server):
    for name in ("busy", "waiting"):
        open_page(browser, small_server, f"/#map={name}")
        seen = middles(pixels(browser), 2, 2)
        np.testing.assert_array_equal(seen, colors(small, name))


def test_a_click_shows_the_line_of_a_pe(browser, small_server):
    open_page(browser, small_server)
    stage = find(browser, "#overlay")
    side = fitting(stage.size["width"], stage.size["height"], 2, 2)
    ActionChains(browser).move_to_element_with_offset(stage, side / 2, side / 2).click().perform()
    wait_for(browser, lambda: status(browser).startswith("PE (1, 1): "))
    content = find(browser, "#content")

    assert find(browser, "#panel h2").text == "PE (1, 1)"
    assert "Its main thread stands at sum.csl:3." in content.text
    assert "pe=1%2C1" in browser.current_url
    assert "r5 1,065,353,216 0x3f800000" in content.text
    show(browser, "program")
    assert find(browser, "tr.here code").text == "var total: f32 = 7; // <b>bold</b>"
    show(browser, "memory")
    assert "total 0 B 0x0100 f32" in content.text
    show(browser, "tensors")
    assert "4–7" in content.text
    assert "tab=tensors" in browser.current_url


def test_what_a_user_wrote_is_text(browser, small_server):
    open_page(browser, small_server, "/#pe=1,0&tab=program")
    assert EVIL in find(browser, "#content").text
    for place in ("", "&pe=1,0"):
        for tab in ("overview", "operations", "memory", "tensors", "program"):
            open_page(browser, small_server, f"/#tab={tab}{place}")
            assert not browser.find_elements(By.CSS_SELECTOR, "img, b")
    assert browser.title == f"{EVIL} – onewafer view"
    assert not browser.find_elements(By.CSS_SELECTOR, "img, b")


def test_keys_move_zoom_and_choose(browser, small_server):
    open_page(browser, small_server, "/#pe=0,0")
    overlay = find(browser, "#overlay")
    overlay.send_keys(Keys.ARROW_RIGHT)
    wait_for(browser, lambda: status(browser).startswith("PE (1, 0)"))
    overlay.send_keys("m")
    wait_for(browser, lambda: "map=waiting" in browser.current_url)
    overlay.send_keys("+")
    assert "at=" in browser.current_url
    overlay.send_keys("0")
    assert "at=" not in browser.current_url
    overlay.send_keys("p", Keys.ESCAPE)
    wait_for(browser, lambda: find(browser, "#panel h2").text == "The whole run")
    assert "pe=" not in browser.current_url
    assert "programs=1" in browser.current_url


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_is_found_by_axe(browser, sampled_server, traced_server, theme):
    axe = pytest.importorskip("axe_selenium_python").Axe(browser)
    links = ("/", "/#pe=1,1&color=3&programs=1", "/#map=part&cycle=220&tab=operations")
    traced = ("/#pe=1,0&tasks=row&tab=program", "/#pe=1,0&tab=activity&cycles=100,400")
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    servers = ((sampled_server, links), (traced_server, traced))
    for server, link in ((server, link) for server, links in servers for link in links):
        open_page(browser, server, link)
        axe.inject()
        found = axe.run()["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["any"] for node in one["nodes"]]) for one in serious] == []


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    path = tmp_path_factory.mktemp("sampled") / "run.parquet"
    return record_grid(path, 4, 3, num_windows=4)


@pytest.fixture(scope="module")
def sampled_server(sampled):
    with viewing(sampled) as url:
        yield url


def window_colors(path, name, window):
    recording = RecordingFile(path)
    drawn = find_map(recording, name)
    highest = Windows(recording).highest(drawn)
    codes = draw_codes(recording, drawn, window=window, highest=highest).levels[0]
    return palette_of(drawn.unit, recording.header.parts)[codes]


def test_the_scrubber_shows_windows_of_the_run(browser, sampled, tmp_path):
    with viewing(sampled) as url:
        open_page(browser, url, "/#map=busy&cycle=150")
        seen = middles(pixels(browser), 4, 3)
        np.testing.assert_array_equal(seen, window_colors(sampled, "busy", 1))
        assert find(browser, "#when").text == "cycle 150 (176 ns); map of cycles 100 to 200"
        overlay = find(browser, "#overlay")
        overlay.send_keys(".")
        wait_for(browser, lambda: drawn(browser) == "busy@2 0")
        seen = middles(pixels(browser), 4, 3)
        np.testing.assert_array_equal(seen, window_colors(sampled, "busy", 2))
        assert "cycle=200" in browser.current_url
        find(browser, "#play").click()
        wait_for(browser, lambda: drawn(browser) == "busy@3 0")
        wait_for(browser, lambda: find(browser, "#play").text == "Play")
        overlay.send_keys("w")
        wait_for(browser, lambda: drawn(browser) == "busy 0")
        open_page(browser, url, "/#map=sram-code&cycle=150")
        assert find(browser, "#when").text.endswith("map of the whole run: it is not sampled")
    write_page(PageParts(RecordingFile(sampled)), tmp_path / "run.html")
    for name, window in (("part", 2), ("busy", 3)):
        link = f"#map={name}&cycle={100 * window + 50}&pe=1,1&tab=activity"
        open_page(browser, f"file://{tmp_path / 'run.html'}", link)
        seen = middles(pixels(browser), 4, 3)
        np.testing.assert_array_equal(seen, window_colors(sampled, name, window))
        assert "Over time" in find(browser, "#content").text
    assert "MLP, collectives" in find(browser, "#time-names").text


def test_operations_have_cycles_a_line_and_their_pes(browser, sampled, sampled_server, tmp_path):
    write_page(PageParts(RecordingFile(sampled)), tmp_path / "run.html")
    for page in (f"{sampled_server}/", f"file://{tmp_path / 'run.html'}"):
        open_page(browser, page, "#tab=operations")
        row = find(browser, "tr[data-operation='0']")
        assert [one.text for one in row.find_elements(By.TAG_NAME, "td")] == [
            f"linear, {EVIL}",
            "sum.csl:2",
            "84",
            "100",
            "16.7 %",
        ]
        row.find_element(By.TAG_NAME, "button").click()
        wait_for(browser, lambda: drawn(browser) == "operation-0 0")
        wait_for(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".script tr.named"))
        assert find(browser, ".script tr.named").text == "2 84 two"
        seen = middles(pixels(browser), 4, 3)
        np.testing.assert_array_equal(seen, colors(sampled, "operation-0"))
        open_page(browser, page, "#tab=operations&pe=3,0")
        cells = find(browser, "tr[data-operation='0']").find_elements(By.TAG_NAME, "td")
        assert [one.text for one in cells[2:]] == ["9", "84", "33.3 %"]


MEMORY_PIXEL = """
const canvas = document.querySelector(".over-time");
const [cycle, share] = arguments;
const x = 52 + (cycle / 1000) * (canvas.width - 52);
const y = canvas.height - 2 - share * (canvas.height - 24);
return canvas.getContext("2d").getImageData(Math.round(x), Math.round(y), 1, 1).data[3];
"""


def test_memory_has_its_uses_and_what_activations_take_over_time(browser, sampled_server):
    open_page(browser, sampled_server, "/#tab=memory")
    text = find(browser, "#content").text
    assert "The fullest PE uses 34 KiB of 48 KiB." in text
    assert "weights 20 KiB 58.8 % 41.7 %" in text
    assert "Of 4 KiB for activations, at most 2 KiB are in use at a time" in text
    browser.execute_async_script(TWO_FRAMES)
    # Code and weights all the time; activations in windows, the first 40 % of the run.
    for used, early, late in ((15, True, True), (31, True, False), (33, False, False)):
        seen = [browser.execute_script(MEMORY_PIXEL, cycle, used / 48) for cycle in (200, 700)]
        assert [alpha > 0 for alpha in seen] == [early, late]


def drawn(browser):
    return browser.execute_script("return document.documentElement.dataset.drawn")


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    return record_traced(tmp_path_factory.mktemp("traced") / "run.parquet")


@pytest.fixture(scope="module")
def traced_server(traced):
    with viewing(traced) as url:
        yield url


SPAN_PIXEL = """
const canvas = document.getElementById("span-canvas");
const ratio = canvas.width / canvas.clientWidth;
const at = [arguments[0] * ratio, arguments[1] * ratio].map(Math.round);
return [...canvas.getContext("2d").getImageData(...at, 1, 1).data.slice(0, 3)];
"""
GUTTER = 112
GREEN, BLUE, ORANGE = (1, 2, 0)
"""Which of red, green and blue is the strongest: of tasks, operations and waits."""


def span_place(browser, cycle, lane, *, start=0, end=1000, num_lanes=6):
    """Return the pixels from the left and the top of a cycle in a lane of the timeline."""
    size = find(browser, "#span-canvas").size
    tall = min(24, max(5, size["height"] / num_lanes))
    x = GUTTER + (cycle - start) / (end - start) * (size["width"] - GUTTER)
    return x, (lane + 0.75) * tall


def canvas_of_tasks(browser):
    return find(browser, "#span-canvas")


WHOLE = [0.0, 1000.0]


def seen_cycles(browser):
    """Return the cycles that the timeline shows, as drawn."""
    text = find(browser, "#timeline").get_attribute("data-drawn")
    return [float(one) for one in text.split()[:2]]


def strongest(browser, *place):
    browser.execute_async_script(TWO_FRAMES)
    return int(np.argmax(browser.execute_script(SPAN_PIXEL, *place)))


def click_span(browser, x, y):
    canvas = find(browser, "#span-canvas")
    dx, dy = x - canvas.size["width"] / 2, y - canvas.size["height"] / 2
    ActionChains(browser).move_to_element_with_offset(canvas, dx, dy).click().perform()


def test_the_timeline_has_tasks_operations_and_waits_of_a_row(browser, traced_server):
    open_page(browser, traced_server, "/#tasks=row&pe=0,1")
    assert "row 1: 8 tasks, operations and waits in 6 lanes" in find(
        browser, "#span-canvas"
    ).get_attribute("aria-label")
    for cycle, lane, color in ((310, 0, GREEN), (360, 1, BLUE), (450, 1, ORANGE), (900, 2, BLUE)):
        assert strongest(browser, *span_place(browser, cycle, lane)) == color

    click_span(browser, *span_place(browser, 550, 4))
    wait_for(browser, lambda: status(browser).startswith("Wait input empty C3, PE (1, 1)"))
    assert status(browser) == (
        "Wait input empty C3, PE (1, 1), main thread: cycles 500 to 600 (100, of which it waited "
        "60). sum.csl:3"
    )
    assert find(browser, "#panel h2").text == "PE (1, 1)"
    assert "tab=program" in browser.current_url
    assert find(browser, "#panel tr.named code").text == "var total: f32 = 7; // <b>bold</b>"


COLORS_ON_THE_WAY = """
const [x, y] = arguments;
const overlay = document.getElementById("overlay");
const ratio = overlay.width / overlay.clientWidth;
const at = [x * ratio, y * ratio].map(Math.round);
return [...overlay.getContext("2d").getImageData(...at, 1, 1).data];
"""
WAVELET = [176, 108, 255, 255]
"""The color of dots of color 3."""


def test_wavelets_leave_routers_in_their_cycle(browser, traced_server):
    for cycle, pe in ((0, 0), (100, 1), (150, None), (300, 3)):
        open_page(browser, traced_server, f"/#cycle={cycle}")
        overlay = find(browser, "#overlay")
        width, height = overlay.size["width"], overlay.size["height"]
        side = fitting(width, height, 3, 2)
        browser.execute_async_script(TWO_FRAMES)
        for one in range(6):
            x = width / 2 + (one % 3 + 0.5 + 0.15 - 1.5) * side
            y = height / 2 + (one // 3 + 0.5 - 1) * side
            found = browser.execute_script(COLORS_ON_THE_WAY, x, y)
            assert (found == WAVELET) == (one == pe), (cycle, one, found)
    open_page(browser, traced_server, "/#cycle=0")
    find(browser, "#overlay").send_keys(".")
    wait_for(browser, lambda: "cycle=1" in browser.current_url)
    find(browser, "#play").click()
    wait_for(browser, lambda: seen_cursor(browser) > 20)
    find(browser, "#play").click()
    assert find(browser, "#play").text == "Play"


def seen_cursor(browser):
    return float(find(browser, "#timeline").get_attribute("data-drawn").split()[2])


def test_a_link_to_a_phone_shows_all_and_nothing_covers_the_map(browser, sampled, tmp_path):
    other = record_grid(tmp_path / "b.parquet", 4, 3, cycles=1490)
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    desktop = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    with viewing(sampled, other) as url:
        try:
            for size in (phone, desktop):
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                open_page(browser, url, "/#pe=1,1")
                assert browser.execute_script(OVERLAPS) == []
                wide = "return document.documentElement.scrollWidth"
                assert browser.execute_script(wide) <= size["width"]
        finally:
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desktop)


OVERLAPS = """
const boxOf = (one) => one.getBoundingClientRect();
const maps = [...document.querySelectorAll(".overlay")].map(boxOf);
const others = [...document.querySelectorAll(".caption, #legend, #map-bar, #time")];
return others.filter((one) => maps.some((map) => {
  const box = boxOf(one);
  return Math.min(box.right, map.right) - Math.max(box.left, map.left) > 1
    && Math.min(box.bottom, map.bottom) - Math.max(box.top, map.top) > 1;
})).map((one) => one.id || one.className);
"""


def test_keys_choose_what_runs_and_links_keep_it(browser, traced_server):
    open_page(browser, traced_server, "/#tasks=pe&pe=1,0&tab=activity")
    canvas = find(browser, "#span-canvas")
    for key, said in (
        (Keys.ARROW_RIGHT, f"Task {EVIL}"),
        (Keys.ARROW_DOWN, "Operation fadds"),
        (Keys.ARROW_RIGHT, "Wait input empty C3"),
        (Keys.ARROW_LEFT, "Operation fadds"),
        (
            Keys.ARROW_DOWN,
            "Operation fmovs, PE (1, 0), microthread 2: cycles 300 to 1,000 (700), and",
        ),
    ):
        canvas.send_keys(key)
        wait_for(browser, lambda said=said: status(browser).startswith(said))
    canvas.send_keys("+")
    wait_for(browser, lambda: "cycles=" in browser.current_url)
    link = browser.current_url.partition("#")[2]
    wait_for(browser, lambda: seen_cycles(browser) != WHOLE)
    shown = seen_cycles(browser)
    open_page(browser, traced_server, f"/#{link}")
    wait_for(browser, lambda: status(browser).startswith("Operation fmovs"))
    wait_for(browser, lambda: seen_cycles(browser) == pytest.approx(shown, abs=0.1))
    find(browser, "#span-canvas").send_keys("0")
    wait_for(browser, lambda: seen_cycles(browser) == WHOLE)
    show(browser, "activity")
    wait_for(browser, lambda: "timeline (4)" in text_of(browser, "#span-table"))
    assert "wait input empty C3" in text_of(browser, "#span-table")
    find(browser, "#overlay").send_keys("t")
    wait_for(browser, lambda: not canvas_of_tasks(browser).is_displayed())


def test_a_file_has_the_timeline_and_says_what_is_left_out(browser, tmp_path):
    left_out = {"spans_until": 700, "num_spans_left_out": 12345}
    path = record_traced(tmp_path / "run.parquet", **left_out)
    write_page(PageParts(RecordingFile(path)), tmp_path / "run.html")
    open_page(browser, f"file://{tmp_path / 'run.html'}", "#tasks=column&pe=1,1")

    assert "column 1: 8" in find(browser, "#span-canvas").get_attribute("aria-label")
    assert find(browser, "#span-note").text == (
        "The 12,345 that begin from cycle 700 on are not in the recording."
    )
    assert strongest(browser, *span_place(browser, 450, 4)) == BLUE
    open_page(browser, f"file://{tmp_path / 'run.html'}", "#tasks=pe&pe=2,1")
    assert find(browser, "#span-note").text.startswith("PE (2, 1) did nothing.")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return record_grid(tmp_path_factory.mktemp("large") / "run.parquet", 64, 64)


def test_webgl_and_canvas_draw_the_same_picture(browser, large):
    links = ("map=busy", "map=busy&at=20.37,31.91,37.3", "map=program&at=32,32,3.1")
    with viewing(large) as url:
        for link in links:
            pictures = {}
            for renderer in ("webgl", "canvas"):
                open_page(browser, url, f"/#{link}&renderer={renderer}")
                used = browser.execute_script("return document.documentElement.dataset.renderer")
                pictures[used] = pixels(browser)
            if set(pictures) == {"canvas"}:
                pytest.skip("this Chromium has no WebGL2")
            np.testing.assert_array_equal(pictures["webgl2"], pictures["canvas"])
        open_page(browser, url)
        seen = middles(pixels(browser), 64, 64)
        np.testing.assert_array_equal(seen, colors(large, "busy"))


def test_a_file_needs_no_server(browser, large, small, tmp_path):
    for path in (large, small):
        assert write_page(PageParts(RecordingFile(path)), tmp_path / "run.html") == ()
        open_page(browser, f"file://{tmp_path / 'run.html'}", "#pe=1,1&color=3&programs=1")
        names = browser.execute_script(
            "return performance.getEntriesByType('resource').map(one => one.name)"
        )

        assert [name for name in names if not name.startswith("blob:")] == []
        assert "Its main thread stands at sum.csl:3." in find(browser, "#panel").text
        browser.execute_script("location.hash = '#map=busy'")
        wait_for(browser, lambda: find(browser, "#panel h2").text == "The whole run")
        width = RecordingFile(path).header.width
        np.testing.assert_array_equal(middles(pixels(browser), width, width), colors(path, "busy"))


@pytest.mark.slow
def test_a_whole_wafer_opens_and_zooms_to_one_pe(browser, tmp_path):
    width, height = 755, 1170
    one = make_image(WSE3, {(0, 0): program("sum.csl")}, width=1, height=1, routes={})
    image = make_whole(one, width, height)
    path = record_image(tmp_path / "run.parquet", image)
    with viewing(path) as url:
        open_page(browser, url)
        wait_for(browser, lambda: drawn(browser) == "busy 1")  # 1,170 rows in fewer pixels
        open_page(browser, url, "/#pe=700,1000")
        assert "Its main thread stands at sum.csl:3." in find(browser, "#panel").text
        picture = pixels(browser)
        middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
        assert middle.tolist() == colors(path, "busy")[1000, 700].tolist()
    write_page(PageParts(RecordingFile(path)), tmp_path / "run.html")
    assert (tmp_path / "run.html").stat().st_size <= 20_000_000


def make_whole(image, width, height):
    """Return an image of many PEs that all run what one does."""
    return replace(
        image,
        width=width,
        height=height,
        program_of_pe=np.zeros((height, width), np.int16),
        config_of_color=np.full((height, width, 24), -1, np.int16),
    )


def test_two_runs_stand_side_by_side_with_what_differs(browser, sampled, tmp_path):
    other = record_grid(tmp_path / "b.parquet", 4, 3, shift=313, cycles=1490)
    difference = Difference(RecordingFile(sampled), RecordingFile(other))
    with viewing(sampled, other) as url:
        open_page(browser, url, "/#map=busy&pe=1,2")
        seen = [middles(pixels(browser, number), 4, 3) for number in range(3)]
        assert "Both runs" in find(browser, "#panel").text
        assert ", B ≈ " in status(browser)
        captions = [one.text for one in browser.find_elements(By.CSS_SELECTOR, ".caption")]
        assert captions[2] == "B − A: 49 % more cycles than A"
        open_page(browser, url, "/#map=busy")
        assert "B took 49 % more cycles than A." in find(browser, "#panel").text
        assert status(browser).startswith("busy: A ")
        assert status(browser).endswith(" percentage points less.")
    write_page(ComparedParts(difference.first, difference.second), tmp_path / "both.html")
    open_page(browser, f"file://{tmp_path / 'both.html'}", "#map=busy&pe=1,2")
    again = [middles(pixels(browser, number), 4, 3) for number in range(3)]
    assert "Both runs" in find(browser, "#panel").text

    drawn = find_map(difference.first, "busy")
    highest = difference.highest(drawn)
    both = (
        draw_codes(one, drawn, highest=highest).levels[0]
        for one in (difference.first, difference.second)
    )
    expected = [value_palette()[codes] for codes in both]
    expected.append(difference_palette()[difference.draw(drawn).levels[0]])
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(again, expected)


def test_the_scrubber_moves_both_runs(browser, sampled, tmp_path):
    other = record_grid(tmp_path / "b.parquet", 4, 3, num_windows=3, shift=313)
    difference = Difference(RecordingFile(sampled), RecordingFile(other))
    drawn_map = find_map(difference.first, "busy")
    highest = difference.highest(drawn_map, over_time=True)
    last = draw_codes(difference.second, drawn_map, window=2, highest=highest).levels[0]
    wanted = (
        value_palette()[
            draw_codes(difference.first, drawn_map, window=3, highest=highest).levels[0]
        ],
        value_palette()[last],
        difference_palette()[difference.draw(drawn_map, 3).levels[0]],
    )
    write_page(ComparedParts(difference.first, difference.second), tmp_path / "both.html")
    with viewing(sampled, other) as url:
        for page in (f"{url}/", f"file://{tmp_path / 'both.html'}"):
            open_page(browser, page, "#map=busy&cycle=250")
            find(browser, "#overlay").send_keys(".")
            wait_for(browser, lambda: drawn(browser) == "busy@3 0")
            assert find(browser, "#when").text.endswith("; map of A 300 to 400, B 200 to 300")
            for number, expected in enumerate(wanted):
                np.testing.assert_array_equal(middles(pixels(browser, number), 4, 3), expected)


@pytest.mark.slow
def test_the_page_follows_a_run_until_it_is_over(browser, tmp_path):
    path = record_grid(tmp_path / "run.parquet", 2, 2, is_over=False)
    with viewing(path) as url:
        open_page(browser, url, "/#map=busy&pe=1,1")
        before = middles(pixels(browser), 2, 2)
        assert find(browser, "#live").is_displayed()
        np.testing.assert_array_equal(before, colors(path, "busy"))
        record_grid(path, 2, 2, shift=500)
        wait_for(browser, lambda: not find(browser, "#live").is_displayed())
        after = middles(pixels(browser), 2, 2)
        np.testing.assert_array_equal(after, colors(path, "busy"))
        assert (before != after).any()
        assert find(browser, "#panel h2").text == "PE (1, 1)"


@pytest.mark.slow
def test_the_page_waits_for_a_run_that_has_not_begun(browser, tmp_path):
    path = tmp_path / "run.parquet"
    run = AwaitedRun(path, {})
    with serving(run) as url:
        open_page(browser, url, "/#map=waiting")
        assert status(browser) == "Waiting for the run."
        record_grid(path, 2, 2, is_over=False)
        wait_for(browser, lambda: drawn(browser) == "waiting 0")
        assert find(browser, "#live").text == "running"
        record_grid(path.with_name("run-2.parquet"), 3, 2, is_over=False)
        wait_for(browser, lambda: "3×2" in text_of(browser, "#facts"))
        browser.get("about:blank")  # before the server ends, which this page would go on asking
