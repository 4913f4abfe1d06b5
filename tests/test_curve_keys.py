"""TCP with CURVE: who gets in, who does not, and where the keys lie."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from pathlib import Path

import pytest
import zmq
import zmq.asyncio
from allowed import access_in
from commands import supervise
from supervised import DEADLINE, GOOD, Supervised, environ, make_workspace

from runner_shim import wire
from supervisor.client.client import AsyncClient, Client
from supervisor.client.requests import VERSION
from supervisor.curve_keys import ClientKeys, KeyDirectory
from supervisor.errors import ConfigurationError, RequestTimeoutError
from supervisor.protocol.methods import METHODS
from supervisor.roles import Role
from supervisor.server.daemon import Daemon
from supervisor.server.remote_control import RemoteControl
from supervisor.server.rpc import Control
from supervisor.workspace_files import Selection

LOOPBACK = "tcp://127.0.0.1:*"
# How long one that must not be answered is waited for (seconds): answers come within milliseconds.
SILENCE = 1.0


async def echo(params):
    return {"params": {name: one for name, one in params.items() if one is not None}}, []


@contextlib.asynccontextmanager
async def serving(directory: Path):
    access = access_in(directory)
    remote = RemoteControl(LOOPBACK, {"status": (METHODS["status"], echo)}, access)
    remote.start()
    try:
        yield remote
    finally:
        await remote.close()
        await access.close()


async def asked(address: str, prepare=lambda one: None, within: float = 30.0):
    """The reply to one request, or None."""
    context = zmq.asyncio.Context()
    one = context.socket(zmq.DEALER)
    one.setsockopt(zmq.LINGER, 0)
    prepare(one)
    one.connect(address)
    try:
        await one.send(wire.pack({"v": VERSION, "id": 1, "method": "status"}))
        header, *_ = await asyncio.wait_for(one.recv_multipart(), within)
        return wire.unpack(header)
    except TimeoutError:
        return None
    finally:
        one.close()
        context.term()


async def test_a_client_with_keys_is_answered(tmp_path):
    keys = KeyDirectory(tmp_path / "state")
    async with serving(tmp_path / "state") as remote:
        # Added while it runs.
        keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
        mine = ClientKeys.read(tmp_path / "laptop.keys")
        assert mine.server == remote.public
        assert (await asked(remote.address, mine.apply))["result"] == {"params": {"timeout": 30.0}}


@pytest.mark.slow
async def test_nobody_else_is(tmp_path):
    keys = KeyDirectory(tmp_path / "state")
    async with serving(tmp_path / "state") as remote:
        keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
        mine = ClientKeys.read(tmp_path / "laptop.keys")
        public, secret = (one.decode() for one in zmq.curve_keypair())
        strangers = {
            "plain": lambda one: None,
            "unknown key": ClientKeys(remote.public, public, secret).apply,
            "another's public key": ClientKeys(remote.public, mine.public, secret).apply,
            "another server's key": ClientKeys(public, mine.public, mine.secret).apply,
            "password": lambda one: (
                one.setsockopt(zmq.PLAIN_USERNAME, b"admin"),
                one.setsockopt(zmq.PLAIN_PASSWORD, b"admin"),
            ),
        }
        for who, prepare in strangers.items():
            assert await asked(remote.address, prepare, SILENCE) is None, who
        # Bytes that are not ZeroMQ's, and one that says nothing.
        host, _, port = remote.address.removeprefix("tcp://").rpartition(":")
        for noise in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(2000), b""):
            with socket.create_connection((host, int(port))) as one:
                one.sendall(noise)
        assert await asked(remote.address, mine.apply)


async def test_one_that_is_revoked_is_not_let_in_again(tmp_path):
    keys = KeyDirectory(tmp_path)
    async with serving(tmp_path) as remote:
        keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
        mine = ClientKeys.read(tmp_path / "laptop.keys")
        assert await asked(remote.address, mine.apply)
        (tmp_path / "keys" / "clients" / "laptop.pub").unlink()
        assert await asked(remote.address, mine.apply, SILENCE) is None


def test_keys_are_private_and_stay(tmp_path):
    before = os.umask(0)
    try:
        keys = KeyDirectory(tmp_path)
        first = keys.server()
        keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
    finally:
        os.umask(before)
    assert KeyDirectory(tmp_path).server() == first
    for name, mode in (("keys", 0o700), ("keys/clients", 0o700), ("keys/server.key", 0o600)):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "laptop.keys").stat().st_mode) == 0o600
    assert ClientKeys.read(tmp_path / "laptop.keys").secret not in repr(
        ClientKeys.read(tmp_path / "laptop.keys")
    )
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "laptop.keys",
        "laptop.pub",
        "server.key",
    ]


def test_keys_are_private_from_their_first_moment(tmp_path, monkeypatch):
    """Made private, not made and then closed: nothing may change a mode, and the umask takes none."""

    def never(*_args, **_more):
        raise AssertionError("the mode of what was there already was changed")

    for where, name in ((os, "chmod"), (os, "fchmod"), (Path, "chmod")):
        monkeypatch.setattr(where, name, never)
    state = tmp_path / "state"
    state.mkdir(0o700)
    before = os.umask(0)
    try:
        keys = KeyDirectory(state)
        keys.server()
        keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in (state / "keys", state / "keys" / "clients", state / "keys" / "server.key")
    }
    assert modes == {
        "state/keys": 0o700,
        "state/keys/clients": 0o700,
        "state/keys/server.key": 0o600,
    }
    assert stat.S_IMODE((tmp_path / "laptop.keys").stat().st_mode) == 0o600


def test_keys_that_others_may_read_are_refused(tmp_path):
    keys = KeyDirectory(tmp_path)
    keys.server()
    keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
    for path in (tmp_path / "keys" / "server.key", tmp_path / "laptop.keys"):
        path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others than you may read these keys"):
        keys.server()
    with pytest.raises(ConfigurationError, match="others than you may read these keys"):
        ClientKeys.read(tmp_path / "laptop.keys")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"public": 1, "secret": []}', "\0" * 9000])
def test_what_holds_no_keys_is_refused(tmp_path, text):
    file = tmp_path / "keys" / "server.key"
    KeyDirectory(tmp_path).server()
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="holds no keys"):
        KeyDirectory(tmp_path).server()
    with pytest.raises(ConfigurationError, match="holds no keys of a client"):
        ClientKeys.read(file)


def test_nothing_is_overwritten_and_no_link_followed(tmp_path):
    keys = KeyDirectory(tmp_path / "state")
    mine = tmp_path / "mine"
    mine.write_text("precious")
    with pytest.raises(ConfigurationError, match="cannot be written: file exists"):
        keys.add_client("laptop", mine, Role.VIEWER)
    assert mine.read_text() == "precious"
    keys.add_client("laptop", tmp_path / "laptop.keys", Role.VIEWER)
    with pytest.raises(ConfigurationError, match="laptop has keys already"):
        keys.add_client("laptop", tmp_path / "again.keys", Role.VIEWER)
    (tmp_path / "link.keys").symlink_to(tmp_path / "laptop.keys")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ClientKeys.read(tmp_path / "link.keys")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a\nb"])
def test_names_that_are_no_file_names(tmp_path, name):
    with pytest.raises(ConfigurationError, match="cannot be a client's name"):
        KeyDirectory(tmp_path).add_client(name, tmp_path / "file", None)


@pytest.mark.parametrize("address", ["tcp://", "127.0.0.1:1", "ipc:///tmp/x", "tcp://a:b", "*"])
async def test_addresses_that_are_none(tmp_path, address):
    with pytest.raises(ConfigurationError, match="is no TCP address"):
        RemoteControl(address, {}, access_in(tmp_path))


async def test_a_port_that_is_taken(tmp_path):
    async with serving(tmp_path) as remote:
        with pytest.raises(ConfigurationError, match="cannot be had: address already in use"):
            RemoteControl(remote.address, {}, access_in(tmp_path))


async def test_without_a_front_there_is_no_tcp(tmp_path):
    context = zmq.asyncio.Context()
    with pytest.raises(ValueError, match="is no local address"):
        Control(context, LOOPBACK, {}, access_in(tmp_path))
    context.destroy(linger=0)


@pytest.mark.slow
async def test_the_whole_way(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    done = await asyncio.to_thread(
        supervise,
        "keys",
        "add",
        "laptop",
        "--role",
        "editor",
        "-w",
        str(workspace),
        cwd=tmp_path,
        runtime=runtime,
    )
    assert done.returncode == 0, done.stderr
    file = tmp_path / "laptop.keys"
    assert done.stdout.strip() == str(file)
    daemon = Daemon(
        Selection(files=(workspace,)), cwd=tmp_path, environ=environ(runtime), listen=LOOPBACK
    )
    run = asyncio.create_task(daemon.run())
    try:
        await asyncio.wait_for(daemon.started.wait(), DEADLINE)
        await Supervised(daemon).ready()
        address = daemon.runtime_directory.running()["listen"]

        def ask() -> tuple[str, int]:
            with Client(address=address, keys=file) as client:
                (location,) = client.status()["locations"]
                return location["state"], len(client.snapshot("a").index())

        assert await asyncio.to_thread(ask) == ("ready", 1)
        async with AsyncClient(address=address, keys=str(file)) as client:
            assert (await client.wait())["ready"]
        data = json.loads(file.read_text())
        public, secret = (one.decode() for one in zmq.curve_keypair())
        file.write_text(json.dumps({**data, "public": public, "secret": secret}))
        async with AsyncClient(address=address, keys=file, timeout=SILENCE) as client:
            with pytest.raises(RequestTimeoutError, match="did not answer 'status'"):
                await client.status(timeout=0)
    finally:
        daemon.shutdown(at_once=True)
        await asyncio.wait_for(run, DEADLINE)
    with pytest.raises(ValueError, match="with keys only"):
        Client(address=address)
