"""What the control socket answers is what ``supervisor.protocol.documents`` declares: all of it, and no more."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import zmq
import zmq.asyncio
from commands import TEAM
from strict import Checked
from supervised import (
    BEGUN,
    Supervised,
    job,
    make_workspace,
    marked,
    poll,
    save,
    supervising,
    workspace_text,
)

from runner_shim import wire
from supervisor.locations.verifier import Verifier
from supervisor.processes.spare_time import Pace
from supervisor.server.rpc import VERSION

# A daemon, a definition that is left out, one that is another at each load, lines in the log.
READY = """\
import os
import subprocess
import sys
from runner_shim import Definitions, job

subprocess.run(["sh", "-c", "setsid sleep 1000 &"])

@job
def left_out():
    pass

@job(description="Loaded by %d." % os.getpid())
def known():
    pass

print("to out")
print("to err", file=sys.stderr)
"""
LAZY = """\
from runner_shim import Definitions, job, repository

@job
def made():
    pass

@repository
def lazy():
    return {"jobs": {"made": lambda: made}}

@repository
def other():
    return [made]
"""
FAILED = """\
def load():
    try:
        {}["key"]
    except KeyError:
        import no_such_library_here

load()
"""
FILES = {
    "ready.py": READY + "defs = Definitions(jobs=[known])\n",
    "team.py": TEAM,
    "lazy.py": LAZY,
    "failed.v2.py": FAILED,
    "written.py": "def broken(:\n    pass\n",
    "crashed.py": "import os\nos._exit(3)\n",
    "again.py": "import os\nos._exit(3)\n",
    "killed.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "exits.py": "import sys\nsys.exit('not today')\n",
    "unbuilt.py": job("unbuilt"),
    "requirements.txt": "no requirement at all\n",
    "slow.py": "import time\ndef sleep():\n    time.sleep(1000)\nsleep()\n",
    "loading.py": BEGUN,
    "nowhere.py": job("nowhere"),
    "stopped.py": job("stopped"),
}
REMOTE = {"grpc_server": {"host": "elsewhere.example", "port": 4266, "location_name": "far"}}


@pytest.fixture
def marker() -> Iterator[str]:
    """A word that no other test's processes carry; those that still do at the end are ended."""
    word = uuid.uuid4().hex
    yield word
    for pid in marked(word):
        os.kill(pid, signal.SIGKILL)


class Client:
    """Asks the control socket, and validates what it answers."""

    def __init__(self, address: str, checked: Checked) -> None:
        self._checked = checked
        self._numbers = itertools.count(1)
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._context.destroy(0)

    async def _reply(self, method: str, params: dict[str, Any]) -> Any:
        header = {"v": VERSION, "id": next(self._numbers), "method": method, "params": params}
        await self._socket.send(wire.pack(header))
        async with asyncio.timeout(60):
            return wire.unpack((await self._socket.recv_multipart())[0])

    async def ask(self, document: str, method: str, **params: Any) -> Any:
        reply = await self._reply(method, params)
        return self._checked(document, reply["result"])

    async def refused(self, method: str, **params: Any) -> Any:
        reply = await self._reply(method, params)
        return self._checked("ErrorData", reply["error"])


def entries(folder: Path, marker: str) -> dict[str, Any]:
    """The locations, and what is special of each."""
    own: dict[str, dict[str, Any]] = {
        one.partition(".")[0]: {"relative_path": one} for one in FILES if one.endswith(".py")
    }
    own["ready"] |= {
        "env": {"WS_TEST_MARKER": marker, "PYTHONHASHSEED": "random"},
        "limits": {"memory": "4GiB", "cpu": 2, "open_files": 200},
    }
    own["team"]["attribute"] = "defs"
    own["crashed"]["restart"] = own["killed"]["restart"] = {"max_restarts": 0}
    own["unbuilt"]["environment"] = "unbuilt"
    own["again"]["restart"] = {"initial_delay": 600, "max_delay": 600}
    own["slow"]["load_timeout"] = 1
    own["nowhere"]["executable_path"] = str(folder / "no" / "python")
    return own


# Nothing is verified while one of these is under way.
RESTLESS = {"again": "backoff", "loading": "loading"}
AT_REST = {
    **dict.fromkeys(("ready", "team", "lazy"), "ready"),
    **dict.fromkeys(("failed", "written", "slow", "nowhere", "exits", "unbuilt"), "failed"),
    **dict.fromkeys(("crashed", "killed"), "crashed"),
}


async def in_states(running: Supervised, wanted: Mapping[str, str]) -> None:
    """Wait until each location is in the state that it is there for."""
    here = running.daemon.fleet.locations
    await running.until(
        lambda: all(name in here and here[name].state == wanted[name] for name in wanted),
        str(wanted),
    )


async def at_rest(running: Supervised) -> None:
    """Wait until all is as it is to stay."""
    await in_states(running, AT_REST)
    running["stopped"].stop()
    await running.until(lambda: running["stopped"].state == "stopped", "stopped")
    await running.until(lambda: running["ready"].verification.state == "differs", "it differs")
    running.daemon.fleet.look_for_orphans()
    await running.until(lambda: running["ready"].orphans, "a daemon")


@pytest.mark.slow
async def test_every_answer_is_the_document_that_is_declared(
    tmp_path: Path, runtime: Path, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verifier, "pace", Pace(patience=0.0, every=0.01, calm=lambda: True))
    own = entries(tmp_path, marker)
    workspace = make_workspace(tmp_path, FILES, own)
    environments = {"unbuilt": {"requirements_file": "requirements.txt"}}
    text = workspace_text(own, environments=environments)
    text["load_from"].append(REMOTE)
    resting = {name: own[name] for name in own if name not in RESTLESS}
    save(workspace, json.dumps(workspace_text(resting, environments=environments)))
    checked = Checked()
    async with supervising(workspace, runtime) as running:
        await at_rest(running)
        save(workspace, json.dumps(text))
        running.daemon.reread()
        await in_states(running, RESTLESS)
        address = running.daemon.runtime_directory.control_address
        async with Client(address, checked) as client:
            await looks(client, [*own, "far"])
            # An entry is refused, another is not there any more, or may be the one without a name.
            text["load_from"][1]["python_file"]["load_timeout"] = "long"
            text["load_from"][0] = {"python_fil": {}}
            save(workspace, json.dumps(text))
            running.daemon.reread()
            await running.until(lambda: [*running.daemon.fleet.conditions], "entries are refused")
            whole = await client.ask("StatusDocument", "status")
            assert whole["supervisor"]["configuration_problems"]
            assert whole["supervisor"]["conditions"]
            await orders(client, running)
            await client.ask("Ending", "shutdown", at_once=True)
    unsent = checked.unsent(
        *("StatusDocument", "DefinitionRows", "Shown", "SnapshotHeader", "Diff", "History"),
        *(
            "Settings",
            "EnvironmentRows",
            "Stacks",
            "Orders",
            "Waited",
            "LogChunk",
            "Ending",
            "ErrorData",
        ),
    )
    # No environment here is made from a project; no request here meets an error of configuration.
    of_projects = {f"{one}.project" for one in ("Environment", "EnvironmentRow")}
    served = {"LocationStatus.code_servers", "SupervisorStatus.face"}  # only with a framework's own
    unsent = {one for one in unsent if not one.startswith(("CodeServer", "Face", "ProgramStatus"))}
    # Whether an import takes long enough to be told is the machine's.
    assert unsent - {"Report.imports"} == {*of_projects, *served, "ErrorData.problems"}


async def looks(client: Client, names: list[str]) -> None:
    whole = await client.ask("StatusDocument", "status")
    assert {one["name"] for one in whole["locations"]} == set(names)
    await client.ask("StatusDocument", "status", since=-1, timeout=0)
    for name in names:
        document = await client.ask("StatusDocument", "status", location=name)
        (one,) = document["locations"]
        assert one["log"] is None or "tail" in one["log"]
        assert one["process"] is None or "uss" in one["process"]["memory"]
    await client.ask("DefinitionRows", "list")
    await client.ask("DefinitionRows", "list", kind="schedule", location="team")
    await client.ask("Shown", "show", location="team", name="nightly", kind="job")
    await client.ask("Shown", "show", location="lazy", name="made", repository="lazy")
    await client.ask("SnapshotHeader", "snapshot", location="ready")
    await client.ask("SnapshotHeader", "snapshot", location="team")
    await client.ask("History", "history", location="team")
    await client.ask("History", "history", location="failed")
    for location in names:
        await client.ask("Settings", "settings", location=location)
    await client.ask("EnvironmentRows", "environments")
    for location in ("ready", "nowhere"):
        await client.ask("LogChunk", "logs", location=location)
    await client.ask("LogChunk", "logs", location="ready", lines=1)
    stacks = await client.ask("Stacks", "stacks", location="team")
    assert any("request_loop" in line for line in stacks["lines"])
    await client.refused("stacks", location="nowhere")
    await client.refused("status", location="nobody")
    await client.refused("show", location="team", name="nightli")
    await client.refused("snapshot", location="failed")
    await client.refused("explode")


async def orders(client: Client, running: Supervised) -> None:
    save(running.daemon.spec.directory / "team.py", TEAM.replace("Runs at night", "Runs late"))
    await running.until(lambda: running["team"].generation > 1, "it is loaded again")
    await client.ask("Waited", "wait", locations=["team", "far"], timeout=30)
    await poll(lambda: running["team"].state == "ready", "ready")
    difference = await client.ask("Diff", "diff", location="team")
    assert difference["changed"]
    for order in ("reload", "restart", "stop", "start"):
        await client.ask("Orders", order, locations=["stopped"])
    await client.ask("Waited", "wait", locations=["stopped"], timeout=30)
