"""Captured models as files, which load in milliseconds and without PyTorch.

In: a model of the catalogue by name. Out: the model as captured by the same versions of onewafer,
torch and transformers and the same sources, or None. A file that is damaged or of other versions is
ignored, and so is a failure to write one.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata
from typing import TYPE_CHECKING, cast

import onewafer
from onewafer.errors import GraphError
from onewafer.files.digests import digest, digest_of_sources
from onewafer.files.whole_files import write_text
from onewafer.graph import Segment, from_json, to_json
from onewafer.perf.known_models import find_model
from onewafer.perf.model import Model
from onewafer.settings import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.perf.known_models import KnownModel

_SOURCES = (
    "graph/**/*.py",
    "perf/model*.py",
    "pytorch/capture*.py",
    "pytorch/describe.py",
    "pytorch/stand_ins.py",
    "pytorch/weightless.py",
    "pytorch/lowering/*.py",
)
"""Our sources that determine a captured model; a change in one invalidates all files."""


def kept_model(name: str) -> Model | None:
    """Return a model of the catalogue from its file; None if there is none.

    Raises ConfigurationError if the catalogue has no model of that name.
    """
    try:
        text = _path(find_model(name)).read_text(encoding="utf-8")
        expected, _, body = text.partition("\n")
        return model_from_json(body) if expected == digest(body) else None
    except (OSError, UnicodeDecodeError, GraphError):
        return None


def keep_model(model: Model) -> None:
    """Write a model of the catalogue to its file, if the cache folder can be written."""
    entry, body = find_model(model.name), model_to_json(model)
    try:
        path = _path(entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{digest(body)}\n{body}")
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else


def model_to_json(model: Model) -> str:
    """Return the model as JSON; `model_from_json` gives an equal one."""
    segments = [
        {
            "graph": json.loads(to_json(segment.graph)),
            "repeats": segment.repeats,
            "shared": sorted(segment.shared),
            "constants": sorted(segment.constants),
        }
        for segment in model.segments
    ]
    others = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name != "segments"
    }
    return json.dumps({**others, "segments": segments})


def model_from_json(text: str) -> Model:
    """Read a model; raise GraphError if the text is not one."""
    try:
        fields = cast("dict[str, list[object]]", json.loads(text))
        items = cast("list[dict[str, object]]", fields.pop("segments"))
        segments = tuple(_read_segment(item) for item in items)
        changed = {"segments": segments, "notes": tuple(fields["notes"])}
        return Model(**{**fields, **changed})  # pyright: ignore[reportArgumentType]  # from JSON
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GraphError(
            f"this is not a captured model: {type(error).__name__}: {error}"
        ) from error


def _read_segment(item: dict[str, object]) -> Segment:
    return Segment(
        from_json(json.dumps(item["graph"])),
        cast("int", item["repeats"]),
        frozenset(cast("list[str]", item["shared"])),
        frozenset(cast("list[str]", item["constants"])),
    )


def _path(entry: KnownModel) -> Path:
    key = json.dumps([dataclasses.asdict(entry), _versions(), digest_of_sources(*_SOURCES)])
    return cache_folder() / "models" / f"{entry.name}-{digest(key)[:16]}.json"


def _versions() -> list[str]:
    return [onewafer.__version__, *(_version(package) for package in ("torch", "transformers"))]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
