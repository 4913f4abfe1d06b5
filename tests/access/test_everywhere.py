"""Every declared method, asked by every role about its own location and about another's, over each socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import connected, expected, outcome, params_of
from supervised import Supervised, job, make_workspace, supervising

from supervisor.access.tokens import TokenFile
from supervisor.curve_keys import ClientKeys, KeyDirectory
from supervisor.protocol.methods import METHODS, Scope
from supervisor.roles import Role

LISTEN = "tcp://127.0.0.1:*"
OWN, OTHER = "team-a-jobs", "team-b-jobs"
SLEEPER = """\
import time
from runner_shim import job, op

@op
def wait():
    time.sleep(600)

@job
def sleepy():
    wait()
"""


@contextlib.asynccontextmanager
async def two_teams(tmp_path, runtime) -> AsyncIterator[tuple[Supervised, dict[str, str]]]:
    """A supervisor of a location of each team, and a run that has ended of each."""
    workspace = make_workspace(
        tmp_path,
        {"own.py": job("nightly"), "other.py": job("nightly")},
        {OWN: {"relative_path": "own.py"}, OTHER: {"relative_path": "other.py"}},
    )
    async with supervising(workspace, runtime, listen=LISTEN) as running:
        await running.ready()
        runs = {}
        for name in (OWN, OTHER):
            reply, _ = await running.methods.launch({"location": name, "job": "nightly"})
            runs[name] = reply["run"]["run"]
            while not (await running.methods.run({"run": runs[name], "timeout": 30}))[0]["ended"]:
                pass
        yield running, runs


def addresses(running: Supervised) -> tuple[str, str]:
    """Of ipc and of TCP."""
    runtime_directory = running.daemon.runtime_directory
    info = runtime_directory.running()
    return runtime_directory.control_address, info["listen"]


async def judged(peer, role: Role | None, runs, everywhere: bool) -> dict[tuple[str, str], Any]:
    """Each method and location at which what was answered is not what the rules say."""
    wrong = {}
    for method in METHODS.values():
        if Scope.SUPERVISOR in method.scopes and role is Role.ADMIN and everywhere:
            continue  # it would end; the last test does
        for location in (OTHER, OWN):
            header, _ = await peer.ask(method, params_of(method, location, runs[location]))
            wanted = expected(method, role, location == OWN, everywhere)
            if outcome(header) != wanted:
                wrong[method.name, location] = wanted, header
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("everywhere", [False, True], ids=["own", "everywhere"])
async def test_tokens_and_keys_may_what_their_role_says(everywhere, tmp_path, runtime):
    patterns = ("*",) if everywhere else ("team-a-*",)
    async with two_teams(tmp_path, runtime) as (running, runs):
        ipc, tcp = addresses(running)
        state = running.daemon.state.path
        tokens, keys = TokenFile(state), KeyDirectory(state)
        keys.add_client("page", tmp_path / "page.keys", None)
        page = ClientKeys.read(tmp_path / "page.keys")
        for role in Role:
            secret = tokens.add(role.value, role, patterns, None)
            keys.add_client(role.value, tmp_path / f"{role.value}.keys", role, patterns)
            mine = ClientKeys.read(tmp_path / f"{role.value}.keys")
            ways = {
                "token over ipc": connected(ipc, bearer=secret),
                "key": connected(tcp, mine),
            }
            if role is Role.EDITOR:
                ways["token over TCP"] = connected(tcp, page, bearer=secret)
            if everywhere:
                ways["operator with less"] = connected(ipc, role=role.value)
            for way, connecting in ways.items():
                async with connecting as peer:
                    assert await judged(peer, role, runs, everywhere) == {}, (way, role)
        async with connected(tcp, page) as peer:
            assert await judged(peer, None, runs, everywhere=True) == {}
        async with connected(ipc) as peer:
            assert await judged(peer, Role.ADMIN, runs, everywhere=True) == {}


@pytest.mark.slow
async def test_the_names_of_other_locations_are_told_to_nobody_else(tmp_path, runtime):
    async with two_teams(tmp_path, runtime) as (running, runs):
        ipc, _ = addresses(running)
        secret = TokenFile(running.daemon.state.path).add("ci", Role.ADMIN, ("team-a-*",), None)
        async with connected(ipc, bearer=secret) as peer:
            for method in METHODS.values():
                asked = [params_of(method, OWN, runs[OWN])]
                if method.scopes & {Scope.LOCATION, Scope.LOCATIONS}:
                    absent = dict.fromkeys(("location", "locations"))
                    asked.append({k: v for k, v in asked[0].items() if k not in absent})
                    near = params_of(method, "team-a-job", runs[OWN])  # not there; two are alike
                    asked.append(near)
                for params in asked:
                    header, data = await peer.ask(method, params)
                    assert b"team-b" not in data, (method.name, params, header)
                    assert b"other.py" not in data, (method.name, params, header)
                    assert runs[OTHER].encode() not in data, (method.name, params)


@pytest.mark.slow
async def test_what_is_not_allowed_and_what_is_not_there_cannot_be_told_apart(tmp_path, runtime):
    async with two_teams(tmp_path, runtime) as (running, runs):
        ipc, _ = addresses(running)
        secret = TokenFile(running.daemon.state.path).add("ci", Role.ADMIN, ("team-a-*",), None)
        nowhere, no_run = "team-b-jobx", runs[OTHER][:-1] + "%"
        async with connected(ipc, bearer=secret) as peer:
            for method in METHODS.values():
                told = []
                for location, run in ((OTHER, runs[OTHER]), (nowhere, no_run)):
                    header, _ = await peer.ask(method, params_of(method, location, run))
                    text = repr({**header, "id": 0})
                    told.append(text.replace(location, "LOCATION").replace(run, "RUN"))
                if not method.scopes & {Scope.CLIENT, Scope.SUPERVISOR}:
                    assert told[0] == told[1], method.name
                    assert "error" in header, method.name


@pytest.mark.slow
async def test_runs_are_found_among_those_that_may_be_seen(tmp_path, runtime):
    async with two_teams(tmp_path, runtime) as (running, runs):
        ipc, _ = addresses(running)
        secret = TokenFile(running.daemon.state.path).add("ci", Role.LAUNCHER, ("team-a-*",), None)
        async with connected(ipc, bearer=secret) as peer:
            for name in (runs[OTHER], runs[OTHER][-4:]):
                header, _ = await peer.ask(METHODS["runs"], {"parent": name})
                assert header["error"]["code"] == "unknown_run"
            # Both have this beginning, and one of them is all that there is.
            header, _ = await peer.ask(METHODS["run"], {"run": runs[OWN][:4]})
            assert header["result"]["run"] == runs[OWN]
            header, _ = await peer.ask(METHODS["runs"], {})
            assert [one["run"] for one in header["result"]["runs"]] == [runs[OWN]]


@pytest.mark.slow
async def test_a_run_says_who_cancelled_it_and_not_who_was_claimed(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"own.py": SLEEPER}, {OWN: {"relative_path": "own.py"}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        address = running.daemon.runtime_directory.control_address
        secret = TokenFile(running.daemon.state.path).add("ci", Role.LAUNCHER, ("team-a-*",), None)
        async with connected(address, bearer=secret) as peer:
            header, _ = await peer.ask(METHODS["launch"], {"location": OWN, "job": "sleepy"})
            run = header["result"]["run"]["run"]
            asked = {"run": run, "now": True, "who": "operator"}
            await peer.ask(METHODS["cancel_run"], asked)
            header, _ = await peer.ask(METHODS["run"], {"run": run, "timeout": 60})
            assert header["result"]["reason"] == "cancelled by token:ci"


@pytest.mark.slow
async def test_an_order_for_all_is_for_all_that_may_be_ordered(tmp_path, runtime):
    async with two_teams(tmp_path, runtime) as (running, _runs):
        ipc, _ = addresses(running)
        tokens = TokenFile(running.daemon.state.path)
        for patterns, names in (
            (("team-a-*",), [OWN]),
            (("team-c-*",), []),
            (("*",), [OWN, OTHER]),
        ):
            secret = tokens.add(f"of-{len(names)}", Role.EDITOR, patterns, None)
            async with connected(ipc, bearer=secret) as peer:
                header, _ = await peer.ask(METHODS["reload"], {})
                assert list(header["result"]["locations"]) == names
                header, _ = await peer.ask(METHODS["wait"], {"timeout": 0})
                assert list(header["result"]["locations"]) == names


@pytest.mark.slow
async def test_only_an_admin_of_all_ends_the_supervisor(tmp_path, runtime):
    async with two_teams(tmp_path, runtime) as (running, _runs):
        ipc, _ = addresses(running)
        secret = TokenFile(running.daemon.state.path).add("boss", Role.ADMIN, ("*",), None)
        async with connected(ipc, bearer=secret) as peer:
            header, _ = await peer.ask(METHODS["shutdown"], {})
            assert "result" in header
        assert running.daemon.stopping
