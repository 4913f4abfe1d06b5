"""Commands and webhooks that are told of runs and locations, against a receiver on this machine."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launched import HEAD, kill
from supervised import make_workspace, poll, save, supervising

from supervisor.conditions import Conditions
from supervisor.notify_settings import Notify
from supervisor.server.notify_delivery import Deliveries

MODULE = (
    HEAD
    + """
@op
def work():
    if os.path.exists("broken"):
        raise ValueError("the ledger does not balance")
@job
def nightly():
    work()
@op
def held():
    print("running", flush=True)
    time.sleep(1000)
@job
def long():
    held()
"""
)


class Receiver:
    """A webhook: ``heard`` is what was posted to it, ``answers`` its statuses before it is well."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status == 204:
                    receiver.headers.append(dict(self.headers))
                    receiver.heard.append(json.loads(body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", receiver.url)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def events(self, location: str = "team") -> list[str]:
        return [one["event"] for one in self.heard if one["location"] == location]

    async def until(self, *events: str) -> list[dict[str, Any]]:
        """What was heard, once it is this of the location ``team``."""
        await poll(lambda: self.events() == list(events), f"{events}, not {self.events()}")
        return self.heard


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


async def launched(running: Any, job: str = "nightly") -> str:
    reply, _ = await running.methods.launch({"location": "team", "job": job})
    return str(reply["run"]["run"])


async def ended(running: Any, run: str) -> str:
    reply, _ = await running.methods.run({"run": run, "timeout": 60.0})
    assert reply["ended"] is not None
    return str(reply["state"])


async def test_a_webhook_is_told_of_runs_and_locations(
    tmp_path: Path, runtime: Path, receiver: Receiver
) -> None:
    hook = {"webhook": receiver.url, "headers": {"Authorization": "Bearer of-the-hook"}}
    workspace = make_workspace(tmp_path, {"team.py": MODULE}, notify=[hook])
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await ended(running, await launched(running)) == "success"
        (tmp_path / "broken").touch()
        run = await launched(running)
        assert await ended(running, run) == "failure"
        told = (await receiver.until("run_failed"))[0]
        assert told["run"]["run"] == run
        assert told["run"]["state"] == "failure"
        assert told["workspace"].endswith("workspace.yaml")
        assert "nightly in team has failed: ValueError: the ledger" in told["text"]
        assert receiver.headers[0]["Authorization"] == "Bearer of-the-hook"
        save(tmp_path / "team.py", "1 / 0\n")
        told = (await receiver.until("run_failed", "location_failed"))[-1]
        assert told["run"] is None
        assert "team has failed to load" in told["text"]
        save(tmp_path / "team.py", MODULE)
        await receiver.until("run_failed", "location_failed", "location_recovered")
        await running.ready()
        await kill(running.pid("team"))
        await receiver.until(
            "run_failed", "location_failed", "location_recovered",
            "location_crashed", "location_recovered",
        )  # fmt: skip
        long = await launched(running, "long")
        await running.until(lambda: running.daemon.work.runs.get(long).monitor, "its monitor")
        await kill(running.daemon.work.runs.get(long).monitor)
        assert await ended(running, long) == "lost"
        await poll(lambda: receiver.events()[-1] == "run_lost", "told that it is lost")


async def test_who_is_told_of_what(tmp_path: Path, runtime: Path, receiver: Receiver) -> None:
    """A location's own receivers stand in place of the workspace's; ``events`` and lateness are each one's."""
    own = Receiver()
    try:
        files = {"team.py": MODULE, "other.py": "1 / 0\n", "silent.py": "1 / 0\n"}
        late = {"webhook": own.url, "events": ["run_late", "run_lost"], "late_after": "100ms"}
        locations: dict[str, Any] = {
            "team": {"notify": [late]},
            "other": {},
            "silent": {"notify": []},
        }
        workspace = make_workspace(
            tmp_path,
            files,
            locations,
            notify=[{"webhook": receiver.url, "events": "location_failed"}],
        )
        async with supervising(workspace, runtime) as running:
            await running.ready("team")
            await poll(lambda: receiver.events("other") == ["location_failed"], "told of other")
            (tmp_path / "broken").touch()
            assert await ended(running, await launched(running)) == "failure"
            run = await launched(running, "long")
            late_ones = lambda: [  # noqa: E731
                each["run"]["run"] for one in own.heard for each in (one, *one["more"])
            ]
            await poll(lambda: late_ones()[-1:] == [run], "told that it is late")
            await running.methods.cancel_run({"run": run, "now": True})
            assert await ended(running, run) == "cancelled"
        assert set(own.events()) == {"run_late"}
        assert late_ones().count(run) == 1
        assert [one["location"] for one in receiver.heard] == ["other"]
    finally:
        own.close()


async def test_a_run_that_is_repeated_is_told_of_once(
    tmp_path: Path, runtime: Path, receiver: Receiver
) -> None:
    (tmp_path / "broken").touch()
    locations = {"team": {"runs": {"retries": 2}}}
    workspace = make_workspace(
        tmp_path, {"team.py": MODULE}, locations, notify=[{"webhook": receiver.url}]
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await launched(running)
        told = (await receiver.until("run_failed"))[0]
        assert told["run"]["attempt"] == 3


async def test_the_next_supervisor_tells_of_what_ended_meanwhile(
    tmp_path: Path, runtime: Path, receiver: Receiver
) -> None:
    locations = {"team": {"runs": {"on_stop": "keep"}}}
    workspace = make_workspace(
        tmp_path, {"team.py": MODULE}, locations, notify=[{"webhook": receiver.url}]
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        run = await launched(running, "long")
        await running.until(lambda: running.daemon.work.runs.get(run).monitor, "its monitor")
        pid = running.daemon.work.runs.get(run).monitor
    await kill(pid)
    async with supervising(workspace, runtime):
        told = (await receiver.until("run_lost"))[0]
        assert told["run"]["run"] == run
    async with supervising(workspace, runtime) as running:
        await running.ready()
    assert receiver.events() == ["run_lost"]


async def test_the_next_supervisor_does_not_tell_again_that_a_run_is_late(
    tmp_path: Path, runtime: Path, receiver: Receiver
) -> None:
    hook = {"webhook": receiver.url, "events": ["run_late", "run_lost"], "late_after": "100ms"}
    locations = {"team": {"runs": {"on_stop": "keep"}}}
    workspace = make_workspace(tmp_path, {"team.py": MODULE}, locations, notify=[hook])
    async with supervising(workspace, runtime) as running:
        await running.ready()
        run = await launched(running, "long")
        await receiver.until("run_late")
        await running.until(lambda: running.daemon.work.runs.get(run).monitor, "its monitor")
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.until(lambda: running.daemon.work.runs.get(run).monitor, "its monitor")
        await kill(running.daemon.work.runs.get(run).monitor)
        await receiver.until("run_late", "run_lost")


SENSOR = (
    HEAD
    + """
from runner_shim import SkipReason, sensor

@op
def work():
    pass
@job
def nightly():
    work()
@sensor(job=nightly, minimum_interval_seconds=1, default_status="running")
def files():
    open("ticks", "a").write("x")
    if os.path.exists("broken"):
        raise ValueError("the bucket is gone")
    return SkipReason("no file")
"""
)


@pytest.mark.slow
async def test_a_sensor_that_fails_is_told_of_once_and_when_it_is_well_again(
    tmp_path: Path, runtime: Path, receiver: Receiver
) -> None:
    ticks = tmp_path / "ticks"
    workspace = make_workspace(tmp_path, {"team.py": SENSOR}, notify=[{"webhook": receiver.url}])
    (tmp_path / "broken").touch()
    async with supervising(workspace, runtime) as running:
        await running.ready()
        (told,) = await receiver.until("automation_failed")
        assert told["automation"] == {"name": "files", "kind": "sensor"}
        assert told["text"].startswith("sensor files of team fails: ValueError: the bucket is gone")
    # The next supervisor knows what was told.
    before = ticks.stat().st_size
    async with supervising(workspace, runtime) as running:
        await poll(lambda: ticks.stat().st_size > before + 1, "it failed again")
        (tmp_path / "broken").unlink()
        told = (await receiver.until("automation_failed", "automation_recovered"))[-1]
        assert told["text"] == "sensor files of team does not fail any more"


async def test_what_happens_together_is_one_message(tmp_path: Path, receiver: Receiver) -> None:
    deliveries = Deliveries(Conditions(lambda: None, lambda: 0.0), {})
    hook = Notify(webhook=receiver.url)

    def send(event: str, location: str) -> None:
        text = f"{location}: {event}"
        deliveries.send(hook, {"event": event, "location": location, "text": text, "run": None})

    for number in range(300):
        send("location_failed", f"l{number}")
    send("location_recovered", "l0")
    send("location_failed", "l0")
    await poll(lambda: len(receiver.heard) == 3, "three messages")
    many, recovered, again = receiver.heard
    assert (many["count"], len(many["more"])) == (300, 99)
    assert many["text"].splitlines()[0] == "l0: location_failed"
    assert many["text"].splitlines()[-1] == "and 295 more"
    assert (recovered["event"], recovered["location"]) == ("location_recovered", "l0")
    assert (again["event"], again["count"], again["more"]) == ("location_failed", 1, [])
    await deliveries.close()


async def test_a_command_gets_it_on_its_standard_input(tmp_path: Path, runtime: Path) -> None:
    script = (
        'cat > "$1.new"; echo "$SUPERVISE_EVENT $SUPERVISE_LOCATION" >> "$1.new"; mv "$1.new" "$1"'
    )
    command = {"command": ["sh", "-c", script, "sh", "told"]}
    workspace = make_workspace(tmp_path, {"team.py": "1 / 0\n"}, notify=[command])
    async with supervising(workspace, runtime):
        await poll(lambda: (tmp_path / "told").exists(), "the command")
    told, said = (tmp_path / "told").read_text().splitlines()
    assert json.loads(told)["event"] == "location_failed"
    assert said == "location_failed team"


async def test_a_text_that_no_variable_can_hold_is_told_all_the_same(tmp_path: Path) -> None:
    conditions = Conditions(lambda: None, lambda: 0.0)
    deliveries = Deliveries(conditions, {"PATH": os.environ["PATH"]}, delays=())
    script = 'printf %s "$SUPERVISE_MESSAGE" > said.new; cat > told; mv said.new said'
    command = Notify(command=("sh", "-c", script), directory=str(tmp_path))
    text = "a\0b" + "c" * 200_000
    deliveries.send(command, {"event": "run_failed", "location": "team", "text": text, "run": None})
    await poll(lambda: (tmp_path / "said").exists() or list(conditions), "the command")
    assert not list(conditions)
    assert (tmp_path / "said").read_text().startswith("a\ufffdbc")
    assert json.loads((tmp_path / "told").read_text())["text"] == text
    await deliveries.close()


async def test_a_receiver_that_does_not_work_is_shown_until_it_does(
    tmp_path: Path, runtime: Path, receiver: Receiver
) -> None:
    receiver.answers[:] = [500, 302]
    conditions = Conditions(lambda: None, lambda: 0.0)
    deliveries = Deliveries(conditions, {}, delays=(0.01, 0.01))
    message = {"event": "run_failed", "location": "team", "text": "it failed", "run": None}
    hook = Notify(webhook=receiver.url)
    deliveries.send(hook, message)
    await receiver.until("run_failed")  # the third attempt
    await poll(lambda: not list(conditions), "clear")
    receiver.answers[:] = [404] * 3
    deliveries.send(hook, message)
    gone = Notify(webhook="http://127.0.0.1:1/secret-path")
    deliveries.send(gone, message)
    broken = Notify(command=("no-such-program",), directory=str(tmp_path))
    deliveries.send(broken, message)
    status = Notify(command=("sh", "-c", "exit 3"), directory=str(tmp_path))
    deliveries.send(status, message)

    def told() -> str:
        return "; ".join(sorted(one.message for one in conditions))

    for text in (
        "the webhook at 127.0.0.1 answered 404",
        "the webhook at 127.0.0.1 cannot be reached: connection refused",
        "the command no-such-program cannot be started: no such file or directory",
        "the command sh ended with status 3",
    ):
        await poll(lambda text=text: f"{text} (told" in told(), text)
    assert "secret" not in told()
    deliveries.send(hook, message)
    await receiver.until("run_failed", "run_failed")
    await poll(lambda: "404" not in told(), "clear")
    deliveries.forget(set())
    assert not list(conditions)
    await deliveries.close()


@pytest.mark.slow
async def test_one_that_hangs_holds_up_no_other_and_its_queue_is_bounded(
    tmp_path: Path, receiver: Receiver
) -> None:
    conditions = Conditions(lambda: None, lambda: 0.0)
    deliveries = Deliveries(conditions, {})
    hanging = Notify(command=("sleep", "1000"), directory=str(tmp_path))
    message = {"event": "run_failed", "location": "team", "text": "it failed", "run": None}
    for number in range(1100):
        deliveries.send(hanging, {**message, "number": number})
    deliveries.send(Notify(webhook=receiver.url), message)
    await receiver.until("run_failed")
    assert "more than 1000 notifications wait" in "".join(one.message for one in conditions)
    await deliveries.close()
