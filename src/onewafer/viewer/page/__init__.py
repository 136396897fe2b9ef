"""The page of a recording: `onewafer.web_pages` reads its files."""

SCRIPTS = (
    "parts.js",
    "elements.js",
    "units.js",
    "wafer.js",
    "overlays.js",
    "panes.js",
    "time.js",
    "lanes.js",
    "operations.js",
    "memory.js",
    "pe_windows.js",
    "panel.js",
    "page.js",
)
"""The scripts, each after its imports; their exported names are unique."""
