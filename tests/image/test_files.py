"""Images survive the disk, byte for byte, and damaged ones are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import ImageError
from onewafer.image import (
    ColorConfig,
    CounterFilter,
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    Opcode,
    PopMode,
    RangeFilter,
    ScalarType,
    SourceLocation,
    SwitchPosition,
    load,
    save,
)
from onewafer.image.files import ARRAYS_FILE, STRUCTURE_FILE
from tests.image.builder import ProgramBuilder, make_image


def comparable(value):
    """Turn arrays into something that compares by dtype, shape and contents."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, tuple):
        return tuple(comparable(item) for item in value)
    if hasattr(value, "__slots__") and hasattr(value, "__dataclass_fields__"):
        fields = [(name, comparable(getattr(value, name))) for name in value.__dataclass_fields__]
        return type(value), fields
    return value


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_image_survives(image, tmp_path):
    image = replace(image, params={"n": "4", "größe": "2"}, colors={"c": "1"})
    save(image, tmp_path / "new" / "folder")
    assert comparable(load(tmp_path / "new" / "folder")) == comparable(image)


def test_the_bytes_depend_on_the_image_alone(image, tmp_path):
    save(image, tmp_path / "first")
    save(load(tmp_path / "first"), tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert sorted(contents(tmp_path / "first")) == [ARRAYS_FILE, STRUCTURE_FILE]


def test_saving_replaces_an_older_image(image, tmp_path):
    save(image, tmp_path)
    save(replace(image, params={"n": "5"}), tmp_path)
    assert load(tmp_path).params == {"n": "5"}


positions = st.builds(SwitchPosition, rx=st.integers(0, 31), tx=st.integers(0, 31))
configs = st.builds(
    ColorConfig,
    positions=st.lists(st.none() | positions, min_size=1, max_size=4).map(tuple),
    ring_mode=st.booleans(),
    pop_mode=st.sampled_from(PopMode),
    filter=st.none()
    | st.builds(RangeFilter, st.integers(0, 9), st.integers(10, 99))
    | st.builds(CounterFilter, st.integers(0, 9), st.integers(0, 9), counts_control=st.booleans()),
)
numbers = st.integers(-(1 << 31), (1 << 32) - 1)
locations = st.none() | st.builds(SourceLocation, st.text(), numbers, numbers)


@st.composite
def images(draw):
    builder = ProgramBuilder(draw(st.text()))
    for index in range(draw(st.integers(0, 4))):
        values = draw(st.lists(st.integers(0, 255), max_size=5))
        builder.data(f"v{index}", draw(st.sampled_from([ScalarType.U8, ScalarType.F32])), values)
    for _ in range(draw(st.integers(0, 5))):
        immediate = draw(st.integers(-(2**31), 2**31 - 1))
        location = draw(locations)
        builder.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U32, rd=1, imm=immediate, location=location)
    builder.dsd(draw(st.builds(DsdDescriptor, st.sampled_from(DsdKind), numbers)))
    builder.config(draw(st.builds(DsdConfig, numbers, numbers)))
    width, height = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    values = draw(st.lists(st.integers(0, 9), min_size=width * height, max_size=width * height))
    builder.patch_data(0x100, ScalarType.U16, values)
    routes = {(0, 0, color): draw(configs) for color in draw(st.sets(st.integers(0, 23)))}
    return make_image(
        load_architecture("toy"), builder.build(), width=width, height=height, routes=routes
    )


@given(images())
def test_any_image_survives(tmp_path_factory, image):
    folder = tmp_path_factory.mktemp("image")
    save(image, folder)
    assert comparable(load(folder)) == comparable(image)


# --- what cannot be read -------------------------------------------------------------------------


def refuses(folder, *words):
    with pytest.raises(ImageError) as error:
        load(folder)
    for word in words:
        assert word in str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    refuses(tmp_path / "nowhere", "nowhere", "No such file", "image.json")


def test_a_missing_file_is_named(image, tmp_path):
    save(image, tmp_path)
    (tmp_path / ARRAYS_FILE).unlink()
    refuses(tmp_path, ARRAYS_FILE, "No such file")


@pytest.mark.parametrize(
    "payload", [b"", b"not json", b"[1]\n{}\n", b'{"format": "elf"}\n', b"\xff"]
)
def test_a_foreign_file_is_refused(image, tmp_path, payload):
    save(image, tmp_path)
    (tmp_path / STRUCTURE_FILE).write_bytes(payload)
    refuses(tmp_path, "this is not a onewafer image")


@pytest.mark.parametrize(("version", "age"), [(0, "older"), (99, "newer")])
def test_another_version_is_refused(image, tmp_path, version, age):
    save(image, tmp_path)
    path = tmp_path / STRUCTURE_FILE
    header, body = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(header), "version": version}) + "\n" + body)
    refuses(
        tmp_path, f"version {version} is {age} than the version 14", "compile the program again"
    )


@pytest.mark.parametrize("name", [ARRAYS_FILE, STRUCTURE_FILE])
@pytest.mark.parametrize("position", [-2, -40, 400])
def test_a_damaged_file_is_refused(image, tmp_path, name, position):
    save(image, tmp_path)
    payload = bytearray((tmp_path / name).read_bytes())
    payload[position] ^= 1
    (tmp_path / name).write_bytes(bytes(payload))
    refuses(tmp_path, "the image is damaged", "compile it again")


def test_a_cut_file_is_refused(image, tmp_path):
    save(image, tmp_path)
    payload = (tmp_path / ARRAYS_FILE).read_bytes()
    (tmp_path / ARRAYS_FILE).write_bytes(payload[: len(payload) // 2])
    refuses(tmp_path, "the image is damaged")
