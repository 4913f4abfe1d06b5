"""Tokens and keys that are revoked, changed or expire: the next request, and what is under way."""

from __future__ import annotations

import asyncio
import json

import pytest
from allowed import NoPlaces
from asking import DEADLINE, connected
from supervised import job, make_workspace, supervising

from supervisor.access.access import Access
from supervisor.access.audit import entries, verify
from supervisor.access.tokens import TokenFile
from supervisor.client.client import AsyncClient
from supervisor.client.locate import Found
from supervisor.curve_keys import KeyDirectory
from supervisor.errors import (
    ForbiddenError,
    UnauthenticatedError,
    UnfitOrderError,
    UnknownLocationError,
)
from supervisor.protocol.methods import METHODS
from supervisor.roles import Role

LISTEN = "tcp://127.0.0.1:*"


def workspace_in(tmp_path):
    return make_workspace(tmp_path, {"a.py": job("one"), "b.py": job("two")})


def found(running) -> Found:
    info = running.daemon.runtime_directory.running()
    return Found(info)


async def ends(stream) -> None:
    """Until the stream ends with what says that the token or key is not valid any more."""
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(UnauthenticatedError, match="revoked or changed, or has expired"):
            async for _ in stream:
                pass


@pytest.mark.slow
async def test_a_token_that_is_revoked_ends_what_is_under_way_and_is_refused(tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime) as running:
        await running.ready()
        tokens = TokenFile(running.daemon.state.path)
        secret = tokens.add("ci", Role.VIEWER, ("a",), None)
        async with (
            AsyncClient(found=found(running), token=secret) as client,
            AsyncClient(found=found(running)) as operator,
        ):
            ours, theirs = client.watch(), operator.watch()
            document = await anext(ours)
            assert [one["name"] for one in document["locations"]] == ["a"]
            await anext(theirs)
            waiting = asyncio.create_task(client.status(since=document["revision"], timeout=30))
            lines = client.follow("a")
            following = asyncio.create_task(ends(lines))
            with pytest.raises(ForbiddenError, match="needs the role editor"):
                await client.reload("a")
            with pytest.raises(UnknownLocationError, match="'b'"):
                await client.history("b")
            tokens.revoke("ci")
            with pytest.raises(UnauthenticatedError, match="was revoked"):
                await client.status()
            await ends(ours)
            await following
            with pytest.raises(UnauthenticatedError):
                await waiting
            running["a"].reload("a test")  # the operator's goes on
            async with asyncio.timeout(DEADLINE):
                await anext(theirs)
            await theirs.aclose()


async def test_a_token_that_expires_ends_what_is_under_way(tmp_path):
    now = [1000.0]
    access = Access(tmp_path, NoPlaces(), clock=lambda: now[0])
    secret = TokenFile(tmp_path).add("brief", Role.VIEWER, ("*",), 1100.0)
    identity = await access.identify(None, {"bearer": secret})
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(UnauthenticatedError, match="has expired"):
            async with access.admitted(identity):
                now[0] = 1100.0
                await asyncio.Event().wait()
        with pytest.raises(UnauthenticatedError, match="has expired"):
            await access.identify(None, {"bearer": secret})
    await access.close()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["revoked", "other locations", "lower role"])
async def test_a_key_counts_as_it_is_now(change, tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime, listen=LISTEN) as running:
        await running.ready()
        keys = KeyDirectory(running.daemon.state.path)
        keys.add_client("laptop", tmp_path / "laptop.keys", Role.EDITOR)
        address = found(running).info["listen"]
        async with AsyncClient(address=address, keys=tmp_path / "laptop.keys") as client:
            assert (await client.reload("a")) == {"a": "reloading"}
            stream = client.watch()
            await anext(stream)
            entry = running.daemon.state.path / "keys" / "clients" / "laptop.pub"
            key = entry.read_text().splitlines()[0]
            if change == "revoked":
                keys.revoke("laptop")
                with pytest.raises(UnauthenticatedError, match="it was revoked"):
                    await client.status()
                await ends(stream)
                return
            grant = {"role": "editor", "locations": ["b"]}
            if change == "lower role":
                grant = {"role": "none", "locations": ["*"]}
            entry.write_text(f"{key}\n{json.dumps(grant)}\n")
            await ends(stream)
            if change == "lower role":
                with pytest.raises(ForbiddenError, match=r"key:laptop \(no role\)"):
                    await client.status()
            else:
                assert (await client.reload()) == {"b": "reloading"}


async def test_a_key_without_a_grant_goes_on_and_is_told_of(tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime, listen=LISTEN) as running:
        await running.ready()
        keys = KeyDirectory(running.daemon.state.path)
        keys.add_client("old", tmp_path / "old.keys", Role.VIEWER)
        entry = running.daemon.state.path / "keys" / "clients" / "old.pub"
        entry.write_text(entry.read_text().splitlines()[0] + "\n")
        async with AsyncClient(
            address=found(running).info["listen"], keys=tmp_path / "old.keys"
        ) as client:
            assert await client.reload("a")
        await running.until(
            lambda: "keys_without_role" in running.daemon.fleet.conditions, "it is said"
        )
        (one,) = running.daemon.fleet.conditions
        assert "may do everything: old" in one.message


@pytest.mark.parametrize(
    "grant", ["{}", "viewer", '{"role": "king", "locations": ["*"]}', "[" * 999]
)
def test_a_grant_that_cannot_be_read_lets_nobody_in(grant, tmp_path):
    keys = KeyDirectory(tmp_path)
    keys.add_client("me", tmp_path / "me.keys", Role.VIEWER)
    entry = tmp_path / "keys" / "clients" / "me.pub"
    key = entry.read_text().splitlines()[0]
    assert keys.client(key) is not None
    entry.write_text(f"{key}\n{grant}\n")
    assert keys.client(key) is None
    assert keys.all() == []


async def test_a_file_of_tokens_that_others_may_write_is_believed_by_nobody(tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime) as running:
        await running.ready()
        secret = TokenFile(running.daemon.state.path).add("ci", Role.ADMIN, ("*",), None)
        file = running.daemon.state.path / "tokens.json"
        file.chmod(0o666)
        file.write_text(file.read_text() + " ")
        async with AsyncClient(found=found(running), token=secret) as client:
            with pytest.raises(UnauthenticatedError, match="cannot read its tokens"):
                await client.status()
            conditions = running.daemon.fleet.conditions
            await running.until(lambda: "tokens_unreadable" in conditions, "it is said")
            file.chmod(0o600)
            file.write_text(file.read_text() + " ")
            assert await client.status()
            await running.until(lambda: "tokens_unreadable" not in conditions, "it is over")


@pytest.mark.parametrize("bearer", ["", "sup_no", 7, "x" * 100_000, ["a"], {}])
async def test_what_is_no_token_is_refused(bearer, tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime) as running:
        address = running.daemon.runtime_directory.control_address
        async with connected(address, bearer=bearer) as peer:
            header, _ = await peer.ask(METHODS["status"], {})
            assert header["error"]["code"] == "unauthenticated"
        async with connected(address, role="king") as peer:
            header, _ = await peer.ask(METHODS["status"], {})
            assert header["error"] == {"code": "protocol", "message": "no role is named 'king'"}


async def test_what_was_done_and_what_was_refused_is_recorded(tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime) as running:
        await running.ready()
        state = running.daemon.state.path
        secret = TokenFile(state).add("ci", Role.LAUNCHER, ("a",), None)
        async with (
            AsyncClient(found=found(running), token=secret) as client,
            AsyncClient(found=found(running), token="sup_wrong") as stranger,
            AsyncClient(found=found(running)) as operator,
        ):
            await client.status()
            with pytest.raises(UnfitOrderError):
                await client.launch("a", "one", config={"password": "hunter2"})
            run = await client.launch("a", "one", tags={"k": "v2"})
            with pytest.raises(UnknownLocationError):
                await client.launch("b", "two")
            for _ in range(30):  # they do not push out what was before
                with pytest.raises(ForbiddenError):
                    await client.reload("a")
            with pytest.raises(UnauthenticatedError):
                await stranger.status()
            await operator.reload()
    told = [
        (one["who"], one["method"], one["location"], one.get("run"), one["result"])
        for one in entries(state)
    ]
    assert told[:4] == [
        ("token:ci", "launch", ["a"], None, "unfit_order"),
        ("token:ci", "launch", ["a"], run.id, "done"),
        ("token:ci", "launch", ["b"], None, "unknown_location"),
        ("token:ci", "reload", ["a"], None, "forbidden"),
    ]
    assert told.count(told[3]) == 18  # and the two before
    assert told[-2:] == [
        ("unknown", "status", [], None, "unauthenticated"),
        ("operator", "reload", ["a", "b"], None, "done"),
    ]
    assert verify(state) == []
    text = (state / "audit.log").read_text()
    assert "hunter2" not in text and "v2" not in text and secret not in text


@pytest.mark.slow
async def test_an_audit_that_cannot_be_written_holds_up_nobody(tmp_path, runtime):
    async with supervising(workspace_in(tmp_path), runtime) as running:
        await running.ready()
        state = running.daemon.state.path
        (state / "audit.log").mkdir()
        conditions = running.daemon.fleet.conditions
        async with AsyncClient(found=found(running)) as operator:
            assert await operator.reload("a")
            await running.until(lambda: "audit_unwritable" in conditions, "it is said")
            assert await operator.reload("b")
            (state / "audit.log").rmdir()
            await running.until(lambda: "audit_unwritable" not in conditions, "it is over")
    assert [one["location"] for one in entries(state)] == [["a"], ["b"]]
    assert verify(state) == []
