"""A real supervisor with a real web page in front of it, for tests and for the pictures in docs.

The page is a process of its own, as `supervise web` starts it; requests go over a real socket.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from commands import BROKEN, COMMAND, Foreground, ended, variables
from supervised import make_workspace

from supervisor import Client

DEADLINE = 60.0

TEAM = '''\
from runner_shim import Definitions, Field, asset, job, op, resource, schedule, sensor


@op(config_schema={"limit": Field(int, default_value=10, description="Rows at most.")})
def fetch(context):
    "Fetch rows."


@op
def clean(rows):
    return rows


@op(required_resource_keys={"db"})
def publish(rows):
    return rows


@job(tags={"team": "payments"}, owners=["payments@example.com"])
def settle():
    """Settle the day before yesterday."""
    publish(clean(fetch()))


@schedule(cron_schedule="30 2 * * 1-5", job=settle, execution_timezone="Europe/Berlin")
def nightly(context):
    return {}


@sensor(job=settle, minimum_interval_seconds=60)
def late_files(context):
    return None


@asset(group_name="ledger", description="Every booked transaction.")
def transactions():
    return []


@asset(group_name="ledger", deps=[transactions], owners=["payments@example.com"])
def balances():
    return {}


@resource(description="The ledger's database.", config_schema={"url": str})
def db():
    return None


print("team was loaded")
defs = Definitions(
    jobs=[settle],
    schedules=[nightly],
    sensors=[late_files],
    assets=[transactions, balances],
    resources={"db": db},
)
'''

RISK = '''\
from runner_shim import Definitions, asset, job


@asset(deps=["balances"], group_name="risk")
def exposure():
    """What is at stake."""


@job(tags={"team": "risk"})
def settle():
    """Another of that name."""


defs = Definitions(jobs=[settle], assets=[exposure])
'''

HOSTILE_NAME = "<script>alert(1)<script>"  # no slash: a location name becomes a file name

HOSTILE = """\
from runner_shim import Definitions, asset, job, JobDefinition, ScheduleDefinition

NAME = "<script>document.title='owned'</script>"
TEXT = "<img src=x onerror=\\"document.title='owned'\\"> {{ 7 * 7 }} </title></textarea>"


@asset(name="weird", key_prefix=["..", NAME, "a b?c#d%2F"], description=TEXT, metadata={NAME: TEXT})
def weird():
    pass


one = JobDefinition(NAME, description=TEXT, tags={NAME: TEXT}, owners=[TEXT])
print(NAME, TEXT)
defs = Definitions(jobs=[one], assets=[weird])
"""


class Answer:
    """What came back. ``text`` is decoded; ``json()`` parses it."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    def json(self) -> Any:
        return json.loads(self.text)


class Visitor:
    """Asks the page at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.port = urlsplit(self.url).port
        self.host = "127.0.0.1"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, without following where it leads."""
        connection = http.client.HTTPConnection(self.host, self.port or 0, timeout=DEADLINE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            data = answer.read().decode()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, data)
        finally:
            connection.close()

    def get(self, path: str, **params: Any) -> Answer:
        """GET with a query."""
        query = urlencode(params, doseq=True)
        return self.ask(f"{path}?{query}" if query else path)

    def api(self, path: str, **params: Any) -> Any:
        """GET of ``/api/v1``, which must succeed."""
        answer = self.get(f"/api/v1{path}", **params)
        assert answer.status == 200, answer.text
        return answer.json()

    def send(self, path: str, **form: Any) -> Answer:
        """POST of a form, as a page of ours sends it."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.url}
        return self.ask(
            path, method="POST", body=urlencode(form, doseq=True).encode(), headers=headers
        )

    def post(self, path: str, value: Any) -> Answer:
        """POST of JSON, as a program sends it."""
        headers = {"Content-Type": "application/json"}
        return self.ask(path, method="POST", body=json.dumps(value).encode(), headers=headers)


class Page(Visitor):
    """A running ``supervise web``."""

    def __init__(self, cwd: Path, runtime: Path, *arguments: str, **extra: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "web", "--port", "0", *arguments],
            cwd=cwd,
            env=variables(runtime, **extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        try:
            line = self.process.stdout.readline()
        except BaseException:
            self.end()
            raise
        if "http://" not in line:
            raise AssertionError(line + self.end())
        super().__init__(line.split()[-1])

    def end(self) -> str:
        """Stop it; what it said besides its address."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        said: list[str] = []
        ended(self.process, lambda: said.extend(self.process.stdout or ()))
        return "".join(said)


class Site:
    """A workspace, its supervisor, a client and a page."""

    def __init__(self, folder: Path, runtime: Path, **extra: str) -> None:
        self.folder = folder
        self.runtime = runtime
        self.extra = extra
        self.start_supervisor()
        try:
            self.page = Page(folder, runtime, **extra)
        except BaseException:
            self.end_supervisor()
            raise

    def start_supervisor(self) -> None:
        """A supervisor of the workspace, once nothing is under way in it."""
        with contextlib.ExitStack() as undoing:
            self.supervisor = Foreground(self.folder, self.runtime, (), **self.extra)
            self._reader: threading.Thread | None = None
            undoing.callback(self._end_process)
            self.supervisor.until(lambda line: line.startswith("supervise: "))
            # Nobody reads on: a full pipe must not hold up the supervisor.
            self._reader = threading.Thread(target=self.supervisor.rest, daemon=True)
            self._reader.start()
            environ = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime)}
            self.client = Client(self.folder / "workspace.yaml", environ=environ)
            undoing.callback(self.client.close)
            self.client.wait(timeout=DEADLINE)
            undoing.pop_all()

    def kill_supervisor(self) -> None:
        """SIGKILL."""
        self.end_supervisor(signal.SIGKILL)

    def end_supervisor(self, number: int = signal.SIGTERM) -> None:
        """Ended when this returns."""
        try:
            self.client.close()
        finally:
            self._end_process(number)

    def _end_process(self, number: int = signal.SIGTERM) -> None:
        process = self.supervisor.process
        if process.poll() is None:
            process.send_signal(number)
        ended(process, self.supervisor.rest if self._reader is None else self._reader.join)

    def until(self, name: str, true: Callable[[Any], Any]) -> Any:
        """The location ``name`` once ``true(location)``."""
        deadline = time.monotonic() + DEADLINE
        document = self.client.status()
        while True:
            one = next(one for one in document["locations"] if one["name"] == name)
            if true(one):
                return one
            assert time.monotonic() < deadline, one
            document = self.client.status(since=document["revision"], timeout=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            said = self.page.end()
        finally:
            self.end_supervisor()
        assert "Traceback" not in said, said


@contextlib.contextmanager
def site(
    folder: Path,
    files: Mapping[str, str] | None = None,
    locations: Mapping[str, Mapping[str, Any]] | None = None,
    **extra: str,
) -> Iterator[Site]:
    """A ``Site`` of ``files`` (by default: payments, risk, broken, hostile); gone at the end."""
    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    if files is None:
        files = {"payments.py": TEAM, "risk.py": RISK, "broken.py": BROKEN, "hostile.py": HOSTILE}
        locations = {
            "payments": {"env": {"PASSWORD_OF_DB": "hunter2-secret"}},
            "risk": {},
            "broken": {},
            HOSTILE_NAME: {"relative_path": "hostile.py"},
        }
    make_workspace(folder, files, locations)
    try:
        with Site(folder, runtime, **extra) as made:
            yield made
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


if __name__ == "__main__":  # for a look by hand
    with site(Path(sys.argv[1])) as made:
        print(made.page.url, flush=True)
        made.page.process.wait()
