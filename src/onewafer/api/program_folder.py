"""The folder of a compiled program: what `cslc` writes, and `SdkRuntime` and `load` read.

It is written only once everything is known to be right, and never over something that is not an
older output.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from onewafer.image import WaferImage

PARAMETERS_FILE = "out.json"
IMAGE_FILE = "image.json"
"""The file by which a folder is known to be an output of ours."""


def check_folder(folder: Path, option: str = "") -> None:
    """Refuse a place that cannot be written, or is not ours; `option` is what named it."""
    named = f"{option}{folder}"
    if folder.is_symlink() and not folder.exists():
        raise ConfigurationError(
            f"{named}: this is a link to {folder.readlink()}, which is not there"
        )
    if folder.is_dir():
        if any(folder.iterdir()) and not (folder / IMAGE_FILE).is_file():
            raise ConfigurationError(
                f"{named}: the folder holds files, and none of them is a compiled program; "
                "choose another folder, or empty this one"
            )
    elif folder.exists():
        raise ConfigurationError(f"{named}: this is a file; give a folder")
    parent = folder if folder.is_dir() else folder.parent
    if not parent.is_dir():
        raise ConfigurationError(f"{named}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise ConfigurationError(f"{named}: the folder {parent} cannot be written")


def write_folder(image: WaferImage, folder: Path, option: str = "") -> None:
    """Write everything beside the folder, then put it in place."""
    from onewafer.image import save  # noqa: PLC0415  # when it is used

    written = folder.parent / f".{folder.name}.{os.getpid()}"
    try:
        save(image, written)
        (written / PARAMETERS_FILE).write_text(parameters_to_json(image), encoding="utf-8")
        if folder.is_dir():
            for file in sorted(written.iterdir()):
                file.replace(folder / file.name)
        else:
            written.rename(folder)
    except OSError as error:
        # The system's message names a temporary of ours; the user knows the folder.
        raise ConfigurationError(f"{option}{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(written, ignore_errors=True)


def parameters_to_json(image: WaferImage) -> str:
    """Return as JSON what host scripts ask for."""
    parameters = {"params": image.params, "colors": image.colors, "arch": image.arch}
    return json.dumps(parameters, indent=2, sort_keys=True) + "\n"
