"""Nothing that arrives is believed: whole conversations made up by hypothesis, on both sides of the
wire and at the control socket (promise 8).

On the supervisor's side a fake shim, started like a real one, says what the schedule tells it to;
other processes of the same user connect to the socket and lie. On the shim's side a fake supervisor
does. What must hold afterwards: nobody crashed, grew or believed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lying import FakeSupervisor, lying_supervisor
from supervised import GOOD, job, make_workspace, poll, supervising

from runner_shim import wire
from supervisor.client.requests import VERSION
from supervisor.locations.failures import from_shim
from supervisor.protocol.methods import METHODS
from supervisor.snapshots.snapshot import Snapshot, SnapshotError, accept

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

searching = settings(
    max_examples=int(os.environ.get("WS_FUZZ_EXAMPLES", "300")),
    derandomize="WS_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
conversing = settings(searching, max_examples=max(30, searching.max_examples // 10))

WORDS = [
    *("type", "v", "request", "instance", "pid", "python", "implementation", "executable"),
    *("prefix", "report", "failure", "definition", "source", "target", "kind", "name"),
    *("repository", "id", "method", "params", "location", "locations", "timeout", "since", "lines"),
    *("after", "generation", "from", "to", "at_once", "format", "definitions", "warnings", "files"),
]
VALUES = [
    *("hello", "loaded", "failed", "described", "pong", "load", "describe", "ping", "stop"),
    *("job", "a", "b", "status", "wait", "logs", "diff", "history", "snapshot", "show", "list"),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.sampled_from(VALUES),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.just("x" * 100_000),
)
DATA = st.recursive(
    SCALARS,
    lambda child: st.one_of(
        st.lists(child, max_size=4), st.dictionaries(st.sampled_from(WORDS), child, max_size=5)
    ),
    max_leaves=20,
)


def deep(levels: int) -> bytes:
    """A list in a list in a list …"""
    return b"\x91" * levels + b"\xc0"


HEADERS = st.one_of(
    st.dictionaries(st.sampled_from(WORDS), DATA, max_size=6).map(wire.pack),
    st.builds(
        lambda kind, version, number, more: wire.pack(
            {**more, "type": kind, "v": version, "request": number}
        ),
        st.sampled_from(VALUES),
        st.one_of(st.just(1), DATA),
        st.one_of(st.integers(0, 4), DATA),
        st.dictionaries(st.sampled_from(WORDS), DATA, max_size=4),
    ),
    st.sampled_from([deep(70), deep(2000), deep(100_000), b"", b"\xc1", b"\xdd\xff\xff\xff\xff"]),
    st.sampled_from([b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc7\x01\x05x"]),
    st.binary(max_size=60),
)
CUT = st.builds(lambda data, at: data[: at % (len(data) + 1)], HEADERS, st.integers(0, 10_000))
MESSAGES = st.one_of(
    st.lists(st.one_of(HEADERS, CUT), min_size=1, max_size=6),
    st.builds(
        lambda header, parts: [header, *parts],
        HEADERS,
        st.lists(st.one_of(DATA.map(wire.pack), st.binary(max_size=50)), max_size=3),
    ),
)

# Values.


@searching
@given(DATA.map(wire.pack), DATA.map(wire.pack), DATA)
def test_a_snapshot_is_accepted_or_refused(definitions, sources, report):
    with contextlib.suppress(SnapshotError):
        snapshot = accept(
            "a", 1, report=report, definitions=definitions, sources=sources, loaded_at=0.0
        )
        assert isinstance(snapshot, Snapshot)
        json.dumps([dict(snapshot.report), snapshot.index(), snapshot.source_map()])


NAMES = st.one_of(st.sampled_from(["job", "asset", "n"]), DATA)


@searching
@given(
    st.lists(st.fixed_dictionaries({"kind": NAMES, "name": NAMES}, optional={"repository": NAMES})),
    st.dictionaries(st.text(max_size=5), st.lists(DATA, max_size=3), max_size=3),
    st.dictionaries(
        st.sampled_from(["files", "installed", "watch", "warnings", "frameworks", "load_seconds"]),
        DATA,
    ),
)
def test_what_looks_like_a_snapshot_is_accepted_or_refused(definitions, sources, report):
    with contextlib.suppress(SnapshotError):
        snapshot = accept(
            "a",
            1,
            report=report,
            definitions=wire.pack({"format": 1, "definitions": definitions}),
            sources=wire.pack(sources),
            loaded_at=0.0,
        )
        assert len(snapshot.index()) == len(definitions) == sum(snapshot.counts.values())


@searching
@given(
    st.one_of(
        DATA,
        st.dictionaries(
            st.sampled_from(
                [
                    "kind",
                    "message",
                    "hint",
                    "file",
                    "line",
                    "traceback",
                    "files",
                    "missing",
                    "frames",
                ]
            ),
            DATA,
        ),
    )
)
def test_a_failure_is_taken_as_far_as_it_goes(failure):
    taken = from_shim(failure)
    assert taken.kind and isinstance(taken.message, str)
    assert len(taken.message) < 200_000


@searching
@given(MESSAGES)
def test_decoding_is_bounded(frames):
    begun = time.monotonic()
    with contextlib.suppress(wire.WireError):
        message, payload = wire.decode(frames)
        assert isinstance(message["type"], str)
        assert all(isinstance(one, bytes) for one in payload)
    assert time.monotonic() - begun < 30


# A shim that lies to the supervisor.

LIAR = """\
import base64, gc, json, os, sys, time

Channel = sys.modules["runner_shim.process.channel"].Channel
(channel,) = [one for one in gc.get_objects() if isinstance(one, Channel)]
script = json.load(open({script!r}))
# Before, instead of or after the answer to the load.
for frames in script["before"]:
    channel.send([base64.b64decode(one) for one in frames])
if script["then"] == "exit":
    os._exit(3)
if script["then"] == "twice":
    send = channel.send
    def replay(frames):
        send(frames)
        send(frames)
    channel.send = replay
from runner_shim import job
@job
def honest():
    pass
"""


def encoded(messages: list[list[bytes]]) -> list[list[str]]:
    import base64

    return [[base64.b64encode(frame).decode() for frame in frames] for frames in messages]


async def test_a_shim_that_lies_costs_itself_alone(tmp_path, runtime):
    """One supervisor hears a hundred liars; its other location never notices."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"before": [], "then": "go"}))
    workspace = make_workspace(
        tmp_path,
        {"good.py": GOOD, "liar.py": LIAR.format(script=str(script))},
        {"good": {}, "liar": {"restart": "never", "start_method": "spawn"}},
    )
    talks: list[tuple[list[list[bytes]], str]] = []

    @conversing
    @given(st.lists(MESSAGES, max_size=4), st.sampled_from(["go", "exit", "twice"]))
    def collect(before, then):
        talks.append((before, then))

    collect()
    real = wire.encode({"type": "loaded", "request": 1, "report": {}})
    document = wire.pack({"format": 1, "definitions": [{"kind": "job", "name": "forged"}]})
    talks += [
        ([[*wire.encode({"type": "pong", "request": 1}), document]], "go"),
        ([[real[0], document]], "go"),
        ([[real[0], document, wire.pack({}), b"x"]], "go"),
        ([wire.encode({"type": "loaded", "request": 2}, document, wire.pack({}))], "go"),
        ([wire.encode({"type": "hello"})] * 3, "go"),
    ]
    async with supervising(workspace, runtime) as running:
        await running.settled()
        pid, generation = running.pid("good"), running["good"].generation
        for before, then in talks:
            script.write_text(json.dumps({"before": encoded(before), "then": then}))
            running["liar"].start("another lie")
            running["liar"].reload("another lie")
            states = await running.settled()
            assert states["good"] == "ready"
            assert states["liar"] in ("ready", "failed", "stopped", "crashed"), (before, then)
            if running["liar"].failure is not None:
                assert running["liar"].failure.kind != "internal", (before, then)
                assert "\x1b" not in running["liar"].reason
            await running.status("liar")
        assert (running.pid("good"), running["good"].generation) == (pid, generation)
        assert running.definitions("good") == ["job:nightly"]
        script.write_text(json.dumps({"before": [], "then": "go"}))
        running["liar"].reload("the truth")
        running["liar"].start("the truth")
        await running.ready("liar")
        assert running.definitions("liar") == ["job:honest"]
        receivers = running.daemon.services.transport.receivers
        await poll(lambda: len(receivers) == 2, "nothing is kept of the liars")


@contextlib.asynccontextmanager
async def zmq_context() -> AsyncIterator[zmq.asyncio.Context]:
    made = zmq.asyncio.Context()
    try:
        yield made
    finally:
        made.destroy(linger=0)


async def test_other_processes_at_the_socket_are_not_heard(tmp_path, runtime):
    """A process of the same user that knows the address, but no instance; and one that guesses."""
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    talks: list[list[bytes]] = []

    @searching
    @given(MESSAGES)
    def collect(frames):
        talks.append(frames)

    collect()
    async with zmq_context() as context, supervising(workspace, runtime) as running:
        await running.ready("a")
        address = running.daemon.services.transport.address
        before = running["a"].serving.instance
        pid = running.pid("a")
        identities = [b"stranger", b"1-0000", b"\0", b"x" * 255, before[:-1].encode()]
        for identity in identities:
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.IDENTITY, identity) if identity != b"\0" else None
            socket.setsockopt(zmq.LINGER, 500)
            socket.connect(address)
            for frames in talks:
                await socket.send_multipart(frames)
            socket.close()
        # Bytes that are not even ZeroMQ's.
        for noise in (b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 64, os.urandom(4096), b""):
            _, writer = await asyncio.open_unix_connection(address.removeprefix("ipc://"))
            writer.write(noise)
            with contextlib.suppress(ConnectionError, BrokenPipeError):
                await writer.drain()
            writer.close()
        # One that takes the identity of the real one: ROUTER lets the first keep it.
        thief = context.socket(zmq.DEALER)
        thief.setsockopt(zmq.IDENTITY, before.encode())
        thief.setsockopt(zmq.LINGER, 0)
        thief.connect(address)
        for frames in talks[:50]:
            await thief.send_multipart(frames)
        answer = await running["a"].serving.ping()
        assert (await asyncio.wait_for(answer, 60)).type == "pong"
        thief.close()
        assert running["a"].state == "ready"
        assert running.pid("a") == pid
        assert running.definitions("a") == ["job:nightly"]
        # Reload: another generation, whose messages are the only ones that count.
        (tmp_path / "a.py").write_text(job("second"))
        running["a"].reload("once more")
        await running.until(lambda: running.definitions("a") == ["job:second"], "it is loaded")


# The control socket.


def asked(method: str, given: dict[str, Any]) -> dict[str, Any]:
    """Mostly parameters that the method has; it is held back for a moment at most."""
    declared = {one.name for one in METHODS[method].parameters}
    params = {name: value for name, value in given.items() if name in declared} or given
    return {**params, "timeout": 0.01} if METHODS[method].waits else params


async def test_whatever_is_asked_is_answered(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD})
    talks: list[list[bytes]] = []
    methods = ["status", "list", "show", "snapshot", "diff", "history", "environments", "logs"]
    params = st.dictionaries(
        st.sampled_from(WORDS), st.one_of(DATA, st.sampled_from(["a", "b", 1, 0])), max_size=5
    )

    @searching
    @given(
        st.one_of(
            MESSAGES,
            st.builds(
                lambda method, given: [
                    wire.pack(
                        {
                            "v": VERSION,
                            "id": 1,
                            "method": method,
                            "params": asked(method, given),
                        }
                    )
                ],
                st.sampled_from([*methods, "wait"]),
                params,
            ),
        )
    )
    def collect(frames):
        talks.append(frames)

    collect()
    # What is larger than a request may be loses its connection instead: see the next test.
    harmless = [
        frames
        for frames in talks
        if not any(b"shutdown" in one or b"stop" in one for one in frames)
        and max(map(len, frames)) < 1024 * 1024
    ]
    async with zmq_context() as context, supervising(workspace, runtime) as running:
        await running.ready()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(running.daemon.runtime_directory.control_address)
        for frames in harmless:
            await socket.send_multipart(frames)
            try:
                header, *_ = await asyncio.wait_for(socket.recv_multipart(), 40)
            except TimeoutError:
                raise AssertionError(f"no answer to {frames}") from None
            reply = wire.unpack(header)
            assert ("result" in reply) != ("error" in reply)
            if "error" in reply:
                assert reply["error"]["code"] != "internal", (frames, reply)
                assert "Traceback" not in reply["error"]["message"]
        await asyncio.sleep(0)
        assert running.states()["a"][0] == running.states()["b"][0] == "ready"
        socket.close()


async def test_a_request_that_is_too_large_costs_the_connection_it_came_on(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    async with zmq_context() as context, supervising(workspace, runtime) as running:
        await running.ready()
        address = running.daemon.runtime_directory.control_address
        greedy, modest = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        for socket in (greedy, modest):
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(address)
        for _ in range(5):
            await greedy.send(b"\xdb" + bytes(2 * 1024 * 1024))
        await modest.send(wire.pack({"v": VERSION, "id": 1, "method": "status"}))
        header, *_ = await asyncio.wait_for(modest.recv_multipart(), 60)
        assert "result" in wire.unpack(header)
        greedy.close()
        modest.close()


# A supervisor that lies to the shim.


@pytest.fixture
def fake(runtime: Path) -> Iterator[FakeSupervisor]:
    with lying_supervisor(runtime) as made:
        yield made


def stops(frames: list[bytes]) -> bool:
    """True for the one message that rightly ends a shim."""
    with contextlib.suppress(wire.WireError):
        return wire.decode(frames)[0]["type"] == "stop"
    return False


def loads(frames: list[bytes]) -> bool:
    """True for a message that has the shim import something: that is no lie."""
    with contextlib.suppress(wire.WireError):
        return wire.decode(frames)[0]["type"] == "load"
    return False


def test_a_shim_survives_what_is_no_request(fake):
    talks: list[list[bytes]] = []

    @searching
    @given(MESSAGES)
    def collect(frames):
        if not stops(frames) and not loads(frames):
            talks.append(frames)

    collect()
    for number, frames in enumerate(talks):
        fake.send(frames)
        fake.send(wire.encode({"type": "ping", "request": f"mark {number}"}))
        while True:
            message, _ = fake.receive()
            if message.get("request") == f"mark {number}":
                break
            assert message["type"] in ("failed", "pong"), (frames, message)
        assert fake.shim.poll() is None


@pytest.mark.parametrize(
    "target",
    [
        None,
        [],
        "x",
        {},
        {"kind": 1},
        {"kind": "python_file", "name": 7, "working_directory": None},
        {"kind": "python_file", "name": "\0", "working_directory": "\0"},
        {"kind": "python_module", "name": "..", "working_directory": "/"},
        {"kind": "python_module", "name": "", "attribute": [], "working_directory": "/"},
        {"kind": {"a": []}, "name": [1], "working_directory": 3, "attribute": {}},
    ],
)
def test_a_shim_answers_a_load_of_nothing(fake, target):
    fake.send(wire.encode({"type": "load", "request": 1, "target": target}))
    message, _ = fake.receive()
    assert message["type"] == "failed"
    fake.send(wire.encode({"type": "ping", "request": 2}))
    assert fake.receive()[0]["type"] == "pong"
