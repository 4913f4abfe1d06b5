"""Streams as both clients have them, of a real supervisor."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from types import SimpleNamespace

import pytest
from commands import foreground
from supervised import environ, make_workspace

from supervisor import AsyncClient, Client, NotRunningError, UnknownLocationError

TALKS = """\
import sys
from runner_shim import job, op

@op
def one():
    return 1

@job
def nightly():
    one()

for number in range(30):
    print("line", number, flush=True)
"""


@pytest.fixture
def running(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"talks.py": TALKS})
    with foreground(workspace.parent, runtime) as process:
        process.until(lambda line: line.startswith("talks: ready"))
        yield SimpleNamespace(workspace=workspace, env=environ(runtime), pid=process.pid)


def client_of(running, kind=Client):
    return kind(running.workspace, environ=running.env)


@pytest.mark.slow
def test_status_is_watched_while_other_things_are_asked(running):
    with client_of(running) as client:
        watched = client.watch()
        first = next(watched)
        assert [one["name"] for one in first["locations"]] == ["talks"]
        assert client.reload("talks")  # in the middle of the stream
        generations = (one["locations"][0]["serving"]["generation"] for one in watched)
        assert next(number for number in generations if number == 2) == 2
        watched.close()
        assert client.status()["revision"] >= first["revision"]


def test_a_log_is_followed_from_a_cursor(running):
    with client_of(running) as client:
        lines = (line["text"] for line in client.follow_logs("talks", after=0))
        wanted = [f"line {number}" for number in range(30)]
        printed = (text for text in lines if text.startswith("line "))
        assert list(itertools.islice(printed, 30)) == wanted
        client.reload("talks")
        assert list(itertools.islice(printed, 30)) == wanted


async def test_the_asynchronous_client_follows_several_at_once(running):
    async with client_of(running, AsyncClient) as client:

        async def until_generation_two():
            async for document in client.watch():
                if document["locations"][0]["serving"]["generation"] == 2:
                    break

        async def until_the_last_line():
            async for line in client.follow_logs("talks", after=end):
                if line["text"] == "line 29":
                    break

        end = (await client.logs("talks", lines=0))["next"]
        async with asyncio.timeout(60), asyncio.TaskGroup() as both:
            both.create_task(until_generation_two())
            both.create_task(until_the_last_line())
            await client.reload("talks")


def test_a_stream_of_an_unknown_location_is_refused(running):
    with client_of(running) as client, pytest.raises(UnknownLocationError):
        next(client.follow("talk"))


def test_a_stream_ends_with_the_supervisor(running):
    with client_of(running) as client:
        watched = client.watch()
        next(watched)
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(NotRunningError):
            for _ in watched:
                pass
