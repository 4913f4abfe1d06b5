"""How long a snapshot of 50,000 definitions takes to a client, against a bare copy of its bytes.

Bare is another process that sends the very same frames over one ZeroMQ ipc socket when asked. Ours
goes over two: from the shim to the supervisor, which checks and keeps it, and on to the client.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

from benchmarks.results import Result
from benchmarks.setting import Alternating, Sample, Setting, UnavailableError, all_ready
from supervisor import Snapshot

__all__ = ["measure"]

DEFINITIONS = 50_000

_BIG = f'''\
"""A location with {DEFINITIONS} assets."""

from runner_shim import AssetDefinition, Definitions

defs = Definitions(
    assets=[
        AssetDefinition(
            name="table_%05d" % number,
            deps=["table_%05d" % (number - 1)] if number % 10 else [],
            group_name="group_%d" % (number // 100),
            description="Table number %d of the warehouse, rebuilt every night" % number,
            tags={{"team": "risk", "tier": str(number % 3)}},
            owners=["risk@example.com"],
        )
        for number in range({DEFINITIONS})
    ]
)
'''

_SERVER = """\
import sys, zmq
frames = [open(path, "rb").read() for path in sys.argv[2:]]
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind(sys.argv[1])
while True:
    identity, request = socket.recv_multipart()
    socket.send_multipart([identity, *frames])
"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """A served snapshot fetched; the way from shim to client; a whole reload."""
    workspace = setting.workspace("snapshot", setting.interpreter(), {"big": _BIG}, "spawn")
    with setting.supervised(workspace) as (client, _started):
        all_ready(client)
        snapshot = client.snapshot("big")
        found = len(snapshot.document()["definitions"])
        if found != DEFINITIONS:
            raise UnavailableError(f"the snapshot has {found} definitions")

        def fetch() -> tuple[float]:
            started = time.perf_counter()
            client.snapshot("big")
            return (time.perf_counter() - started,)

        def reload() -> tuple[float, float]:
            started = time.perf_counter()
            client.reload("big")
            all_ready(client)
            fetched = client.snapshot("big")
            taken = time.perf_counter() - started
            serving = client.status("big")["locations"][0]["serving"]
            assert serving is not None
            user = (serving["start_seconds"] or 0.0) + float(fetched.report["load_seconds"])
            return taken - user, taken

        with _copying(setting, snapshot) as copy:
            fetched, copied = Alternating(rounds * 2).run(fetch, copy)
            whole, beside = Alternating(rounds).run(reload, copy)
    size = f"{snapshot.size / 1e6:.1f} MB"
    against = f"bare ZeroMQ ipc copy of the same {size}"
    return [
        Result(
            "snapshot, served",
            f"client asks for a served snapshot of {DEFINITIONS:,} definitions → has its bytes",
            against,
            "s",
            _first(fetched),
            _first(copied),
        ),
        Result(
            "snapshot, new",
            "the way of a new one from the shim's collected definitions to the client: order it, "
            "pack, send, check, keep, fetch",
            against,
            "s",
            _first(whole),
            _first(beside),
        ),
        Result(
            "snapshot, reload",
            "reload ordered → client has the new bytes, with the interpreter's start and the "
            "team's import",
            against,
            "s",
            [sample[1] for sample in whole],
            _first(beside),
        ),
    ]


def _first(samples: list[Sample]) -> list[float]:
    return [sample[0] for sample in samples]


@contextlib.contextmanager
def _copying(setting: Setting, snapshot: Snapshot) -> Iterator[Callable[[], tuple[float]]]:
    """A function that fetches the snapshot's bytes from a bare process; the seconds it took."""
    paths: list[Path] = []
    for name, frame in (("definitions", snapshot.definitions), ("sources", snapshot.sources)):
        paths.append(setting.root / name)
        paths[-1].write_bytes(frame)
    address = f"ipc://{setting.root}/copy.sock"
    server = subprocess.Popen([sys.executable, "-c", _SERVER, address, *map(str, paths)])
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.connect(address)

        def copy() -> tuple[float]:
            started = time.perf_counter()
            socket.send(b"")
            frames = socket.recv_multipart()
            taken = time.perf_counter() - started
            if frames != [snapshot.definitions, snapshot.sources]:
                raise UnavailableError("the bare copy is not the same bytes")
            return (taken,)

        yield copy
    finally:
        server.kill()
        server.wait()
        socket.close(linger=0)
        context.term()
