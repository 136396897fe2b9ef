"""Arrays and archives from anywhere do not say how much memory they take."""

import io
import zipfile
import zlib

import numpy as np
import pytest

from onewafer.files import foreign_bytes
from onewafer.files.foreign_bytes import inflate, parse_array, read_member


def npy(array, **header):
    file = io.BytesIO()
    fields = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, {**fields, **header})
    return file.getvalue() + array.tobytes()


def test_an_array_is_read():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert parse_array(npy(array)).tolist() == array.tolist()
    assert parse_array(npy(np.zeros((0, 3), np.int16))).shape == (0, 3)


@pytest.mark.parametrize(
    "header",
    [
        {"shape": (1 << 40, 1 << 20)},
        {"shape": (7,)},
        {"shape": (-6,)},
        {"shape": (1 << 62, 1 << 62)},
        {"descr": "|O"},
        {"descr": "<i8"},
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(header):
    with pytest.raises(ValueError, match="an array of"):
        parse_array(npy(np.zeros(6, np.int16), **header))


def test_a_member_that_fits_no_memory_is_refused(monkeypatch):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    with zipfile.ZipFile(file) as archive:
        assert len(read_member(archive, "zeros")) == 1 << 20
        monkeypatch.setattr(foreign_bytes, "available_memory", lambda: 1 << 19)
        with pytest.raises(ValueError, match=r"zeros has 1\.05 MB, more than fits this computer"):
            read_member(archive, "zeros")


def test_deflated_bytes_have_a_limit():
    deflated = zlib.compress(bytes(1 << 20))
    assert inflate(deflated, most_bytes=1 << 20) == bytes(1 << 20)
    for content in (deflated + b"x", deflated[:-1]):
        with pytest.raises(ValueError, match="are not one stream"):
            inflate(content, most_bytes=1 << 20)
    with pytest.raises(ValueError, match="are not one stream"):
        inflate(deflated, most_bytes=(1 << 20) - 1)
