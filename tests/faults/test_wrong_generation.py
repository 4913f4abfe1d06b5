"""Who speaks with the name of an instance that is gone is not believed, however well he speaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
import zmq.asyncio
from supervised import Supervised, alive, job, make_workspace, poll, save, supervising

from runner_shim import wire

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

REQUESTS = range(51)
GATED = """\
import os, time
while os.path.exists({gate!r}):
    time.sleep(0.01)
"""


def forgeries() -> list[list[bytes]]:
    """Well-formed messages of a shim, each as an answer to every request that there may be."""
    document = wire.pack({"format": 1, "definitions": [{"kind": "job", "name": "forged"}]})
    sources = wire.pack({"job:forged": ["a.py", 1]})
    failure = {"kind": "import", "message": "forged"}
    hello = {"pid": 1, "python": "3.11.0", "implementation": "cpython", "executable": "/forged"}
    found = [wire.encode({"type": "hello", **hello})]
    for request in REQUESTS:
        found.append(
            wire.encode({"type": "loaded", "request": request, "report": {}}, document, sources)
        )
        found.append(wire.encode({"type": "failed", "request": request, "failure": failure}))
        found.append(wire.encode({"type": "pong", "request": request}))
    return found


@contextmanager
def speaking_as(instance: str, address: str) -> Iterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, instance.encode())
    socket.setsockopt(zmq.LINGER, 1000)
    socket.connect(address)
    try:
        yield socket
    finally:
        socket.close()
        context.term()


class Heard:
    """What the supervisor's socket has received from an instance; it drops it all the same."""

    def __init__(self, running: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
        self.identities: list[bytes] = []
        transport = running.daemon.services.transport
        real = transport.receivers

        class Noting(dict):  # type: ignore[type-arg]
            def get(noted, identity, default=None):  # noqa: N805
                self.identities.append(identity)
                return real.get(identity, default)

            def __setitem__(noted, key, value):  # noqa: N805
                real[key] = value

            def pop(noted, key, default=None):  # noqa: N805
                return real.pop(key, default)

        monkeypatch.setattr(transport, "receivers", Noting())

    async def all_of(self, instance: str, count: int) -> None:
        """Wait until so many messages of ``instance`` have come."""
        await poll(lambda: self.identities.count(instance.encode()) >= count, "they have come")


@pytest.mark.parametrize("method", ["auto", "spawn"])
async def test_an_instance_that_was_replaced_is_not_heard(
    tmp_path: Path, runtime: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    text = GATED.format(gate=str(gate))
    workspace = make_workspace(
        tmp_path, {"a.py": text + job("first")}, defaults={"start_method": method}
    )
    lies = forgeries()
    async with supervising(workspace, runtime) as running:
        await running.ready()
        old, old_pid = running["a"].serving.instance, running.pid("a")
        await running.watched()
        save(tmp_path / "a.py", text + job("second"))
        await running.until(lambda: running.definitions("a") == ["job:second"], "it is loaded")
        await running.ready()
        await poll(lambda: not alive(old_pid), "the old one is gone")
        pid, generation = running.pid("a"), running["a"].generation
        heard = Heard(running, monkeypatch)
        with speaking_as(old, running.daemon.services.transport.address) as socket:
            for lie in lies:
                await socket.send_multipart(lie)
            await heard.all_of(old, len(lies))
            assert running.definitions("a") == ["job:second"]
            assert (running.pid("a"), running["a"].generation) == (pid, generation)
            assert running["a"].state == "ready" and running["a"].failure is None

            # And while a load goes on, which has the same requests open.
            gate.touch()
            await running.watched()
            save(tmp_path / "a.py", text + job("third"))
            await running.until(lambda: running["a"].state == "loading", "it loads")
            generation = running["a"].generation
            for lie in lies:
                await socket.send_multipart(lie)
            await heard.all_of(old, 2 * len(lies))
            assert running["a"].state == "loading" and running["a"].generation == generation
            assert running.definitions("a") == ["job:second"]
            assert running.pid("a") == pid
            gate.unlink()
            await running.until(lambda: running.definitions("a") == ["job:third"], "it is loaded")
            await running.ready()
            assert running["a"].generation == generation
            assert running["a"].restarts == 0
        assert "forged" not in await running.log("a")
