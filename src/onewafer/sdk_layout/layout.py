"""`SdkLayout`: the interface by which a host script builds a program."""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from numbers import Integral
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, DiskFiles, integer_params, run_stages
from onewafer.diagnostics import DiagnosticSink, render
from onewafer.errors import CompileError, HostError
from onewafer.host import SdkExecutionPlatform, SdkTarget, also_named
from onewafer.image import ScalarType
from onewafer.sdk_layout.artifacts import layout_path, write_artifacts, write_text
from onewafer.sdk_layout.code_region import CodeRegion
from onewafer.sdk_layout.color import Color, to_color
from onewafer.sdk_layout.csl_text import write_layout
from onewafer.sdk_layout.fabric_plan import make_plan
from onewafer.sdk_layout.findings import for_script
from onewafer.sdk_layout.host_ends import mark_host_ends
from onewafer.sdk_layout.link import Link, make_connection, make_stream
from onewafer.sdk_layout.loc_stream import LocStream
from onewafer.sdk_layout.symbols import set_symbols
from onewafer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.host import IntVector
    from onewafer.image import WaferImage
    from onewafer.sdk_layout.artifacts import SdkCompileArtifacts
    from onewafer.sdk_layout.code_region import PortHandle

_MESSAGE_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class FP16TYPE(IntEnum):
    """The 16-bit float that the code of a layout computes with."""

    F16 = 0
    BF16 = 1
    CB16 = 2


class SdkLayout:
    """Code regions, their connections and their streams, which `compile` turns into a program."""

    @also_named(target="platform", fabric_file="platform")
    def __init__(
        self, platform: SdkExecutionPlatform | SdkTarget, *, msg_level: str = "WARNING"
    ) -> None:
        if msg_level not in _MESSAGE_LEVELS:
            raise HostError(f"msg_level={msg_level!r}: choose from {', '.join(_MESSAGE_LEVELS)}")
        self._architecture = load_architecture(_target_of(platform).arch)
        self._shows_warnings = msg_level != "ERROR"
        self._regions: list[CodeRegion] = []
        self._links: list[Link] = []
        self._loc_streams: list[LocStream] = []

    # --- building -------------------------------------------------------------------------------

    def create_code_region(self, source: str, name: str, width: int, height: int) -> CodeRegion:
        """Return a region of `width` × `height` PEs that run a CSL file.

        Raises:
            HostError: the name is taken, or the region empty.
        """
        where = f"create_code_region({source!r}, {name!r}, {width}, {height})"
        if not (isinstance(width, Integral) and isinstance(height, Integral)):
            raise HostError(f"{where}: width and height are whole numbers, as in size // 2")
        if width < 1 or height < 1:
            raise HostError(f"{where}: a region has at least one PE")
        if not name.isidentifier():
            raise HostError(f"{where}: the name of a region is an identifier, such as 'gemv'")
        if any(region.name == name for region in self._regions):
            raise HostError(f"{where}: there is a region of this name: choose another one")
        region = CodeRegion(str(source), name, int(width), int(height))
        self._regions.append(region)
        return region

    def connect(self, tx: PortHandle, rx: PortHandle) -> None:
        """Connect the output port `tx` with the input port `rx`, PE by PE; `compile` finds routes.

        Raises:
            HostError: wrong directions, different sizes, or a port that is connected already.
        """
        self._add(make_connection(tx, rx))

    def create_input_stream(
        self, port: PortHandle, io_loc: IntVector | None = None, io_buffer_size: int = 1024
    ) -> str:
        """Let the host send to a port of one PE; return the name for `SdkRuntime.send`.

        `io_loc` is the PE, free of code, where the host's wavelets enter the fabric. The host
        has as much room as it needs: `io_buffer_size` changes nothing.

        Raises:
            HostError: an output port, several PEs, or a port that is connected already.
        """
        return self._add(make_stream(port, _io_pe(io_loc, io_buffer_size), is_input=True))

    def create_output_stream(
        self, port: PortHandle, io_loc: IntVector | None = None, io_buffer_size: int = 1024
    ) -> str:
        """Let the host receive from a port of one PE; return the name for `SdkRuntime.receive`.

        Raises:
            HostError: as `create_input_stream`.
        """
        return self._add(make_stream(port, _io_pe(io_loc, io_buffer_size), is_input=False))

    def create_input_stream_from_loc(self, loc: IntVector, color: Color, prefix: str = "") -> str:
        """Let the host send to a color of a PE that a region has painted; return the name.

        The wavelets that the color takes from outside the region come from the host. `loc` is a PE
        in fabric coordinates.

        Raises:
            HostError: there is a stream of this name; pass a `prefix`.
        """
        return self._add_loc_stream(loc, color, prefix, is_input=True)

    def create_output_stream_from_loc(self, loc: IntVector, color: Color, prefix: str = "") -> str:
        """Let the host receive from a color of a PE that a region has painted; return the name.

        The wavelets that the color sends outside of the region go to the host.

        Raises:
            HostError: as `create_input_stream_from_loc`.
        """
        return self._add_loc_stream(loc, color, prefix, is_input=False)

    def _add_loc_stream(self, loc: IntVector, color: Color, prefix: str, *, is_input: bool) -> str:
        color = to_color(color, f"create_{'input' if is_input else 'output'}_stream_from_loc")
        stream = LocStream(prefix + color.get_global_name(), (loc.x, loc.y), color, is_input)
        self._refuse_second_name(stream.name)
        self._loc_streams.append(stream)
        return stream.name

    def hstack(self, children: Sequence[CodeRegion], origin: IntVector | None = None) -> int:
        """Place regions side by side, from the first one's place or `origin`; return the width."""
        x, y = _origin(children, origin, "hstack")
        first = x
        for region in children:
            region.place(x, y)
            x += region.extent.width
        return x - first

    def vstack(self, children: Sequence[CodeRegion], origin: IntVector | None = None) -> int:
        """Place regions below one another, as `hstack`; return the height."""
        x, y = _origin(children, origin, "vstack")
        first = y
        for region in children:
            region.place(x, y)
            y += region.extent.height
        return y - first

    def _add(self, link: Link) -> str:
        for port in link.ports:
            if port.region not in self._regions:
                raise HostError(f"{link}: the {port} belongs to another layout")
            other = next((other for other in self._links if port in other.ports), None)
            if other is not None:
                raise HostError(
                    f"{link}: the {port} belongs to {other} already; a port has one partner: "
                    "create another port, with a color of its own"
                )
        self._refuse_second_name(link.name)
        self._links.append(link)
        return link.name

    def _refuse_second_name(self, name: str) -> None:
        names = {link.name for link in self._links} | {s.name for s in self._loc_streams}
        if name and name in names:
            raise HostError(f"there is a stream '{name}' already: pass another `prefix`")

    # --- compiling ------------------------------------------------------------------------------

    def compile(
        self,
        out_prefix: str,
        libs: Sequence[str] = (),
        cslc_prefix: str = "",
        save_port_map: bool = False,  # noqa: FBT001, FBT002 - the SDK's signature
        f16_type: FP16TYPE = FP16TYPE.F16,
    ) -> SdkCompileArtifacts:
        """Route, choose colors, compile; write the folder `out_prefix` and return it.

        `libs` are folders to search for modules. `cslc_prefix` and `save_port_map` change nothing:
        there is one compiler, and the map of ports is always written.

        Raises:
            HostError: the layout is wrong; the message says where and what would help.
            CompileError: the CSL is wrong.
        """
        del cslc_prefix, save_port_map
        half = _half_of(f16_type)
        path = layout_path(out_prefix)
        for region in self._regions:
            region.check_source()
        plan = make_plan(self._regions, self._links, self._architecture, self._loc_streams)
        # Compiler findings show lines of the layout, so its file is written first.
        integers = {r.source: integer_params(DiskFiles(), r.source) for r in self._regions}
        write_text(path, write_layout(plan, path, integers))
        image = self._compile(path, tuple(libs), half)
        image = mark_host_ends(set_symbols(image, plan.regions), plan)
        return write_artifacts(image, plan, out_prefix)

    def _compile(self, path: str, libs: tuple[str, ...], half: ScalarType) -> WaferImage:
        environment = tuple(map(str, Settings.from_environment().csl_import_path))
        options = CompileOptions(
            entry=path,
            architecture=self._architecture,
            offset_x=0,
            offset_y=0,
            uses_memcpy=False,
            import_paths=(*libs, *environment),
            half=half,
        )
        sink = DiagnosticSink()
        image = run_stages(options, DiskFiles(), sink).image
        findings = for_script(sink.diagnostics)
        if image is None:
            raise CompileError(render(findings, num_left_out=sink.num_left_out), findings)
        if self._shows_warnings and findings:
            sys.stderr.write(render(findings, color=sys.stderr.isatty()) + "\n")
        return image


def _half_of(f16_type: FP16TYPE) -> ScalarType:
    try:
        return ScalarType[FP16TYPE(f16_type).name]
    except ValueError:
        raise HostError(
            f"f16_type={f16_type!r}: pass FP16TYPE.F16, FP16TYPE.BF16 or FP16TYPE.CB16"
        ) from None


def _target_of(platform: object) -> SdkTarget:
    match platform:
        case SdkExecutionPlatform(target=target) | (SdkTarget() as target):
            return target
        case str() | os.PathLike():
            raise HostError(
                f"SdkLayout({os.fspath(platform)!r}): onewafer reads no files that describe a "
                "fabric: pass what get_platform returned, or SdkTarget.WSE3, for a whole wafer"
            )
        case _:
            raise HostError(
                f"SdkLayout({platform!r}): pass what get_platform returned, or SdkTarget.WSE3"
            )


def _io_pe(io_loc: IntVector | None, buffer_size: int) -> tuple[int, int] | None:
    if buffer_size < 1:
        raise HostError(f"io_buffer_size={buffer_size}: give a number of wavelets, or leave it out")
    return None if io_loc is None else (io_loc.x, io_loc.y)


def _origin(children: Sequence[CodeRegion], origin: IntVector | None, call: str) -> tuple[int, int]:
    if not children:
        raise HostError(f"{call}: the list of regions is empty")
    return (origin.x, origin.y) if origin is not None else children[0].place_of or (0, 0)
