"""The page of a recording: `onewafer.web_pages` reads its files."""

SCRIPTS = (
    "parts.js",
    "elements.js",
    "wafer.js",
    "overlays.js",
    "panes.js",
    "times.js",
    "spans.js",
    "panel.js",
    "page.js",
)
"""The scripts, each after those that it imports; a name that one exports no other one has."""
