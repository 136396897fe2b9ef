"""The check of wheels finds what is missing in one, or too much."""

import zipfile

import pytest

from tools.check_wheels import _KERNELS, WHEELS, Wheel

FOLDER = "onewafer-0.1.0.dist-info"
METADATA = """Metadata-Version: 2.4
Requires-Dist: numpy>=1.26
Requires-Dist: torch>=2.8; extra == 'demo'
Description-Content-Type: text/markdown
"""


def wheel(folder, platform, *, tags=None, without=(), more=()):
    path = folder / "onewafer.whl"
    tags = WHEELS[platform].removeprefix("py3-none-").split(".") if tags is None else tags
    files = {
        f"{FOLDER}/METADATA": METADATA,
        f"{FOLDER}/WHEEL": "".join(f"Tag: py3-none-{tag}\n" for tag in tags),
        f"{FOLDER}/licenses/LICENSE": "",
        f"{FOLDER}/licenses/src/onewafer/server/page/vendor/one.LICENSE": "",
        "onewafer/__init__.py": "",
        "onewafer/__init__.pyi": "",
        "onewafer/py.typed": "",
        "onewafer/server/page/vendor/one.js": "",
        "cerebras/sdk/__init__.py": "",
        **({} if platform == "any" else {_KERNELS.format(platform): ""}),
        **dict.fromkeys(more, ""),
    }
    with zipfile.ZipFile(path, "w") as opened:
        for name, text in files.items():
            if name not in without:
                opened.writestr(name, text)
    return Wheel(platform, path)


@pytest.mark.parametrize("platform", WHEELS)
def test_a_whole_wheel_has_no_findings(platform, tmp_path):
    assert wheel(tmp_path, platform).findings() == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"more": [_KERNELS.format("linux-aarch64")]}, "kernels of ['linux-aarch64', 'linux-x86"),
        ({"without": [_KERNELS.format("linux-x86_64")]}, "kernels of []"),
        ({"tags": ["any"]}, "tags ['any']"),
        ({"without": [f"{FOLDER}/licenses/LICENSE"]}, "no licence"),
        ({"without": ["onewafer/py.typed"]}, "no py.typed"),
        ({"more": ["tests/__init__.py"]}, "other packages"),
        (
            {"without": [f"{FOLDER}/licenses/src/onewafer/server/page/vendor/one.LICENSE"]},
            "vendored files without licences",
        ),
    ],
)
def test_a_wheel_with_a_mistake_is_named(changes, finding, tmp_path):
    (found,) = wheel(tmp_path, "linux-x86_64", **changes).findings()
    assert found.startswith(f"onewafer.whl: {finding}")
