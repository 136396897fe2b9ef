"""The page of a recording as one HTML file, which needs no server.

It contains the scripts, and all parts that a server would send, compressed and in base64. Parts
that do not fit into the limit of the file's size are left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING

from onewafer.files.whole_files import write_text
from onewafer.viewer.page import SCRIPTS
from onewafer.web_pages import read_page

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.viewer.page_parts import Parts

MOST_BYTES = 20_000_000
_ROOM_FOR_PAGE = 200_000
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def write_page(parts: Parts, path: Path) -> tuple[str, ...]:
    """Write the file as a whole or not at all; return the paths of the parts that are left out.

    Raises:
        OSError: it cannot be written.
    """
    kept, left_out = _choose(parts)
    files = read_page("onewafer.viewer.page")
    script = "\n".join(
        _EXPORT.sub("", _IMPORT.sub("", files[f"/page/{name}"].body.decode())) for name in SCRIPTS
    )
    style = "\n".join(files[f"/page/{name}"].body.decode() for name in ("look.css", "page.css"))
    # Paths contain names of maps, which come from the recording.
    payload = json.dumps(kept, separators=(",", ":")).replace("<", "\\u003c")
    html = files["/"].body.decode()
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    data = f'<script type="application/json" id="parts">{payload}</script>'
    replacements = {
        '<link rel="stylesheet" href="/page/look.css">': "",
        '<link rel="stylesheet" href="/page/page.css">': f"{meta}\n<style>{style}</style>",
        '<link rel="icon" href="/page/icon.svg">': "",
        '<script type="module" src="/page/page.js"></script>': (
            f'{data}\n<script type="module">{script}</script>'
        ),
    }
    for tag, replacement in replacements.items():
        assert tag in html, "the page and this module belong together"  # invariant
        html = html.replace(tag, replacement)
    write_text(path, html)
    return left_out


def _choose(parts: Parts) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the parts that fit, and the paths of those that are left out."""
    room = MOST_BYTES - _ROOM_FOR_PAGE
    kept: dict[str, str] = {}
    left_out: list[str] = []
    for path in parts.paths():
        payload = parts.find(path)
        assert payload is not None, path  # invariant
        text = base64.b64encode(zlib.compress(payload)).decode()
        size = len(text) + len(path) + 6
        if size > room:
            left_out.append(path)
        else:
            kept[path] = text
            room -= size
    return kept, tuple(left_out)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
