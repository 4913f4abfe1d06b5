"""The clock of the machine is set while a supervisor runs: nothing fires twice, and nothing is left out.

The clock that the supervisor and all that it starts see is moved by libfaketime; without it the test is
skipped. Monotonic time goes on as it does. The event loop is not watched: each look at the clock reads a file.
"""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from supervised import environ, make_workspace, poll_now

from supervisor.client.client import Client
from supervisor.errors import SupervisorError

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

_DEADLINE = 120.0
_HOUR, _DAY = 3600.0, 86400.0
_MODULE = """\
from runner_shim import ScheduleDefinition, job, op

@op
def work():
    pass

@job
def nightly():
    work()

hourly = ScheduleDefinition("hourly", "0 * * * *", job=nightly, default_status="running", overlap="allow")
"""


def library() -> str:
    """The path of libfaketime, "" where it is not installed."""
    places = [Path(one) for one in ("/usr/lib", "/usr/local/lib") if Path(one).is_dir()]
    found = [each for one in places for each in one.glob("**/faketime/libfaketimeMT.so.1")]
    return str(found[0]) if found else ctypes.util.find_library("faketimeMT") or ""


class Stepped:
    """A supervisor whose clock is ``offset`` seconds before ours."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.workspace = make_workspace(folder, {"team.py": _MODULE}, {"team": {}})
        self.runtime = runtime
        self._file = folder / "offset"
        # It begins at half past, so that no hour comes by itself.
        self.hour = time.time() // _HOUR * _HOUR
        self._begin = self.hour + _HOUR / 2 - time.time()
        self.step(0)
        variables = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("supervise")), "-w", str(self.workspace)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environ(runtime), **variables},
                cwd=folder,
            )

    def step(self, seconds: float) -> None:
        """Set the clock to so long after half past of the first hour."""
        made = self._file.with_suffix(".new")
        made.write_text(f"{self._begin + seconds:+.0f}")
        made.replace(self._file)

    def ask(self, what: Any) -> Any:
        """What ``what`` returns of a client, None where there is no answer now."""
        with (
            suppress(SupervisorError),
            Client(
                self.workspace, environ={"XDG_RUNTIME_DIR": str(self.runtime)}, timeout=30
            ) as client,
        ):
            return what(client)
        return None

    def seen(self, seconds: float) -> None:
        """Set the clock, and have a run launched by it."""
        self.step(seconds)

        def launched(client: Client) -> bool:
            created = client.launch("team", "nightly").wait(_DEADLINE)["created"]
            return abs(created - self.hour - _HOUR / 2 - seconds) < _HOUR / 2

        poll_now(lambda: self.ask(launched), "its clock is set", _DEADLINE)

    def ticks(self) -> list[dict[str, Any]]:
        """Those that are over, the oldest first."""
        rows = self.ask(lambda client: client.ticks("team", limit=100)) or []
        return [one for one in reversed(rows) if one["state"] not in ("due", "launching")]

    def launched(self) -> list[int]:
        """For which hours ticks were launched, counted from the first."""
        rows = [one for one in self.ticks() if one["state"] == "launched"]
        return [round((one["time"] - self.hour) / _HOUR) for one in rows]

    def next(self) -> int | None:
        """The hour that it is due at next, counted from the first."""
        rows = self.ask(lambda client: client.automations("team"))
        return round((rows[0]["next"] - self.hour) / _HOUR) if rows else None


@pytest.fixture
def stepped(tmp_path: Path, runtime: Path) -> Iterator[Stepped]:
    if not library():
        pytest.skip("libfaketime is not installed")
    made = Stepped(tmp_path, runtime)
    try:
        poll_now(
            lambda: made.ask(lambda client: client.wait(timeout=30)["ready"]), "ready", _DEADLINE
        )
        yield made
    finally:
        made.process.kill()  # it sleeps by a clock that is wrong, too
        made.process.wait()


def test_a_clock_that_is_set_fires_nothing_twice_and_leaves_nothing_out(stepped: Stepped) -> None:
    stepped.seen(0)
    stepped.step(_HOUR)  # over a time at which it is due
    poll_now(lambda: stepped.launched() == [1], "the hour has come", _DEADLINE)
    stepped.seen(0)  # back over what was fired
    stepped.seen(_HOUR)
    stepped.step(2 * _HOUR)
    poll_now(lambda: 2 in stepped.launched(), "the next hour has come", _DEADLINE)
    assert stepped.launched() == [1, 2]
    days = 40 * 24
    stepped.step(days * _HOUR)  # as after a long sleep: the last one is caught up with
    poll_now(lambda: days in stepped.launched(), "the last hour is caught up with", _DEADLINE)
    assert stepped.launched() == [1, 2, days]
    missed = [one for one in stepped.ticks() if one["state"] == "skipped"]
    assert [(one["reason"], one["count"]) for one in missed] == [
        ("no supervisor was there", days - 3)
    ]
    stepped.seen(2 * _HOUR)  # it was wrong by much: the times count from then on
    poll_now(lambda: stepped.next() == 3, "the times have been counted anew", _DEADLINE)
    stepped.step(3 * _HOUR)
    poll_now(lambda: 3 in stepped.launched(), "the hour after has come", _DEADLINE)
    assert stepped.launched() == [1, 2, days, 3]
