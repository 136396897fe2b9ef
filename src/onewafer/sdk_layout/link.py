"""Links, which carry data between two ports, or between a port and the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import HostError

if TYPE_CHECKING:
    from onewafer.sdk_layout.code_region import PortHandle


@dataclass(frozen=True, slots=True)
class Link:
    """A connection of two ports, or a stream: then one of the ends is the host."""

    name: str
    """Name of a stream; empty for a connection."""
    tx: PortHandle | None
    """The sender; None: the host."""
    rx: PortHandle | None
    """The receiver; None: the host."""
    io_pe: tuple[int, int] | None = None
    """STREAM: the PE at which the host is connected; None: the router chooses."""

    @property
    def ports(self) -> tuple[PortHandle, ...]:
        """The ends that are ports."""
        return tuple(port for port in (self.tx, self.rx) if port is not None)

    def __str__(self) -> str:
        """Return its name in messages."""
        if self.tx is None or self.rx is None:
            return f"stream '{self.name}'"
        ends = (f"{port.region.name}.{port.name}" for port in (self.tx, self.rx))
        return f"connection {' → '.join(ends)}"


def make_connection(tx: PortHandle, rx: PortHandle) -> Link:
    """Return the connection of an output port with an input port.

    Raises:
        HostError: they cannot be connected.
    """
    if tx.is_input or not rx.is_input:
        raise HostError(
            f"connect(tx, rx): tx is the {tx} and rx the {rx}; data goes from an output port to an "
            "input port" + ("; swap the arguments" if tx.is_input and not rx.is_input else "")
        )
    if tx.num_lanes != rx.num_lanes:
        raise HostError(
            f"connect: the {tx} is {tx.num_lanes} PEs wide, the {rx} is {rx.num_lanes}; PEs are "
            "connected one to one: give both sides the same number of PEs"
        )
    if tx.size != rx.size:
        raise HostError(
            f"connect: {tx.size} wavelets leave the {tx}, the {rx} takes {rx.size}: give both "
            "ports the same size"
        )
    return Link("", tx, rx)


def make_stream(port: PortHandle, io_pe: tuple[int, int] | None, *, is_input: bool) -> Link:
    """Return the stream between the host and a port.

    Raises:
        HostError: the port has the wrong direction, or more than one PE.
    """
    call = f"create_{'input' if is_input else 'output'}_stream"
    if port.is_input is not is_input:
        other = f"create_{'output' if is_input else 'input'}_stream"
        raise HostError(f"{call} of the {port}: use {other}")
    if port.num_lanes != 1:
        raise HostError(
            f"{call} of the {port}: it is {port.num_lanes} PEs wide, and a stream meets one PE; "
            "put a region between that "
            + ("hands the data out to them" if is_input else "gathers their data")
            + ", PE after PE, with switches"
        )
    name = f"{port.region.name}_{port.name}"
    return Link(name, None, port, io_pe) if is_input else Link(name, port, None, io_pe)
