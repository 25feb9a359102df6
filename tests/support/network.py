"""A network of a test's own, in which every address leads nowhere else, and every SYN is seen."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

_CLONE_NEWNET = 0x4000_0000
_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP = 6
_SYN, _ACK = 0x02, 0x10

Place = tuple[str, int]


class Watch:
    """Everything that was dialled: a raw socket that sees each packet of the network."""

    def __init__(self) -> None:
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024**2)
        self._packets.setblocking(False)

    def dialled(self, *besides: int) -> set[Place]:
        """The address and port of each SYN since this was asked last, but for the ports `besides`."""
        return {place for place in self.syns() if place[1] not in besides}

    def syns(self) -> list[Place]:
        """The address and port of each SYN since this was asked last, in order."""
        found = list[Place]()
        while True:
            try:
                packet, (_, protocol, direction, *_) = self._packets.recvfrom(128)
            except BlockingIOError:
                return found
            # What goes out of a loopback interface comes in as well.
            place = _syn(packet, protocol) if direction == _PACKET_OUTGOING else None
            if place is not None:
                found.append(place)

    def close(self) -> None:
        self._packets.close()


def _syn(packet: bytes, protocol: int) -> Place | None:
    if protocol == _IPV4 and packet[9] == _TCP:
        address, segment = packet[16:20], packet[(packet[0] & 0x0F) * 4 :]
        family = socket.AF_INET
    elif protocol == _IPV6 and packet[6] == _TCP:
        address, segment = packet[24:40], packet[40:]
        family = socket.AF_INET6
    else:
        return None
    if segment[13] & (_SYN | _ACK) != _SYN:
        return None
    return socket.inet_ntop(family, address), int.from_bytes(segment[2:4], "big")


def in_a_network(work: Callable[[Watch], None]) -> None:
    """Do the work on a thread in a network namespace of its own, and in all threads it starts.

    Needs root; without it the test is skipped.
    """
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _move_to_a_new_namespace()
            watch = Watch()
            try:
                work(watch)
            finally:
                watch.close()
        except BaseException as error:  # noqa: BLE001 - raised again by the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure


def assign(address: str) -> None:
    """Give this network's host an address, as an interface has it; by routes alone it has them all."""
    _ip("addr", "add", address, "dev", "lo")


def _move_to_a_new_namespace() -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        pytest.skip(f"no network namespace can be made here ({os.strerror(code)})")
    _ip("link", "set", "lo", "up")
    # AnyIP: the whole of both internets is this host, so a packet to any address stays here.
    _ip("route", "add", "local", "0.0.0.0/0", "dev", "lo")
    _ip("-6", "route", "add", "local", "::/0", "dev", "lo")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
