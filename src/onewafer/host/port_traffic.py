"""What the host sends to streams of a program, and receives from them.

Sending only hands words over, and receiving only says where they are to go: the fabric runs when
somebody waits. So streams that need each other may be filled in any order, as on a real system,
where they flow at the same time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import DeadlockError, HostError
from onewafer.host.exports import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.host.device import Device
    from onewafer.host.stream_ports import StreamPort
    from onewafer.simulator import Machine

_WORD_BYTES = 4


@dataclass(slots=True, eq=False)
class Receipt:
    """Words that the host wants from a stream."""

    port: StreamPort
    target: NDArray[Any]
    num_words: int
    num_received: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all of them are there."""
        return self.num_received == self.num_words

    def take(self, words: Sequence[int]) -> None:
        """Store the next words."""
        first, self.num_received = self.num_received, self.num_received + len(words)
        values = np.array(words, np.uint32).view(self.target.dtype)
        self.target.flat[first : self.num_received] = values


class PortTraffic:
    """The streams of one loaded program."""

    def __init__(self, device: Device, ports: Sequence[StreamPort]) -> None:
        self._device = device
        self._ports = tuple(ports)
        self._waiting: dict[str, deque[Receipt]] = {port.name: deque() for port in ports}

    def number(self, name: str) -> int:
        """Return the number of a stream.

        Raises:
            HostError: there is none of this name.
        """
        names = tuple(port.name for port in self._ports)
        if name not in names:
            raise HostError(f"the program has no stream {name!r}; {suggest(name, names)}")
        return names.index(name)

    def find(self, name: str | int, *, is_input: bool) -> StreamPort:
        """Return the stream of a name or a number.

        Raises:
            HostError: there is none, or it goes the other way.
        """
        wanted = [port for port in self._ports if port.is_input is is_input]
        for number, port in enumerate(self._ports):
            if name in (port.name, number):
                if port.is_input is is_input:
                    return port
                way = "receives from stream" if is_input else "sends to stream"
                raise HostError(f"the host {way} {name!r}: use {'receive' if is_input else 'send'}")
        names = tuple(port.name for port in wanted)
        raise HostError(f"the program has no stream {name!r}; {suggest(str(name), names)}")

    def send(self, port: StreamPort, source: NDArray[Any], num_words: int | None) -> None:
        """Hand the words of an array to a stream.

        Raises:
            HostError: elements that are no words, or too few of them.
        """
        machine = self._running("send")
        _check_words("send", port, source)
        num_words = source.size if num_words is None else num_words
        if not 0 <= num_words <= source.size:
            raise HostError(
                f"send to {port.name!r}: {num_words} wavelets of an array of {source.size}"
            )
        words = np.ascontiguousarray(source).reshape(-1).view(np.uint32)[:num_words]
        machine.inject(port.x, port.y, port.color, words.tolist())
        self._device.bytes_in += _WORD_BYTES * num_words

    def receive(self, port: StreamPort, target: NDArray[Any], num_words: int) -> Receipt:
        """Say where the next words of a stream go; they come when somebody waits.

        Raises:
            HostError: elements that are no words, or too few of them.
        """
        self._running("receive")
        _check_words("receive", port, target)
        if not 0 <= num_words <= target.size:
            raise HostError(
                f"receive from {port.name!r}: {num_words} wavelets do not fit an array of "
                f"{target.size}"
            )
        receipt = Receipt(port, target, num_words)
        if num_words:
            self._waiting[port.name].append(receipt)
        return receipt

    def advance(self) -> None:
        """Run the fabric, and collect what is wanted, until nothing moves any more."""
        self._device.settle()
        while self._collect():
            self._device.settle()

    def finish(self, receipt: Receipt) -> None:
        """Run until a receipt is complete.

        Raises:
            DeadlockError: nothing moves any more, and it is not.
        """
        if not receipt.is_complete:
            self.advance()
        if not receipt.is_complete:
            report = self._device.machine.find_deadlock()
            raise DeadlockError(
                f"stream {receipt.port.name!r} has given {receipt.num_received} of "
                f"{receipt.num_words} wavelets that the host wants, and nothing moves any more"
                + (f"\n{report}" if report else "")
            )

    def finish_all(self) -> None:
        """Run until all receipts are complete, and the program waits for nothing.

        Raises:
            DeadlockError: it waits, and the host sends no more.
        """
        if not self._ports:
            return
        self.advance()
        for receipts in self._waiting.values():
            for receipt in receipts:
                self.finish(receipt)
        report = self._device.machine.find_deadlock()
        if report is not None:
            raise DeadlockError(report)

    def _collect(self) -> int:
        """Take what is there for the receipts; return the number of words."""
        num_words = 0
        machine = self._device.machine
        for receipts in self._waiting.values():
            while receipts:
                receipt = receipts[0]
                port, missing = receipt.port, receipt.num_words - receipt.num_received
                words = machine.collect(port.x, port.y, port.color, missing)
                receipt.take(words)
                num_words += len(words)
                if not receipt.is_complete:
                    break
                receipts.popleft()
        self._device.bytes_out += _WORD_BYTES * num_words
        return num_words

    def _running(self, action: str) -> Machine:
        if not self._device.is_running:
            raise HostError(f"cannot {action}: call load() and run() before, and stop() after it")
        return self._device.machine


def _check_words(call: str, port: StreamPort, array: NDArray[Any]) -> None:
    """Refuse elements of another size: a wavelet is a word."""
    if array.dtype.itemsize != _WORD_BYTES or array.dtype.kind not in "iuf":
        raise HostError(
            f"{call} of stream {port.name!r}: an array of {array.dtype}; a wavelet is 32 bits: "
            + (
                "widen 16-bit values with input_array_to_u32(array, None, 1)"
                if call == "send"
                else "receive into np.uint32, np.int32 or np.float32"
            )
        )
    if call == "receive" and not array.flags.writeable:
        raise HostError(f"receive from {port.name!r}: the array cannot be written")
