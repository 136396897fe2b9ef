"""`onewafer view` as a user meets it: pictures, files for a browser, the server's refusals."""

import re
import socket

import matplotlib.image
import numpy as np
import pytest
from starlette.testclient import TestClient

from onewafer.cli.main import execute
from onewafer.recording import RecordingFile
from onewafer.viewer import page_file, page_server
from onewafer.viewer.followed_runs import FollowedRuns
from onewafer.viewer.heat_maps import draw_codes, find_map
from onewafer.viewer.page_parts import PageParts
from onewafer.viewer.page_server import make_app
from onewafer.viewer.palettes import difference_palette, value_palette
from onewafer.viewer.windows import Windows
from onewafer.web_pages import read_page
from tests.recording.recordings import record
from tests.viewer.recorded_runs import record_grid

EVIL = "</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def path(tmp_path):
    return record(tmp_path / "run.parquet")


@pytest.fixture
def client(path):
    return TestClient(make_app(PageParts(RecordingFile(path))), base_url="http://127.0.0.1:8008")


def test_a_picture_has_a_square_a_pe_in_the_color_of_its_counter(path, tmp_path, capsys):
    assert execute(["view", str(path), "--png", str(tmp_path / "a.png"), "--what", "busy"]) == 0
    picture = np.rint(255 * matplotlib.image.imread(tmp_path / "a.png")[:, :, :3]).astype(int)
    colors = value_palette()

    assert capsys.readouterr().out == "wrote a.png: busy: 25 % on average, at most 50 %\n"
    side = 900 // 3
    for y, x in np.ndindex(2, 3):
        code = 1 + round(254 * (3 * y + x) / 5)
        at = picture[60 + side * y + side // 2, 70 + side * x + side // 2]
        assert at.tolist() == colors[code].tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--what", "busy"], "--what busy is the map of --png FILE"),
        (["--png", "a.png", "--what", "heat"], "no map 'heat'; it has: busy, program"),
        (["--png", "/no/a.png"], "there is no directory /no"),
        (["--port", "70000"], "write 0 to 65535"),
        (["--window", "1"], "--window is for the --png FILE of one run"),
        (["--png", "a.png", "--window", "1"], "has no windows of busy: the run was not"),
    ],
)
def test_what_cannot_be_shown_is_said(path, arguments, said, capsys, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert execute(["view", str(path), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [file.name for file in path.parent.iterdir()] == ["run.parquet"]


def test_a_taken_port_is_said(path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert execute(["view", str(path), "--port", port]) == 2
    assert f"--port {port} is taken by another program" in capsys.readouterr().err


def test_a_file_that_is_no_recording_is_said(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("busy")
    assert execute(["view", str(tmp_path / "a.txt")]) == 1
    assert "a.txt: this is no recording of a run" in capsys.readouterr().err


def test_the_server_has_its_own_files_and_the_run(client):
    run = client.get("/run/run.json")
    page = client.get("/")

    assert [one["name"] for one in run.json()["maps"]] == ["busy", "program"]
    assert client.get("/run/maps/busy/0").content == bytes([1, 52, 103, 153, 204, 255])
    assert client.get("/run/pes/2-1.json").json()["busy_cycles"] == 50
    assert page.text == read_page("onewafer.viewer.page")["/"].body.decode()
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_server_says_for_whom_a_pe_waits(tmp_path):
    columns = {
        "program": np.zeros(6, np.int16),
        "waits_for": np.array([-1, -1, 0, -1, -1, -1], np.int8),
        "waits_for_color": np.array([-1, -1, 3, -1, -1, -1], np.int8),
    }
    parts = PageParts(RecordingFile(record(tmp_path / "run.parquet", columns)))

    assert parts.find("peers/2-0.json") == (
        b'{"sends":true,"pes":[[0,0]],"host":false,"more":false}'
    )
    assert parts.find("peers/0-0.json") == b"null"
    assert [path for path in parts.paths() if path.startswith("peers")] == ["peers/2-0.json"]


@pytest.mark.parametrize(
    "asked",
    [
        "/etc/passwd",
        "/run/",
        "/run.json",
        "/run/maps/busy/9",
        "/run/maps/heat.json",
        "/run/pes/3-0.json",
        "/run/pes/²-0.json",
        "/run/programs/7.json",
        "/run/routes/99",
        "/run/../page/__init__.py",
        "/page/__init__.py",
    ],
)
def test_the_server_has_nothing_else(client, asked):
    assert client.get(asked).status_code == 404


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}]
)
def test_the_server_answers_no_page_of_another_one(client, headers):
    assert client.get("/run/run.json", headers=headers).status_code == 403
    assert client.post("/run/run.json").status_code == 405


def test_a_machine_that_is_not_known_is_said(tmp_path):
    path = record(tmp_path / "run.parquet", arch="wse9")
    client = TestClient(make_app(PageParts(RecordingFile(path))), base_url="http://localhost:8008")
    answer = client.get("/run/programs/0.json")

    assert answer.status_code == 500
    assert "wse9" in answer.text


def test_the_page_asks_no_other_server():
    for file in read_page("onewafer.viewer.page").values():
        names = file.body.replace(b"http://www.w3.org/2000/svg", b"")  # a name, not an address
        assert b"http:" not in names
        assert b"https:" not in names
        assert b"innerHTML" not in names


def test_a_file_for_a_browser_holds_all_parts_and_no_markup_of_a_user(tmp_path, capsys):
    path = record(tmp_path / "run.parquet", title=EVIL, reasons=(EVIL,))
    assert execute(["view", str(path), "--html", str(tmp_path / "a.html")]) == 0
    html = (tmp_path / "a.html").read_text()
    parts = PageParts(RecordingFile(path))

    assert "wrote a.html" in capsys.readouterr().out
    assert all(f'"{name}":' in html for name in parts.paths())
    assert "<img" not in html
    assert html.count("</script>") == 2
    assert not re.search(r"^(import|export) ", html, re.MULTILINE)


def test_maps_that_a_file_has_no_room_for_are_named(path, tmp_path, capsys, monkeypatch):
    full = RecordingFile(path)
    sizes = page_file._choose(PageParts(full))[0]
    room = sum(len(text) + len(name) + 6 for name, text in sizes.items())
    monkeypatch.setattr(page_file, "MOST_BYTES", page_file._ROOM_FOR_PAGE + room - 1)
    assert execute(["view", str(path), "--html", str(tmp_path / "a.html")]) == 0
    assert "left out, for the size: " in capsys.readouterr().out


def test_the_address_of_two_runs_says_how_their_cycles_differ(path, tmp_path, capsys, monkeypatch):
    other = record(tmp_path / "b.parquet", cycles=149)
    monkeypatch.setattr(page_server, "serve_on", lambda listener, *_: listener.close())
    assert execute(["view", str(path), str(other), "--port", "0"]) == 0
    said = "run.parquet and b.parquet, which took 49 % more cycles than run.parquet; Ctrl-C ends\n"
    assert capsys.readouterr().out.endswith(f"shows {said}")


def test_runs_of_other_rectangles_are_not_compared(path, tmp_path, capsys):
    other = record(tmp_path / "wide.parquet", width=4)
    for options in ([], ["--png", str(tmp_path / "a.png")], ["--html", str(tmp_path / "a.html")]):
        assert execute(["view", str(path), str(other), *options]) == 2
        said = capsys.readouterr().err
        assert "has 3×2 PEs and" in said
        assert "4×2: runs are compared PE by PE" in said
    assert not (tmp_path / "a.png").exists()


def test_a_run_that_changes_its_rectangle_is_shown_as_it_was(path, tmp_path):
    other = record(tmp_path / "b.parquet")
    runs = FollowedRuns([RecordingFile(path), RecordingFile(other)])
    before = runs.find("run.json")
    record(other, width=4)

    assert runs.look() == 0
    assert runs.find("run.json") == before


def test_a_picture_of_two_runs_is_what_differs(path, tmp_path, capsys):
    columns = {"program": np.zeros((2, 3), np.int16), "busy_cycles": np.array([[0] * 3, [80] * 3])}
    other = record(tmp_path / "b.parquet", columns, cycles=200)
    picture = tmp_path / "a.png"
    assert execute(["view", str(path), str(other), "--png", str(picture)]) == 0
    said = capsys.readouterr().out

    # of 100 cycles 0, 10, 20, 30, 40, 50 %; of 200 three times 0 and three times 40 %
    assert said == (
        "wrote a.png: busy, b.parquet − run.parquet: -5 % on average, at most 20 % either way; "
        "b.parquet took 100 % more cycles than run.parquet\n"
    )
    colors = np.rint(255 * matplotlib.image.imread(picture)[:, :, :3]).astype(int)
    side = 900 // 3
    at = colors[60 + side // 2, 70 + 2 * side + side // 2]
    assert at.tolist() == difference_palette()[1].tolist()


def test_a_picture_of_windows_has_them_side_by_side(tmp_path, capsys):
    run = record_grid(tmp_path / "run.parquet", 2, 2, num_windows=3)
    picture = tmp_path / "a.png"
    assert execute(["view", str(run), "--png", str(picture), "--window", "0", "--window", "2"]) == 0
    assert "wrote a.png: busy: " in capsys.readouterr().out

    recording = RecordingFile(run)
    drawn, side = find_map(recording, "busy"), 900 // 2
    highest = Windows(recording).highest(drawn)
    colors = np.rint(255 * matplotlib.image.imread(picture)[:, :, :3]).astype(int)
    for panel, window in enumerate((0, 2)):
        codes = draw_codes(recording, drawn, window=window, highest=highest).levels[0]
        at = colors[60 + side // 2 :: side, 70 + panel * (900 + 60) + side // 2 :: side][:2, :2]
        assert at.tolist() == value_palette()[codes].tolist()
    assert execute(["view", str(run), "--png", str(picture), "--window", "3"]) == 2
    assert "has windows 0 to 2" in capsys.readouterr().err
