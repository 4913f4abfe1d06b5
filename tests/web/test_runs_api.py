"""``/api/v1/runs``: rows, runs in full, and their events and output as server-sent events."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exposed import families
from launched import HEAD
from strict import Checked
from supervised import poll_now

from supervisor.access.tokens import TokenFile
from supervisor.roles import Role

from .site import DEADLINE, Page, Site, Visitor, site

MODULE = (
    HEAD
    + """
@op
def first(context):
    print("first is done")
    print("an error", file=sys.stderr)

@op
def second(context, before):
    context.log.info("waiting")
    print("waiting", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    print("gone on", flush=True)

@job(tags={"team": "ml"})
def held():
    second(first())

@op
def chatters():
    for number in range(140):
        print(("%03d" % number) * 33333)

@job
def chatty():
    chatters()

@job
def quick():
    first()

@op
def color(context):
    print(context.partition_key)

@job(partitions_def=["red", "green"])
def colors():
    color()
"""
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose runs end by themselves, or wait for a file ``go``."""
    files = {"team.py": MODULE, "other.py": MODULE}
    with site(tmp_path_factory.mktemp("runs"), files, {"team": {}, "other": {}}) as made:
        yield made


class Stream:
    """What comes of ``/api/v1/runs/RUN/events``."""

    def __init__(self, page: Visitor, run: str, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(page.host, page.port or 0, timeout=DEADLINE)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", f"/api/v1/runs/{run}/events{query}", headers=sent)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.kind = self._answer.getheader("content-type") or ""
        self.last = ""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Name and data of each event; ``last`` is the id of the last one."""
        name, data = "", ""
        for line in iter(self._answer.readline, b""):
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "id":
                self.last = value
            elif key == "event":
                name = value
            elif key == "data":
                data = value
            elif not key and name:
                yield name, json.loads(data)
                name = ""

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


@contextlib.contextmanager
def streaming(page: Visitor, run: str, query: str = "", **headers: str) -> Iterator[Stream]:
    with contextlib.closing(Stream(page, run, query, **headers)) as found:
        assert found.status == 200
        assert found.kind.startswith("text/event-stream")
        yield found


def put_together(told: list[tuple[str, Any]]) -> tuple[list[Any], str, str]:
    """Events, output and errors."""
    events = [one for name, data in told if name == "events" for one in data["events"]]
    out, err = ("".join(one["text"] for name, one in told if name == key) for key in ("out", "err"))
    return events, out, err


def ended(of: Site, job: str, **more: Any) -> str:
    run = of.client.launch("team", job, **more)
    assert run.wait(DEADLINE)["state"] == "success", run.row
    return run.id


@pytest.mark.slow
def test_rows_and_runs_are_those_of_the_control_socket(here: Site) -> None:
    page, client, before = here.page, here.client, time.time()
    quick = ended(here, "quick", tags={"team": "ml", "api_key": "hunter2"})
    span = ended(here, "colors", partition_range="red..green")
    other = client.launch("other", "quick")
    other.wait(DEADLINE)
    rows = page.api("/runs", since=before)["runs"]
    assert [one["run"] for one in rows] == [other.id, span, quick]
    assert rows == client.runs(since=before)
    assert rows[2]["tags"] == {"team": "ml", "api_key": "(hidden)"}
    for asked, found in (
        ({"location": "other"}, [other.id]),
        ({"job": "colors"}, [span]),
        ({"job": "quick", "location": "team"}, [quick]),
        ({"limit": 2}, [other.id, span]),
        ({"state": ["failure", "lost"]}, []),
        ({"state": ["failure", "success"]}, [other.id, span, quick]),
        ({"since": time.time() + 1}, []),
    ):
        rows = page.api("/runs", **{"since": before, **asked})["runs"]
        assert [one["run"] for one in rows] == found, asked
    parts = page.api("/runs", parent=span)["runs"]
    assert sorted(one["partition"] for one in parts) == ["green", "red"]
    for name in (quick, span, parts[0]["run"]):
        assert page.api(f"/runs/{name}") == client.run(name).row


def test_answers_are_as_described(here: Site) -> None:
    quick, span = ended(here, "quick"), ended(here, "colors", partition_range="red..green")
    described = here.page.api("/openapi.json")
    checked = Checked(described["components"]["schemas"])

    def ask(path: str, at: str, **headers: str) -> Any:
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        answer = here.page.ask(f"/api/v1{at}", headers=headers)
        assert answer.status == 200, answer.text
        return checked(name, answer.json())

    ask("/runs", "/runs")
    for run in (quick, span):
        ask("/runs/{run}", f"/runs/{run}")
        ask("/runs/{run}/events", f"/runs/{run}/events", Accept="application/json")
    assert not checked.unsent("RunPage") & {f"RunPage.{one}" for one in ("events", "out", "runs")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/nothing", 404),
        ("/runs/nothing/events", 404),
        ("/runs/{run}/events?after=1", 422),
        ("/runs/{run}/events?after=1/2/3/4", 422),
        ("/runs/{run}/events?after=99999999999999999999/0/0", 422),
        ("/runs/{run}/events?after=9999999999999999999/0/0", 422),
        ("/runs?limit=0", 422),
        ("/runs?limit=1001", 422),
        ("/runs?since=yesterday", 422),
        ("/runs?since=1e30", 422),
        ("/runs?state=done", 422),
        ("/runs?parent=nobody", 404),
        ("/runs?parent={run}", 409),
    ],
)
def test_what_is_wrong_is_said(here: Site, path: str, status: int) -> None:
    run = next(iter(here.client.runs("team", job="quick")), None)
    name = run["run"] if run is not None else ended(here, "quick")
    answer = here.page.get(f"/api/v1{path.format(run=name)}")
    assert answer.status == status, answer.text
    assert answer.json()["error"].keys() == {"code", "message", "hint"}


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, float("inf")])
def test_a_number_that_cannot_be_sent_is_refused(here: Site, value: float) -> None:
    asked = {"location": "team", "job": "quick", "config": {"a": [value]}}
    answer = here.page.post("/api/v1/methods/launch", asked)
    assert answer.status == 422, answer.text
    assert "cannot be sent" in answer.json()["error"]["message"]


@pytest.mark.slow
def test_a_stream_goes_on_where_it_broke_off_and_ends_with_the_run(tmp_path: Path) -> None:
    with site(tmp_path, {"team.py": MODULE}, {"team": {}}) as made:
        run = made.client.launch("team", "held")
        told: list[tuple[str, Any]] = []
        with streaming(made.page, run.id) as stream:
            for name, data in stream:
                told.append((name, data))
                if "waiting\n" in put_together(told)[1] and "LOGS" in str(told):
                    break
            last = stream.last
        assert told[0][0] == "run"
        assert told[0][1]["run"] == run.id
        # Nothing is told twice, neither by the header nor by the parameter; and a supervisor that is
        # killed in between is waited for.
        with (
            streaming(made.page, run.id, Last_Event_ID=last) as by_header,
            streaming(made.page, run.id, f"?after={last}") as by_parameter,
        ):
            heads = [iter(one) for one in (by_header, by_parameter)]
            rests = [[next(one)] for one in heads]
            made.kill_supervisor()
            made.start_supervisor()
            (tmp_path / "go").touch()
            for head, rest in zip(heads, rests, strict=True):
                rest += head
        for rest in rests:
            events, out, err = put_together(told + rest)
            assert out == "first is done\nwaiting\ngone on\n"
            assert err == "an error\n"
            kinds = [one["type"] for one in events]
            assert kinds.count("STEP_START") == 2
            assert (kinds[0], kinds[-1]) == ("RUN_START", "RUN_SUCCESS")
            name, row = rest[-1]
            assert (name, row["run"], row["state"]) == ("end", run.id, "success")
            assert row["adopted"]
            assert [one["state"] for name, one in rest if name == "run"][0] == "running"
        # A browser asks again, and is told that there is no more.
        assert by_header.last.endswith("/end")
        with contextlib.closing(Stream(made.page, run.id, Last_Event_ID=by_header.last)) as again:
            assert again.status == 204


def test_pages_of_events_are_what_the_stream_tells(here: Site) -> None:
    run = ended(here, "chatty")
    with streaming(here.page, run) as stream:
        events, out, err = put_together(list(stream))
    assert [one[:3] for one in out.splitlines()] == [f"{number:03}" for number in range(140)]
    pages, after = [], ""
    while True:
        path = f"/api/v1/runs/{run}/events?after={after}"
        page = here.page.ask(path, headers={"Accept": "application/json"}).json()
        if page["after"] == after:
            break
        pages.append(page)
        after = page["after"]
    assert len(pages) > 2
    assert page["run"]["state"] == "success"
    assert [event for one in pages for event in one.get("events", ())] == events
    same = "".join(one.get("out", "") for one in pages) == out
    assert same  # megabytes, which no report should have
    assert "".join(one.get("err", "") for one in pages) == err


def test_a_range_of_partitions_is_followed_by_its_runs(here: Site) -> None:
    span = here.client.launch("team", "colors", partition_range="red..green")
    with streaming(here.page, span.id) as stream:
        told = list(stream)
    states: dict[str, str] = {}
    for name, data in told:
        if name == "runs":
            states.update((one["partition"], one["state"]) for one in data["runs"])
    assert states == {"red": "success", "green": "success"}
    assert told[-1][0] == "end"
    assert told[-1][1]["partitions"] == {"count": 2, "states": {"success": 2}}


@contextlib.contextmanager
def asked(page: Visitor, run: str, count: int, room: int) -> Iterator[None]:
    """So many readers of a stream that read no more than its head, with ``room`` bytes for the rest."""
    request = f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            one.settimeout(DEADLINE)
            one.connect((page.host, page.port))
            one.sendall(request)
            assert one.recv(15) == b"HTTP/1.1 200 OK"
        yield


@pytest.mark.slow
def test_readers_that_do_not_read_hold_up_no_others(here: Site) -> None:
    run = ended(here, "chatty")
    with asked(here.page, run, 20, 4096), streaming(here.page, run) as stream:
        assert len(put_together(list(stream))[1]) == 140 * 100_000
        assert ended(here, "quick")


def test_as_many_follow_as_there_is_room_for_and_make_it_when_they_go(here: Site) -> None:
    run = here.client.launch("other", "held")
    path = f"/api/v1/runs/{run.id}/events"
    try:
        with asked(here.page, run.id, 90, 65536):
            refused = here.page.get(path)
            assert refused.status == 503
            assert refused.headers["retry-after"]
            assert refused.json()["error"]["code"] == "refused"
            # All else goes on, a page of the same run too.
            assert here.page.get("/").status == 200
            page = here.page.ask(path, headers={"Accept": "application/json"})
            assert page.json()["run"]["run"] == run.id
            assert ended(here, "quick")

        def follows() -> bool:
            with contextlib.closing(Stream(here.page, run.id)) as stream:
                return stream.status == 200

        poll_now(follows, "the page has seen that they are gone")
    finally:
        run.cancel(now=True)
        run.wait(DEADLINE)


def test_a_page_that_ends_does_not_wait_for_those_that_follow(here: Site) -> None:
    run = here.client.launch("other", "held")
    page = Page(here.folder, here.runtime)
    try:
        with streaming(page, run.id) as stream:
            told = iter(stream)
            assert next(told)[0] == "run"
            page.process.send_signal(signal.SIGTERM)
            assert "end" not in [name for name, _ in told]
            assert page.process.wait(DEADLINE) == 0
    finally:
        page.end()
        run.cancel(now=True)
        run.wait(DEADLINE)


def test_a_run_is_seen_by_those_who_see_its_location(here: Site) -> None:
    keys = TokenFile(here.folder / ".supervise" / "workspace.yaml")
    secret = keys.add("team", Role.VIEWER, ("team",), None)
    headers = {"Authorization": f"Bearer {secret}"}
    own = here.client.launch("team", "held")
    other = here.client.launch("other", "quick")
    other.wait(DEADLINE)
    try:
        listed = here.page.ask("/api/v1/runs", headers=headers).json()["runs"]
        assert {one["location"] for one in listed} == {"team"}
        for path in ("", "/events"):
            assert here.page.ask(f"/api/v1/runs/{other.id}{path}", headers=headers).status == 404
        wrong = {"Authorization": "Bearer sup_wrong"}
        assert here.page.ask(f"/api/v1/runs/{own.id}/events", headers=wrong).status == 401
        # A stream ends with its token.
        with streaming(here.page, own.id, Authorization=f"Bearer {secret}") as stream:
            told = iter(stream)
            assert next(told)[0] == "run"
            keys.revoke("team")
            assert "end" not in [name for name, _ in told]
    finally:
        own.cancel(now=True)
        own.wait(DEADLINE)


@pytest.mark.slow
def test_metrics_of_runs(tmp_path: Path) -> None:
    limits = {"runs": {"max_concurrent": 1}}
    with site(
        tmp_path, {"team.py": MODULE, "other.py": MODULE}, {"team": limits, "other": {}}
    ) as made:
        held = made.client.launch("team", "held")
        waiting = made.client.launch("team", "quick")
        out = held.output()
        while "waiting" not in next(out):
            pass
        out.close()
        found = families(made.page.get("/metrics").text)

        def value(name: str, **labels: str) -> float:
            family = found[name.removesuffix("_count").removesuffix("_bucket")]
            return family[name, frozenset(labels.items())]

        team: dict[str, str] = {"location": "team"}
        assert value("supervise_runs", **team, state="running") == 1
        assert value("supervise_runs", **team, state="queued") == 1
        assert value("supervise_run_longest_wait_seconds", **team) > 0
        # All states of all locations, and no more.
        assert len(found["supervise_runs"]) == 2 * 4
        assert len(found["supervise_runs_total"]) == 2 * 5
        assert set(found["supervise_runs_total"].values()) == {0}
        (tmp_path / "go").touch()
        for run in (held, waiting):
            assert run.wait(DEADLINE)["state"] == "success"
        found = families(made.page.get("/metrics").text)
        assert value("supervise_runs_total", **team, state="success") == 2
        assert value("supervise_runs_total", location="other", state="success") == 0
        assert value("supervise_run_duration_seconds_count", **team) == 2
        assert value("supervise_run_queue_seconds_bucket", **team, le="+Inf") == 2
        assert value("supervise_runs_adopted_total", **team) == 0
        assert value("supervise_runs_retried_total", **team) == 0
        assert "supervise_run_longest_wait_seconds" not in found
        # Who sees one location is told of that one's runs.
        keys = TokenFile(tmp_path / ".supervise" / "workspace.yaml")
        secret = keys.add("other", Role.VIEWER, ("other",), None)
        answer = made.page.ask("/metrics", headers={"Authorization": f"Bearer {secret}"})
        assert len(families(answer.text)["supervise_runs_total"]) == 5
        assert "team" not in answer.text
