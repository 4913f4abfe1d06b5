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
from supervisor.states import RunState

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

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the control socket."""
        result, _ = await getattr(self.running.methods, method)(params)
        found: dict[str, Any] = result
        return found

    async def news(self, run: str, **cursors: int) -> AsyncIterator[dict[str, Any]]:
        """What is new of a run until it has ended."""
        async for news, _ in self.running.methods.follow_run({"run": run, **cursors}):
            yield news

    async def written(self, run: str, stream: str = "out") -> str:
        """All that it wrote, once it has ended."""
        return "".join([one[stream] async for one in self.news(run, **{stream: 0})])

    async def launch(self, job: str = "nightly", **params: Any) -> str:
        """The id of a new run."""
        row = (await self.ask("launch", location="team", job=job, **params))["run"]
        return str(row["run"])

    async def row(self, run: str, wait: float = 0) -> dict[str, Any]:
        """The run in full."""
        return await self.ask("run", run=run, timeout=wait)

    async def ended(self, run: str) -> dict[str, Any]:
        """The run in full, once it has ended."""
        row = await self.row(run, wait=DEADLINE)
        assert row["ended"] is not None, row
        return row

    async def until(self, run: str, text: str = "running") -> dict[str, Any]:
        """The run, once it has written ``text`` and the supervisor has heard of its monitor."""
        out = ""
        begins = (RunState.QUEUED, RunState.STARTING)
        runs = self.running.daemon.work.runs
        async for news in self.news(run, out=0):
            out += news["out"]
            if text in out:
                await poll(lambda: runs.get(run).state not in begins, "it has begun")
                return await self.row(run)
        raise AssertionError(out)

    async def kinds(self, run: str) -> list[str]:
        """The types of its events until its end, each with the step."""
        return [
            one["type"] + (f" {one['step']}" if one["step"] else "")
            async for news in self.news(run, events=0)
            for one in news["events"]
        ]


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
