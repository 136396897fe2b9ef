"""The examples of `docs/reference/libraries.md` compile, run, and assert what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.csl.sema.session import LIBRARIES
from tests.csl.library.one_pe import compile_pe, device_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/libraries.md").read_text(encoding="utf-8")
LIBRARY = ROOT / "src" / "onewafer" / "csl" / "library"
BLOCK = re.compile(r"^```csl ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    title: BLOCK.findall(text)
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
INTERNAL = {
    "tile_config/refused",
    "tile_config/registers",
    "tile_config/queue_status",
    "tile_config/queue_registers",
    "message_passing/after",
    "message_passing/way",
    "language/wide",
    "random/generators",
} | {f"kernels/fft/{name}" for name in ("exchange", "fft3d_pe", "vector", "way")}
"""Files that programs do not import by name."""
OF_WSE3 = {"message_passing", "queue_flush"}
"""Sections whose libraries are of the WSE-3 alone."""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize("title", [title for title, blocks in SECTIONS.items() if blocks])
def test_example_runs(title, arch):
    if title in OF_WSE3 and arch != "wse3":
        return
    blocks = SECTIONS[title]
    if blocks[0][0]:
        machine = load_architecture(arch)
        options = CompileOptions(entry=blocks[0][0], architecture=machine)
        image = compile_program(options, MemoryFiles(dict(blocks)))
    else:
        ((_, example),) = blocks
        image = compile_pe("example();", example, arch=arch)
    device_of(image).launch("run")


def test_every_library_is_on_the_page():
    files = {
        path.relative_to(LIBRARY).with_suffix("").as_posix() for path in LIBRARY.rglob("*.csl")
    }
    for name in files - INTERNAL:
        folder, _, part = name.rpartition("/")
        named = f"`{part}`" if folder == "tile_config" else f"<{name}>"
        assert named in PAGE or f"`{part}." in PAGE, name


def test_every_library_is_suggested():
    files = {
        path.relative_to(LIBRARY).with_suffix("").as_posix() for path in LIBRARY.rglob("*.csl")
    }
    assert {name for name in files - INTERNAL if not name.startswith("tile_config/")} == {
        *LIBRARIES
    }


def test_every_function_is_on_the_page():
    for path in sorted([*LIBRARY.glob("*.csl"), *LIBRARY.glob("collectives_2d/*.csl")]):
        names = set(re.findall(r"^fn (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        public = {re.sub(r"_(f16|f32|32|64)$", "", name) for name in names}
        missing = {name for name in public if name not in PAGE} - OWN.get(path.stem, set())
        assert not missing, path.name


COLLECTIVES = set(
    re.findall(
        r"^fn (\w+)\(",
        (LIBRARY / "collectives_2d" / "pe.csl")
        .read_text(encoding="utf-8")
        .split("// --- parts")[1],
        re.MULTILINE,
    )
)
OWN = {
    "control": {"entry_bits"},
    "params": {"axis", "set_routes"},
    "pe": COLLECTIVES,
    "debug": {"fits", "put_tagged_u16", "put_tagged_u32", "trace_f16", "trace_f32"},
    "math": {"with_sign", "power_of_two", "upper", "product_error", "positive_power", "sine_from"}
    | {"is_whole", "is_odd", "is_signed", "is_half", "has_format", "number", "float", "format"}
    | {"quiet_bit", "known_floor", "subsat_half", "subsat_signed"},
    "malloc": {"words_of"},
    "message_passing": {"take_delivery", "end_delivery", "num_delivered", "after", "is_known"}
    | {"is_half"},
    "random": {"step"},
    "string": {"field_text"},
}
"""Functions that are not for programs."""
