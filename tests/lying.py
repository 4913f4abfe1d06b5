"""A supervisor that is none: a socket and one real shim, to which it may say anything."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq
from places import ROOT
from supervised import child_process

from runner_shim import wire

__all__ = ["FakeSupervisor", "lying_supervisor"]

BOOT = ROOT / "runner_shim" / "boot.py"


class FakeSupervisor:
    """A ROUTER and one real shim."""

    def __init__(self, socket: zmq.Socket[bytes], shim: subprocess.Popen[bytes]) -> None:
        self.socket = socket
        self.shim = shim

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        """The next message, with its payload."""
        identity, *frames = self.socket.recv_multipart()
        assert identity == b"1-x"
        message, payload = wire.decode(frames)
        return message, payload

    def send(self, frames: list[bytes]) -> None:
        """Say these frames."""
        self.socket.send_multipart([b"1-x", *frames])


@contextlib.contextmanager
def lying_supervisor(runtime: Path) -> Iterator[FakeSupervisor]:
    """The shim is one as ``runner_shim.boot`` starts it, and has said hello."""
    address = f"ipc://{runtime}/fake.sock"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.RCVTIMEO, 60_000)
        socket.bind(address)
        with child_process(
            [sys.executable, "-u", str(BOOT), "fuzzed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as shim:
            start = {"v": 1, "address": address, "instance": "1-x", "overlay": None}
            assert shim.stdin is not None
            shim.stdin.write(json.dumps(start).encode() + b"\n")
            shim.stdin.flush()
            made = FakeSupervisor(socket, shim)
            assert made.receive()[0]["type"] == "hello"
            yield made
    finally:
        context.destroy(linger=0)
