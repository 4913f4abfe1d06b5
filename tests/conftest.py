"""What every test may use: coroutine tests, and a runtime directory that no other test shares."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from supervisor.limits import Cgroups

# Under nohup, in the background of a script, and in some CI, these are ignored, and every process that
# a test starts would inherit it.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests in an event loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A private runtime directory with a short path: a socket's address holds 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def no_cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine where no cgroup is ours: limits are rlimits."""
    monkeypatch.setattr("supervisor.daemon.Cgroups", partial(Cgroups, tmp_path / "none"))
