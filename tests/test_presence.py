"""The sign of a supervisor that needs no file: one holder of a name, told by the kernel."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from supervised import child_process

from supervisor import presence
from supervisor.presence import Presence, believed, holder_of, holders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")

HOLDER = """\
import asyncio, os, sys
from pathlib import Path
from supervisor.presence import Presence

async def main():
    one = Presence(lambda: {"pid": os.getpid(), "directory": sys.argv[1], "key": "w"})
    print(await one.hold([(Path(sys.argv[1]), "w")]), flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def asked(directory: Path, key: str = "w"):
    return await asyncio.to_thread(holder_of, (directory, key))


async def test_a_name_has_one_holder_who_says_what_it_is(tmp_path):
    one, other = Presence(lambda: {"pid": os.getpid(), "more": "x" * 50_000}), Presence(dict)
    name = (tmp_path, "w")
    assert await one.hold([name, name]) == {}
    assert await one.hold([name]) == {}, "again"
    ((refused, holder),) = (await other.hold([name, (tmp_path, "other")])).items()
    assert refused == name
    assert (holder.pid, holder.uid) == (os.getpid(), os.getuid())
    found = await asked(tmp_path)
    assert found.info == {"pid": os.getpid(), "more": "x" * 50_000}
    assert await asked(tmp_path, "nobody's") is None
    assert await one.hold([(tmp_path, "third")]) == {}
    assert await asked(tmp_path) is None, "given back"
    assert await other.hold([name]) == {}
    one.close()
    other.close()
    assert await asked(tmp_path) is None


async def test_a_holder_that_is_stopped_is_told_of_and_one_that_was_killed_is_not(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with child_process(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "{}\n"
        found = await asyncio.to_thread(holders)
        assert holder.pid in [one.pid for one in found]
        assert holder.pid not in [one.pid for one in holders({holder.pid})]
        os.kill(holder.pid, signal.SIGSTOP)
        found = await asked(tmp_path)
        assert (found.pid, found.info) == (holder.pid, None)
        # So many ask that the kernel has no room for more.
        waiting = []
        try:
            with pytest.raises(BlockingIOError):
                for _ in range(1000):
                    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    waiting.append(one)
                    one.setblocking(False)
                    one.connect(f"\0{presence.socket_name((tmp_path, 'w'))}")
            assert (await asked(tmp_path)).pid == -1
        finally:
            for one in waiting:
                one.close()
        holder.kill()
        holder.wait()
        assert await asked(tmp_path) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
async def test_another_users_name_is_not_believed(tmp_path):
    code = (
        "import os, socket, sys\nos.setuid(40001)\n"
        "one = socket.socket(socket.AF_UNIX); one.bind(chr(0) + sys.argv[1]); one.listen(8)\n"
        "print(flush=True)\ninput()\n"
    )
    name = presence.socket_name((tmp_path, "w"))
    with child_process(
        [sys.executable, "-c", code, name], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as squatter:
        assert squatter.stdout is not None
        squatter.stdout.readline()
        one = Presence(dict)
        ((_, holder),) = (await one.hold([(tmp_path, "w")])).items()
        assert (holder.pid, holder.uid, holder.info) == (squatter.pid, 40001, None)
        assert believed(holder, tmp_path) is None
        assert await asked(tmp_path) is None
        one.close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs a mount namespace")
async def test_the_same_path_in_another_container_is_another_place(tmp_path):
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    private.mkdir()
    for directory, same in ((shared, True), (private, False)):
        mount = f'mount -t tmpfs tmpfs {private} && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", HOLDER]
        with child_process([*command, str(directory)], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"{}\n"
            assert (await asked(directory) is not None) is same


async def test_those_that_ask_wait_while_no_descriptor_is_left(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    one = Presence(lambda: {"pid": os.getpid()})
    assert await one.hold([(tmp_path, "w")]) == {}
    name = presence.socket_name((tmp_path, "w"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.connect(f"\0{name}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert b"pid" in await asyncio.get_running_loop().sock_recv(client, 1000)
    one.close()
