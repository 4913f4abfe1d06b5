"""Takes the place of the shim's boot and breaks the protocol in the way that HOSTILE names.

A location without HOSTILE in its environment gets the real shim.
"""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HOW = os.environ.get("HOSTILE")

if HOW is None:
    boot = str(ROOT / "runner_shim" / "boot.py")
    os.execv(sys.executable, [sys.executable, "-u", boot, *sys.argv[1:]])

start = json.loads(sys.stdin.readline())
if start["overlay"]:
    sys.path.append(start["overlay"])

import msgpack  # noqa: E402
import zmq  # noqa: E402

socket = zmq.Context().socket(zmq.DEALER)
identity = start["instance"] if HOW != "stranger" else "somebody else"
socket.setsockopt(zmq.IDENTITY, identity.encode())
socket.connect(start["address"])

HELLO = {"v": 1, "type": "hello", "instance": start["instance"], "pid": os.getpid()}


def send(header, *payload):
    socket.send_multipart([msgpack.packb(header, use_bin_type=True), *payload])


def answer(header, *payload):
    """Say hello and answer the load request."""
    send(HELLO)
    request = msgpack.unpackb(socket.recv_multipart()[0], raw=False)["request"]
    send({"v": 1, "request": request, **header}, *payload)


EMPTY = msgpack.packb({"format": 1, "repositories": [], "definitions": []})
NONE = msgpack.packb({})
JOBS = [{"kind": "job", "name": f"job{number}"} for number in range(20000)]
MANY = msgpack.packb({"format": 1, "repositories": [], "definitions": JOBS}, use_bin_type=True)


def twice(header, *payload):
    """Answer the load request, and once more while the first answer is looked at."""
    answer(header, *payload)
    send({"v": 1, "request": 1, **header}, *payload)


FIRST_MESSAGES = {
    "version": lambda: send({**HELLO, "v": 99}),
    "garbage": lambda: socket.send(b"\xc1\xc1\xc1"),
    "empty": lambda: socket.send(b""),
    "frames": lambda: socket.send_multipart([msgpack.packb(HELLO)] + [b"x"] * 4),
    "oversized": lambda: send({**HELLO, "more": "x" * (17 * 1024 * 1024)}),
    "deep": lambda: socket.send(
        b"\x83\xa1v\x01\xa4type\xa5hello\xa4more" + b"\x91" * 500 + b"\xc0"
    ),
    "deep_bomb": lambda: socket.send(b"\x91" * (8 * 1024 * 1024)),
    "list": lambda: send([1, 2, 3]),
    "no_type": lambda: send({"v": 1}),
    "no_version": lambda: send({"type": "hello"}),
    "bytes": lambda: send({**HELLO, "python": b"3.11"}),
    "timestamp": lambda: send({**HELLO, "python": msgpack.Timestamp(1)}),
    "unasked": lambda: (send(HELLO), send({"v": 1, "type": "loaded", "request": 12345})),
    "answers_twice": lambda: twice({"type": "loaded", "report": {}}, MANY, NONE),
    "hello_twice": lambda: (send(HELLO), send(HELLO)),
    "no_payload": lambda: answer({"type": "loaded", "report": {}}),
    "bad_snapshot": lambda: answer({"type": "loaded", "report": {}}, msgpack.packb([]), NONE),
    "bad_format": lambda: answer(
        {"type": "loaded", "report": {}}, msgpack.packb({"format": 7, "definitions": []}), NONE
    ),
    "bad_report": lambda: answer({"type": "loaded", "report": []}, EMPTY, NONE),
    "bad_failure": lambda: answer({"type": "failed", "failure": "all of it"}),
    "silent": lambda: None,
    "nothing": lambda: send(HELLO),
    "stranger": lambda: send(HELLO),
}

FIRST_MESSAGES[HOW]()
while True:
    time.sleep(60)
