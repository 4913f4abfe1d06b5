"""What every test may use: coroutine tests, and a runtime directory that no other test shares.

A test fails, too, when an event loop of the supervisor, here or in a process that it started, did what
none may (``loop_guard``). Where the variable CI is set, a test that would be skipped for want of an
interpreter, a package or a right fails instead. A test that hangs fails also when it is run again,
and one that no timeout can end ends its process, so that the others go on.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import inspect
import os
import re
import shutil
import signal
import tempfile
import uuid
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import loop_guard
import pytest

from supervisor.locations.verifier import Verifier
from supervisor.processes.limits import Cgroups
from supervisor.processes.spare_time import Pace

# Under nohup, in the background of a script, and in some CI, these are ignored, and every process that
# a test starts would inherit it.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "ours", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("ours")

# The reasons to skip that count in CI: another system, and a Python that is not promised yet.
_MAY_SKIP = re.compile(r"\bLinux\b|no python 3\.14\b")

_reports = pytest.StashKey[Path]()
_limits = pytest.StashKey[Any]()
_errors = pytest.StashKey[int]()
# A process is ended when a test has not ended so many times its limit after its start.
_PATIENCE = 3
# So many lines are told of why a test failed that passed then.
_LAST_LINES = 30


def pytest_configure(config: pytest.Config) -> None:
    """Watch the event loops of this process, and have those of others report to it."""
    config.stash[_reports] = Path(tempfile.mkdtemp(prefix="loop-reports-"))
    config.stash[_reports].chmod(0o777)  # some tests run as another user
    os.environ[loop_guard.REPORTS] = str(config.stash[_reports])
    loop_guard.install()
    config.stash[_errors] = os.dup(2)  # not yet redirected


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what processes reported to nobody."""
    shutil.rmtree(config.stash[_reports], ignore_errors=True)
    os.close(config.stash[_errors])


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Beside the alarm, which code that waits in C may never see, a thread looks at the time."""
    item.stash[_limits] = settings
    limit = settings.timeout * _PATIENCE
    faulthandler.dump_traceback_later(limit, exit=True, file=item.config.stash[_errors])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing is measured between two tests."""
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The alarm of the first run has rung, or was stopped by its failure: a second run has its own."""
    if getattr(item, "execution_count", 1) > 1 and _limits in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_limits])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test during which an event loop was held up."""
    try:
        yield
    except BaseException:
        for one in loop_guard.taken(item.config.stash[_reports]):
            item.add_report_section("call", "event loop", one)
        raise
    _no_violations(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn a skip into a failure that names what is missing."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not _MAY_SKIP.search(reason):
            report.outcome = "failed"
            report.longrepr = (
                f"{reason.removeprefix('Skipped: ')}, and CI is set: install it (interpreters with pyenv, or as python3.x on "
                "PATH; packages with the extras of pyproject.toml), or unset CI to skip this test"
            )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """The same for what ended with its fixtures."""
    yield
    _no_violations(item)


def _no_violations(item: pytest.Item) -> None:
    found = loop_guard.taken(item.config.stash[_reports])
    if found:
        pytest.fail("\n\n".join(found[:5]), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests in an event loop of their own, which must have nothing to complain of."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the tests that passed only when they were run again; append them to the file WS_FLAKY."""
    again, failed = (
        {one.nodeid for one in terminalreporter.stats.get(kind, ())} for kind in ("rerun", "failed")
    )
    flaky = sorted(again - failed)
    if not flaky:
        return
    terminalreporter.section("flaky")
    for nodeid in flaky:
        terminalreporter.line(nodeid)
        for one in terminalreporter.stats["rerun"]:
            if one.nodeid == nodeid:
                terminalreporter.line("\n".join(one.longreprtext.splitlines()[-_LAST_LINES:]))
    if os.environ.get("WS_FLAKY"):
        with Path(os.environ["WS_FLAKY"]).open("a") as file:
            file.writelines(f"{nodeid}\n" for nodeid in flaky)


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


@pytest.fixture
def marker() -> Iterator[str]:
    """A word that no other test's processes carry; what still carries it at the end is killed."""
    from supervised import marked

    word = uuid.uuid4().hex
    yield word
    for pid in marked(word):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded once more because a test took long on a calm machine."""
    monkeypatch.setattr(Verifier, "pace", Pace(patience=float("inf")))


@pytest.fixture
def no_cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine where no cgroup is ours: limits are rlimits."""
    monkeypatch.setattr("supervisor.server.daemon.Cgroups", partial(Cgroups, tmp_path / "none"))
