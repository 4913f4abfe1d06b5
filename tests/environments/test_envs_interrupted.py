"""Syncs that were damaged, cancelled or killed, and many of one environment at once."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from envs_support import (
    LEMON,
    empty_store,
    fruit_environ,
    fruit_wheels,
    interpreter_path,
    python_says,
    request,
)
from supervised import child_process

from envs import EnvError, EnvironmentStore, Progress, Stage

wheels = pytest.fixture(fruit_wheels)
environ = pytest.fixture(fruit_environ)
store = pytest.fixture(empty_store)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "empty", "other", "moved"])
def test_what_is_not_complete_is_built_anew(damage: str, store: EnvironmentStore) -> None:
    wanted = request("3.11", "lemon", name="risk")
    made = store.sync(wanted)
    marker = made.prefix / ".complete"
    data = json.loads(marker.read_text())
    if damage == "missing":
        marker.unlink()
    elif damage == "empty":
        marker.write_text("")
    elif damage == "other":
        marker.write_text(json.dumps({**data, "schema": 0}))
    else:
        data["interpreter"]["prefix"] = "/elsewhere"
        marker.write_text(json.dumps(data))
    (made.prefix / "leftover").write_text("")
    assert [info.complete for info in store.list()] == [False]
    again = store.sync(wanted)
    assert again.created
    assert not (made.prefix / "leftover").exists()
    assert python_says(again.interpreter.executable, LEMON).startswith("2.0 ")


def test_cancelling_ends_the_tools_and_keeps_the_old_one(
    tmp_path: Path,
    store: EnvironmentStore,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = store.sync(request("3.11", "lemon", name="risk"))
    cancel = threading.Event()
    started = threading.Event()

    def watch(item: Progress) -> None:
        if item.stage == Stage.RESOLVE:
            started.set()
            cancel.set()

    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", "lemon<2", name="risk"), progress=watch, cancel=cancel)
    assert started.is_set()
    assert caught.value.kind == "cancelled"
    assert [info.key for info in store.list()] == [good.key]


def test_a_callback_that_fails_ends_the_sync_cleanly(store: EnvironmentStore) -> None:
    def fail(item: Progress) -> None:
        if item.stage == Stage.RESOLVE:
            raise RuntimeError("the face is gone")

    with pytest.raises(RuntimeError, match="the face is gone"):
        store.sync(request("3.11", "lemon", name="risk"), progress=fail)
    assert store.list() == ()


SYNC = """
import os, sys
from pathlib import Path
from envs import EnvironmentStore, EnvironmentRequest
store = EnvironmentStore(Path(sys.argv[1]), os.environ)
made = store.sync(EnvironmentRequest(name="risk", python=sys.argv[2], requirements=tuple(sys.argv[3:])),
                  progress=lambda item: print("progress", item.stage, item.text, flush=True))
print("created" if made.created else "found", made.key, flush=True)
"""


def sync_process(
    store: EnvironmentStore, environ: dict[str, str], *words: str
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return child_process(
        [sys.executable, "-c", SYNC, str(store.root), str(interpreter_path("3.11")), *words],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_build_it_once(store: EnvironmentStore, environ: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(sync_process(store, environ, "tree")) for _ in range(3)]
        said = [process.communicate(timeout=60)[0] for process in processes]
    answers = [text.splitlines()[-1].split() for text in said]
    assert sorted(word for word, _ in answers) == ["created", "found", "found"]
    assert len({key for _, key in answers}) == 1


def test_many_threads_build_it_once(store: EnvironmentStore) -> None:
    made: list[bool] = []
    wanted = request("3.11", "tree", name="risk")
    threads = [
        threading.Thread(target=lambda: made.append(store.sync(wanted).created)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == [False] * 5 + [True]


def wait_for_death(pipe: int) -> None:
    """Until every process that holds the write end of ``pipe`` is gone; at once where none did."""
    os.set_blocking(pipe, True)
    while os.read(pipe, 4096):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["create", "resolve"])
def test_a_killed_sync_leaves_the_old_one_and_no_process(
    stage: str, tmp_path: Path, store: EnvironmentStore, environ: dict[str, str]
) -> None:
    good = store.sync(request("3.11", "lemon<2", name="risk"))
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    slow_project(tmp_path / "ws" / "slow", fifo)
    words = ["lemon", "./slow"] if stage == "resolve" else ["lemon"]
    with sync_process(store, environ, *words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"progress {stage}"):
                break
        if stage == "resolve":
            # The build backend is running, two processes below the one that is killed.
            assert select.select([reader], [], [], 60)[0]
            assert os.read(reader, 7) == b"started"
    wait_for_death(reader)
    os.close(reader)
    assert (store.root / "risk" / "current").resolve() == good.prefix
    assert python_says(good.interpreter.executable, LEMON).startswith("1.0 ")
    made = store.sync(request("3.11", "lemon", name="risk"))
    assert python_says(made.interpreter.executable, LEMON).startswith("2.0 ")
    store.collect([made.prefix])
    assert [info.key for info in store.list()] == [made.key]


def slow_project(folder: Path, fifo: Path) -> None:
    """A project whose in-tree build backend says that it has begun, and never ends."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "slow"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(
        "import signal\n"
        f"stream = open({str(fifo)!r}, 'w')\n"
        "stream.write('started')\nstream.flush()\n"
        "signal.pause()\n"
    )
