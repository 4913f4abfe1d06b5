"""What no request may hold is said at each edge: command line, client, control socket."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import zmq
from commands import COMMAND, DEADLINE, foreground, supervise, variables
from supervised import environ, job, make_workspace

from runner_shim import wire
from supervisor.client.client import AsyncClient, Client
from supervisor.client.requests import VERSION
from supervisor.errors import InvalidParameterError
from supervisor.protocol.parameters import LONGEST_TEXT, MOST, MOST_LINES
from supervisor.runtime_dir import running_supervisors

HUGE = 10**5000
NUMBERS = [0, -1, MOST + 1, 2**64 - 1, 2**64, HUGE, True, 1.5, "1", [1], float("nan")]
SECONDS = [-1, -0.001, float("nan"), float("inf"), True, "1", [], 10**10, HUGE, 1e300]
TEXTS = ["a\0b", "\ud800", "x" * (LONGEST_TEXT + 1), 1, b"a", ["a"]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    import tempfile

    folder = tmp_path_factory.mktemp("parameters")
    make_workspace(folder, {"a.py": job("one")})
    with (
        tempfile.TemporaryDirectory(prefix="ws", dir="/tmp") as runtime,
        foreground(folder, Path(runtime)) as made,
    ):
        made.until(lambda line: ": ready" in line)
        yield made
        made.end()
        assert "Traceback" not in "\n".join(made.seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("diff", "a", "1", "18446744073709551615"),
        ("diff", "a", "0"),
        ("diff", "a", "9223372036854775808", "1"),
        ("snapshot", "a", "-g", "9223372036854775808"),
        ("snapshot", "a", "-g", "99999999999999999999999"),
        ("snapshot", "a", "-g", "-1"),
        ("snapshot", "a", "-g", "9" * 5000),
        ("logs", "a", "-n", "99999999999999999999"),
        ("wait", "--timeout", "nan"),
        ("wait", "--timeout", "inf"),
        ("wait", "--timeout", "-1"),
        ("reload", "a", "--timeout", "1e300"),
        ("shutdown", "--timeout", "nan"),
        ("web", "--port", "65536"),
    ],
)
def test_a_command_says_what_it_takes(running, arguments):
    done = running.run(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    assert done.stderr.startswith("error: ")


@pytest.mark.slow
def test_a_command_whose_words_are_no_text(running):
    for arguments in (["status", b"\xff\xfe"], ["show", "a", b"\xff"], ["reload", b"\xff"]):
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=running.cwd, env=variables(running.runtime),
            capture_output=True, timeout=DEADLINE,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert b"must be Unicode text without NUL" in done.stderr


def test_a_client_says_what_it_takes(running):
    with Client(running.cwd / "workspace.yaml", environ=environ(running.runtime)) as client:
        for number in NUMBERS:
            with pytest.raises(InvalidParameterError, match="generation must be a whole number"):
                client.snapshot("a", generation=number)
            with pytest.raises(InvalidParameterError, match="from 1 to 9223372036854775807"):
                client.diff("a", number, 1)
            with pytest.raises(InvalidParameterError):
                client.diff("a", 1, number)
            if number != 0:
                with pytest.raises(InvalidParameterError, match="after must be a whole number"):
                    client.logs("a", after=number)
                with pytest.raises(InvalidParameterError, match="lines must be a whole number"):
                    client.logs("a", lines=number)
            if number not in (0, -1):
                with pytest.raises(InvalidParameterError, match="since must be a whole number"):
                    client.status(since=number)
        for seconds in SECONDS:
            for ask in (
                lambda value: client.wait(timeout=value),
                lambda value: client.status(timeout=value),
                lambda value: client.logs("a", after=1, timeout=value),
                lambda value: Client(running.cwd / "workspace.yaml", timeout=value),
                lambda value: AsyncClient(running.cwd / "workspace.yaml", timeout=value),
            ):
                with pytest.raises(InvalidParameterError, match="must be a number of seconds"):
                    ask(seconds)
        for text in TEXTS:
            for ask in (
                client.status, client.definitions, client.snapshot, client.history, client.logs,
                client.environments, client.reload, client.stop, client.wait, client.diff,
                lambda value: client.show("a", value), lambda value: client.show(value, "a"),
                lambda value: client.show("a", "one", kind=value),
                lambda value: client.show("a", "one", repository=value),
            ):  # fmt: skip
                with pytest.raises(InvalidParameterError, match=r"must (be|have)"):
                    ask(text)
        assert client.wait(timeout=0)["ready"]
        assert client.logs("a", lines=MOST_LINES)["next"]
        assert client.status(since=-1, timeout=5)["revision"] > 0


def test_the_control_socket_says_what_it_takes(running):
    (info,) = running_supervisors(environ(running.runtime))
    packable = [one for one in NUMBERS if one not in (2**64, HUGE) and one == one]
    asked = []
    for number in packable:
        asked += [
            ("snapshot", {"location": "a", "generation": number}),
            ("diff", {"location": "a", "from": number}),
            ("diff", {"location": "a", "to": number}),
        ]
        if number != 0:
            asked += [
                ("logs", {"location": "a", "after": number}),
                ("logs", {"location": "a", "lines": number}),
            ]
        if number not in (0, -1):
            asked.append(("status", {"since": number}))
    for seconds in [-1, True, "1", [], 10**10]:
        asked += [
            ("wait", {"timeout": seconds}),
            ("status", {"since": 0, "timeout": seconds}),
            ("logs", {"location": "a", "after": 0, "timeout": seconds}),
        ]
    for text in ["a\0b", "x" * (LONGEST_TEXT + 1), 1, ["a"], {"a": 1}]:
        asked += [
            *((method, {"location": text}) for method in (
                "status", "list", "show", "snapshot", "diff", "history", "logs", "environments")),
            ("list", {"kind": text}),
            ("show", {"location": "a", "name": text}),
            ("show", {"location": "a", "name": "one", "kind": text}),
            ("reload", {"locations": [text]}),
            ("wait", {"locations": text if text != ["a"] else "a"}),
        ]  # fmt: skip
    asked += [("shutdown", {"at_once": 1}), ("shutdown", {"at_once": "x"})]
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(info["control_address"])
        for method, params in asked:
            socket.send(wire.pack({"v": VERSION, "id": 1, "method": method, "params": params}))
            assert socket.poll(30_000), (method, params)
            answer = wire.unpack(socket.recv_multipart()[0])
            assert answer["error"]["code"] == "protocol", (method, params, answer)
            assert " must " in answer["error"]["message"]
            assert len(answer["error"]["message"]) < 300
    assert os.path.exists(f"/proc/{running.pid}")


def test_the_largest_generation_is_only_not_kept(running):
    done = supervise(
        "snapshot", "a", "-g", str(MOST), cwd=running.cwd, runtime=running.runtime
    )  # fmt: skip
    assert done.returncode == 1
    assert f"generation {MOST} of a is not kept" in done.stderr
