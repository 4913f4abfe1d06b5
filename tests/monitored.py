"""Forks runs from a process that has loaded a target, as a shim does, without any supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from places import PROGRAMS, ROOT
from supervised import DEADLINE, alive, marked, poll_now

import envs
from supervisor.processes import orphans
from supervisor.runs import monitor
from supervisor.runs.journal import Journal, boot_id

HEAD = "import os, signal, subprocess, sys, time\nfrom runner_shim import Definitions, job, op\n"


def one_op(body: str, head: str = "") -> str:
    """A module with a job ``nightly`` of one op ``work`` with that body."""
    op = "@op\ndef work():\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return f"{HEAD}{textwrap.dedent(head)}\n{op}\n\n@job\ndef nightly():\n    work()\n"


# An op that says that it runs, and goes on until it is ended.
FOREVER = """
    print("running", flush=True)
    try:
        time.sleep(1000)
    finally:
        print("cleaned up", flush=True)
    """


class Loaded:
    """A process that has loaded a target, and the runs that it forked."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], marker: str) -> None:
        self.folder = folder
        self.process = process
        self.marker = marker
        self._count = 0

    def order(self, job: str = "nightly", **more: Any) -> tuple[Journal, dict[str, Any]]:
        """A journal with an order in it, and the request to run that."""
        self._count += 1
        name = f"run{self._count}"
        journal = Journal(self.folder / "runs" / name)
        order = {
            "format": 1, "run": name, "location": "team", "job": job, "boot": boot_id(),
            "grace": 5.0, "timeout": None, "notify": str(self.folder / "nobody"), **more,
        }  # fmt: skip
        journal.create(order)
        token, run = orphans.token_of("\0monitor", name), orphans.token_of("team", name)
        request = {
            "order": order,
            "directory": str(journal.path),
            "monitor": [sys.executable, "-I", "-S", monitor.PROGRAM, f"team {name}"],
            "environ": {"SUPERVISE_PROCESS": token, "WS_TEST_MARKER": self.marker},
            "tokens": {"monitor": token, "run": run, "mark": orphans.mark_of(run)},
        }
        return journal, request

    def fork(self, request: dict[str, Any]) -> str:
        """Have it forked; what the process answered, "" when all is well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer: str = json.loads(self.process.stdout.readline())
        return answer

    def launch(self, job: str = "nightly", **more: Any) -> Journal:
        """Have a run forked."""
        journal, request = self.order(job, **more)
        assert self.fork(request) == ""
        return journal

    def kill(self) -> None:
        """SIGKILL the process, as happens to a shim."""
        self.process.kill()
        self.process.wait()

    def survivors(self) -> list[int]:
        """The live processes that come from it."""
        return [pid for pid in marked(self.marker) if pid != self.process.pid]


@contextlib.contextmanager
def loaded(folder: Path, module: str, python: str | None = None) -> Iterator[Loaded]:
    """A process (of ``python``) that has loaded ``module``; all that comes from it is killed at the end."""
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    (folder / "team.py").write_text(module)
    target = {
        "kind": "python_file",
        "name": str(folder / "team.py"),
        "attribute": None,
        "working_directory": str(folder),
    }
    marker = str(folder)
    command = [python or sys.executable, str(PROGRAMS / "start_run.py"), str(ROOT)]
    overlay = []
    if python is not None:
        overlay = [
            str(envs.ensure_overlay(envs.probe(python, environ=os.environ), environ=os.environ))
        ]
    with subprocess.Popen(
        [*command, json.dumps(target), *overlay],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "SUPERVISE_PROCESS": orphans.NO_TOKEN, "WS_TEST_MARKER": marker},
    ) as process:
        one = Loaded(folder, process, marker)
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == "loaded"
            yield one
        finally:
            process.kill()
            for pid in one.survivors():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)


def ended(journal: Journal) -> dict[str, Any]:
    """The final record, waited for, and for the monitor's end."""
    poll_now(lambda: journal.final() is not None, f"a final record in {journal.path}")
    poll_now(lambda: journal.monitor() == 0, "the monitor's end")
    final = journal.final()
    assert final is not None
    return final


def started(journal: Journal, text: str = "running") -> tuple[int, int]:
    """The process ids of the monitor and of the run, once that has printed ``text``."""
    poll_now(lambda: text in written(journal), f"{text!r} in {journal.path}")
    pid = journal.monitor()
    assert pid > 0
    run = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    return pid, int(run)


def written(journal: Journal, stream: str = "out") -> str:
    """What the run wrote."""
    return journal.output(stream)[0].decode()


def output_size(journal: Journal, stream: str = "out") -> int:
    """How many bytes the run wrote, those that are not kept any more too."""
    data, size = b"x", 0
    while data:
        data, size = journal.output(stream, size)
    return size


def kinds(journal: Journal) -> list[str]:
    """The types of the events, with the step."""
    found, _ = journal.events()
    return [one["type"] + (f" {one['step']}" if one["step"] else "") for one in found]


def gone(*pids: int) -> None:
    """Wait until these processes have ended."""
    poll_now(lambda: not any(alive(pid) for pid in pids), f"the end of {pids}", DEADLINE)
