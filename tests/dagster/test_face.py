"""What ``--dagster`` alone adds: the written workspace files, kept true, and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import yaml
from commands import foreground
from supervised import BEGUN, make_workspace, poll, supervising

from supervisor.dagster.face import Face
from supervisor.dagster.sockets import stable_socket
from supervisor.face_settings import Listen

EMPTY = "import sys\n"


def free_ports(count: int) -> int:
    """The first of ``count`` that are free one after the other."""
    while True:
        with contextlib.ExitStack() as closing, contextlib.suppress(OSError):
            first = closing.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for number in range(1, count):
                closing.enter_context(socket.create_server(("127.0.0.1", first + number)))
            return int(first)


def entries(path: Path) -> dict[str, Any]:
    """Name to entry, of a written file."""
    found = yaml.safe_load(path.read_text())["load_from"]
    return {one["grpc_server"].pop("location_name"): one["grpc_server"] for one in found}


async def test_the_file_is_there_before_anything_is_loaded_and_is_kept_true(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"risk.py": BEGUN, "ml.py": EMPTY})
    face = Face()
    async with supervising(workspace, runtime, face=face) as supervised:
        await supervised.until(lambda: supervised["risk"].state == "loading", "risk is loading")
        assert entries(face.document).keys() == {"ml", "risk"}
        (tmp_path / "go").touch()
        await supervised.settled()
        state, sockets = supervised.daemon.state.path, supervised.daemon.runtime_directory.path
        assert entries(face.document)["ml"] == {"socket": str(stable_socket(state, sockets, "ml"))}
        make_workspace(tmp_path, {"ml.py": EMPTY, "new.py": EMPTY})
        await poll(lambda: entries(face.document).keys() == {"ml", "new"}, "new for risk")
        face.document.unlink()
        await poll(face.document.exists, "the file is made anew")


async def test_the_workspace_file_asks_for_it_and_says_when_that_changes(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"risk.py": EMPTY})
    entries_of = workspace.read_text()
    port = free_ports(1)
    workspace.write_text(f"dagster: {{listen: {port}}}\n{entries_of}")
    async with supervising(workspace, runtime) as supervised:
        await supervised.settled()
        face = supervised.daemon.face
        assert face is not None
        assert entries(face.document).keys() == {"risk"}
        there = face.document.with_name("dagster-workspace-tcp.yaml")
        assert entries(there)["risk"] == {"host": "127.0.0.1", "port": port}

        def told() -> bool:
            conditions = supervised.daemon.fleet.conditions
            return any("`dagster` has changed" in one.message for one in conditions)

        assert not told()
        workspace.write_text(f"dagster: {{serve: false}}\n{entries_of}")
        await supervised.until(told, "that it has changed")
        workspace.write_text(f"dagster: {{listen: {port}}}\n{entries_of}")
        await supervised.until(lambda: not told(), "that it is as it was")


async def test_a_location_that_is_served_elsewhere_is_passed_on(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"risk.py": EMPTY})
    text = yaml.safe_load(workspace.read_text())
    there = {"host": "warehouse.internal", "port": 4266, "ssl": True}
    text["load_from"].append({"grpc_server": {**there, "location_name": "warehouse"}})
    workspace.write_text(yaml.safe_dump(text))
    face = Face()
    async with supervising(workspace, runtime, face=face):
        assert entries(face.document)["warehouse"] == there


async def test_a_location_keeps_its_port_over_restarts(tmp_path: Path, runtime: Path) -> None:
    first = free_ports(3)
    listen = Listen("127.0.0.1", first)
    workspace = make_workspace(tmp_path, {"a.py": EMPTY, "b.py": EMPTY})
    for names in (["a", "b"], ["b"], ["b", "c"], ["a", "b", "c"]):
        make_workspace(tmp_path, dict.fromkeys((f"{name}.py" for name in names), EMPTY))
        face = Face(listen=listen)
        async with supervising(workspace, runtime, face=face):
            found = entries(face.document.with_name("dagster-workspace-tcp.yaml"))
            expected = {"a": first, "b": first + 1, "c": first + 2}
            assert {name: one["port"] for name, one in found.items()} == {
                name: expected[name] for name in names
            }
            assert {one["host"] for one in found.values()} == {"127.0.0.1"}


async def test_what_is_served_at_the_socket_is_served_at_the_port(
    tmp_path: Path, runtime: Path
) -> None:
    port = free_ports(1)
    workspace = make_workspace(tmp_path, {"risk.py": EMPTY})
    face = Face(listen=Listen("127.0.0.1", port))
    async with supervising(workspace, runtime, face=face) as supervised:
        state, sockets = supervised.daemon.state.path, supervised.daemon.runtime_directory.path
        path = stable_socket(state, sockets, "risk")
        path.parent.mkdir(exist_ok=True)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"served")
            writer.close()

        async def asked() -> bytes:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                return b""
            found = await reader.read()
            writer.close()
            return found

        async with await asyncio.start_unix_server(answer, path):
            answers = [b""]
            async with asyncio.timeout(60):
                while answers[-1] != b"served":
                    answers.append(await asked())


def test_the_command_says_where_the_files_are(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"risk.py": EMPTY})
    port = free_ports(1)
    with foreground(tmp_path, runtime, "--dagster-listen", str(port)) as supervisor:
        line = supervisor.until(lambda line: "the workspace file is" in line)
        assert entries(Path(line.split()[-1])).keys() == {"risk"}
        line = supervisor.until(lambda line: "the one for other machines is" in line)
        assert entries(Path(line.split()[-1]))["risk"] == {"host": "127.0.0.1", "port": port}
    refused = supervisor.run("--dagster-listen", "nowhere")
    assert refused.returncode == 2
    assert "'nowhere' is no port: say 4000, or 10.0.0.5:4000" in refused.stderr
