"""The folder that `SdkLayout.compile` writes and `SdkRuntime` opens."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.errors import HostError
from onewafer.host import StreamPort, save_stream_ports
from onewafer.image import save

if TYPE_CHECKING:
    from onewafer.image import WaferImage
    from onewafer.sdk_layout.fabric_plan import FabricPlan

LAYOUT_FILE = "layout.csl"
COLORS_FILE = "colors.json"
PARAMETERS_FILE = "out.json"


@dataclass(frozen=True, slots=True)
class SdkCompileArtifacts:
    """The folder of a compiled layout; functions that take a path take it."""

    artifacts_path: str

    def __post_init__(self) -> None:
        """Check the path.

        Raises:
            HostError: it does not name a folder.
        """
        try:
            object.__setattr__(self, "artifacts_path", os.fspath(self.artifacts_path))
        except TypeError:
            raise HostError(
                f"SdkCompileArtifacts({self.artifacts_path!r}): give the name of the folder that "
                "SdkLayout.compile wrote"
            ) from None

    def __fspath__(self) -> str:
        """Return the folder."""
        return self.artifacts_path


def layout_path(out_prefix: str) -> str:
    """Return the path of the CSL file of a layout.

    Raises:
        HostError: the folder cannot be one.
    """
    try:
        folder = Path(out_prefix)
    except TypeError:
        raise HostError(f"compile({out_prefix!r}): give the name of a folder to write") from None
    if not str(out_prefix).strip() or (folder.exists() and not folder.is_dir()):
        raise HostError(f"compile(out_prefix={out_prefix!r}): give the name of a folder to write")
    return (folder / LAYOUT_FILE).as_posix()


def write_text(path: str | Path, text: str) -> None:
    """Write a file of the folder, which is made if it is missing.

    Raises:
        HostError: it cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(path, error) from None


def write_artifacts(image: WaferImage, plan: FabricPlan, out_prefix: str) -> SdkCompileArtifacts:
    """Write the image, the colors and the streams into the folder, where the layout is already.

    Raises:
        HostError: it cannot be written.
    """
    folder = Path(out_prefix)
    colors = {name: plan.values[name] for name in sorted(plan.values)}
    image = replace(image, colors={name: str(value) for name, value in colors.items()})
    summary = {"params": {}, "colors": image.colors, "arch": image.arch}
    for name, content in ((COLORS_FILE, colors), (PARAMETERS_FILE, summary)):
        write_text(folder / name, json.dumps(content, indent=2) + "\n")
    try:
        save(image, folder)
        save_stream_ports(stream_ports(plan), folder)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    return SdkCompileArtifacts(str(folder))


def _cannot_write(path: str | Path, error: OSError) -> HostError:
    return HostError(
        f"SdkLayout.compile: {error.filename or path} cannot be written: {error.strerror or error}"
    )


def stream_ports(plan: FabricPlan) -> list[StreamPort]:
    """Return the PE and color of each stream at the host."""
    ports: list[StreamPort] = []
    for routed in plan.routed:
        if routed.io_pe is not None:
            (port,) = routed.link.ports
            value = plan.value(port.color)
            ports.append(
                StreamPort(routed.link.name, *routed.io_pe, value, port.is_input, port.size)
            )
    for stream in (placed.stream for placed in plan.loc_streams):
        value = plan.value(stream.color)
        ports.append(StreamPort(stream.name, *stream.pe, value, stream.is_input))
    return ports
