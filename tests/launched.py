"""Launches runs through a supervisor's methods, in the test's own event loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from monitored import FOREVER, HEAD, one_op
from supervised import DEADLINE, Supervised, make_workspace, poll, supervising

from supervisor.runs.journal import Journal

# Goes on until the file ``go`` is there.
UNTIL_GO = """
    print("running", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    """

__all__ = ["FOREVER", "HEAD", "UNTIL_GO", "Launched", "journals", "launching", "one_op"]


class Launched:
    """A supervisor, and what is launched in its location ``team``."""

    def __init__(self, running: Supervised) -> None:
        self.running = running
        self.methods = running.methods.table()

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the control socket."""
        result, _ = await self.methods[method](params)
        return result

    async def launch(self, job: str = "nightly", **params: Any) -> str:
        """The id of a new run."""
        row = (await self.ask("launch", location="team", job=job, **params))["run"]
        return str(row["run"])

    async def row(self, run: str, wait: float = 0) -> dict[str, Any]:
        """The run in full."""
        detail: dict[str, Any] = (await self.ask("run", run=run, wait=wait))["run"]
        return detail

    async def ended(self, run: str) -> dict[str, Any]:
        """The run in full, once it has ended."""
        row = await self.row(run, wait=DEADLINE)
        assert row["ended"] is not None, row
        return row

    async def until(self, run: str, text: str = "running") -> dict[str, Any]:
        """The run, once it has written ``text``."""
        out = ""
        cursor = 0
        while text not in out:
            news = await self.ask("follow_run", run=run, after={"out": cursor}, timeout=DEADLINE)
            out, cursor = out + news.get("out", ""), news["next"]["out"]
            assert not news["done"], (out, news)
        return await self.row(run)

    async def kinds(self, run: str) -> list[str]:
        """The types of its events until its end, each with the step."""
        found: list[str] = []
        cursor = 0
        while True:
            news = await self.ask("follow_run", run=run, after={"events": cursor}, timeout=DEADLINE)
            cursor = news["next"]["events"]
            found += [
                one["type"] + (f" {one['step']}" if one["step"] else "")
                for one in news.get("events", ())
            ]
            if news["done"]:
                return found


@contextlib.asynccontextmanager
async def launching(
    folder: Path, runtime: Path, module: str, **keys: Any
) -> AsyncIterator[Launched]:
    """A supervisor of a workspace with the location ``team``, which is ready."""
    workspace = make_workspace(folder, {"team.py": module}, {"team": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        yield Launched(running)


def journals(folder: Path) -> dict[str, Journal]:
    """The journals of the workspace in ``folder`` by the id of the run."""
    found = folder / ".supervise" / "workspace.yaml" / "runs"
    return {path.name: Journal(path) for path in found.iterdir()} if found.exists() else {}


async def kill(pid: int) -> None:
    """SIGKILL, and wait for the end."""
    os.kill(pid, signal.SIGKILL)
    await poll(lambda: not Path(f"/proc/{pid}/exe").exists(), f"the end of {pid}")
