"""Web pages served to a browser on this computer: their files, and checks of requests.

A page is a package of static files, without a build step, which load nothing from other servers.
`shared` has the style, the icon and the elements of all pages; a page may have unchanged files of
other projects in a folder `vendor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""The names of this computer that no foreign DNS server can define."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types dompurify"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
"""Response headers that let a page run and load only files of its own server."""
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of a page."""

    body: bytes
    media_type: str


def read_page(package: str) -> Mapping[str, PageFile]:
    """Return the files of the page in a package, by path; the page itself is at `/`."""
    own = files(package)
    shared = _read_folder(files(__name__) / "shared", "/page")
    vendored = _read_folder(own / "vendor", "/page/vendor")
    return {**shared, **_read_folder(own, "/page"), **vendored}


def _read_folder(folder: Traversable, path: str) -> dict[str, PageFile]:
    result: dict[str, PageFile] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        media_type = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            at = "/" if file.name == "index.html" else f"{path}/{file.name}"
            result[at] = PageFile(file.read_bytes(), media_type)
    return result


def is_loopback(host: str) -> bool:
    """Tell whether a `Host` header names this computer, with or without a port.

    >>> is_loopback("LocalHost:8000"), is_loopback("[::1]:8000"), is_loopback("127.0.0.1")
    (True, True, True)
    >>> is_loopback("localhost.example:8000"), is_loopback("[::1].example")
    (False, False)
    """
    name, colon, port = host.lower().rpartition(":")
    has_port = bool(colon) and port.isdecimal()
    return (name if has_port else host.lower()) in LOOPBACK_NAMES


def is_same_origin(origin: str, host: str) -> bool:
    """Tell whether an `Origin` header names the server in the `Host` header.

    >>> [is_same_origin(one, "localhost:80") for one in ("http://localhost:80", "null")]
    [True, False]
    """
    return origin.partition("://")[2] == host
