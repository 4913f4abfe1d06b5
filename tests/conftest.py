"""What every test may use: coroutine tests, and a runtime directory that no other test shares."""

from __future__ import annotations

import asyncio
import gc
import inspect
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisor.limits import Cgroups
from supervisor.spare_time import Pace
from supervisor.verifier import Verifier

# Under nohup, in the background of a script, and in some CI, these are ignored, and every process that
# a test starts would inherit it.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests in an event loop of their own, which must have nothing to complain of."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, complaint: complaints.append(complaint))
        await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    # What it forgot to close or to await is this test's failure, not that of one which comes later.
    gc.collect()
    for complaint in complaints:
        raise AssertionError(complaint) from complaint.get("exception")
    return True


def pytest_collection_finish() -> None:
    """What was imported stays: collecting after a test looks at what came since."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A private runtime directory with a short path: a socket's address holds 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded once more because a test took long on a calm machine."""
    monkeypatch.setattr(Verifier, "pace", Pace(patience=float("inf")))


@pytest.fixture
def no_cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine where no cgroup is ours: limits are rlimits."""
    monkeypatch.setattr("supervisor.daemon.Cgroups", partial(Cgroups, tmp_path / "none"))
