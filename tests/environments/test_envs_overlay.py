"""The runtime overlay: for each interpreter, made once, checked, and never half there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from envs_support import interpreter_path, online_environ, private_environ, python_says

from envs import (
    EnvError,
    Interpreter,
    Progress,
    Stage,
    ensure_overlay,
    interpreters,
    overlay,
    probe,
)

IMPORT = """
import sys
sys.path.append(sys.argv[1])
import zmq, msgpack
assert zmq.__file__.startswith(sys.argv[1]) and msgpack.__file__.startswith(sys.argv[1])
import msgpack._cmsgpack
context = zmq.Context()
one, two = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
one.bind("inproc://a"); two.connect("inproc://a")
one.send(msgpack.packb({"a": 1})); print(msgpack.unpackb(two.recv(), raw=False))
one.close(); two.close(); context.term()
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return private_environ(tmp_path / "home", UV_OFFLINE="1")


@pytest.fixture
def own(environ: dict[str, str]) -> Interpreter:
    """The base of the Python that runs the tests: of our own ABI, and without our packages."""
    running = probe(sys.executable, environ=environ)
    return probe(running.real_executable, environ=environ)


def test_same_abi_is_copied_without_network(
    tmp_path: Path, environ: dict[str, str], own: Interpreter
) -> None:
    told: list[Progress] = []
    made = ensure_overlay(own, environ=environ, progress=told.append)
    assert made == tmp_path / "home/cache/workspace-supervisor/overlays" / overlay.overlay_key(own)
    assert python_says(own.executable, IMPORT, str(made)) == "{'a': 1}"
    assert {item.stage for item in told} == {Stage.OVERLAY}
    assert sorted(item.name for item in made.iterdir() if not item.name.startswith(".")) == sorted(
        item.name for item in made.iterdir() if item.name.startswith(("zmq", "pyzmq", "msgpack"))
    )
    assert not list(made.rglob("*.pyi"))
    assert list(made.rglob("*.pyc"))
    assert not (made / "zmq" / "tests").exists()
    assert sorted(os.listdir(made.parent)) == sorted([made.name, f"{made.name}.lock"])


def test_the_second_time_starts_no_process(
    environ: dict[str, str], own: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure_overlay(own, environ=environ)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert ensure_overlay(own, environ=environ) == made


def test_a_virtualenv_shares_its_bases_overlay(
    tmp_path: Path, environ: dict[str, str], own: Interpreter
) -> None:
    running = probe(sys.executable, environ=environ)
    assert overlay.overlay_key(running) == overlay.overlay_key(own)
    assert overlay.overlay_key(replace(own, soabi="cpython-38d")) != overlay.overlay_key(own)
    assert overlay.overlay_key(replace(own, libc="musl")) != overlay.overlay_key(own)
    assert overlay.overlay_key(replace(own, version=(3, 99, 0))) != overlay.overlay_key(own)


def test_what_an_interrupted_maker_left_is_made_anew(
    environ: dict[str, str], own: Interpreter
) -> None:
    made = ensure_overlay(own, environ=environ)
    (made / ".complete").unlink()
    shutil.rmtree(made / "zmq" / "sugar")
    leftover = made.parent / f".{made.name}-123"
    leftover.mkdir()
    assert ensure_overlay(own, environ=environ) == made
    assert python_says(own.executable, IMPORT, str(made)) == "{'a': 1}"
    assert not leftover.exists()


def test_many_makers_make_one(environ: dict[str, str], own: Interpreter, tmp_path: Path) -> None:
    told: list[Progress] = []
    made: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: made.append(
                ensure_overlay(own, environ=environ, cache_dir=tmp_path / "o", progress=told.append)
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 4
    assert len(set(made)) == 1
    assert sum(item.text.startswith("making") for item in told) == 1


def test_without_network_another_abi_is_an_error_that_says_why(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    other = probe(
        interpreter_path("3.8" if sys.version_info[:2] != (3, 8) else "3.9"), environ=environ
    )
    environ["UV_CACHE_DIR"] = str(tmp_path / "empty")
    with pytest.raises(EnvError) as caught:
        ensure_overlay(other, environ=environ)
    error = caught.value
    assert error.kind == "overlay"
    assert other.version_text in str(error)
    assert "pyzmq" in error.detail
    assert error.hint
    assert not [
        name
        for name in os.listdir(tmp_path / "home/cache/workspace-supervisor/overlays")
        if not name.endswith(".lock")
    ]


def test_wheels_that_do_not_load_are_not_kept(
    tmp_path: Path, environ: dict[str, str], own: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(building: Path) -> bool:
        (building / "zmq.py").write_text("raise ImportError('wrong ELF class')")
        return True

    monkeypatch.setattr(overlay, "copy_installed", broken)
    with pytest.raises(EnvError) as caught:
        ensure_overlay(own, environ=environ, cache_dir=tmp_path / "o")
    assert caught.value.kind == "overlay"
    assert "wrong ELF class" in caught.value.detail
    assert [name for name in os.listdir(tmp_path / "o") if not name.endswith(".lock")] == []


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, environ: dict[str, str], own: Interpreter
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvError) as caught:
        ensure_overlay(own, environ=environ, cache_dir=tmp_path / "file" / "o")
    assert caught.value.kind == "storage"


@pytest.mark.parametrize(
    "version",
    [
        "3.8",
        # One is enough of what waits for the network.
        *(
            pytest.param(version, marks=pytest.mark.slow)
            for version in ("3.6", "3.7", "3.9", "3.10", "3.11", "3.12", "3.13")
        ),
    ],
)
def test_for_every_interpreter_from_the_index(version: str, tmp_path: Path) -> None:
    environ = online_environ(tmp_path / "home")
    # What a team's own settings do to the choice of versions must not reach ours.
    environ.update(UV_REQUIRE_HASHES="1", PYTHONPATH="/nowhere", VIRTUAL_ENV="/nowhere")
    found = probe(interpreter_path(version), environ=environ)
    made = ensure_overlay(found, environ=environ, copy_own=False)
    assert python_says(found.executable, IMPORT, str(made)) == "{'a': 1}"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.6", "3.13"])
def test_pip_makes_it_where_uv_is_absent(version: str, tmp_path: Path) -> None:
    environ = online_environ(tmp_path / "home")
    found = probe(interpreter_path(version), environ=environ)
    made = ensure_overlay(found, environ=environ, copy_own=False, installer="pip")
    assert python_says(found.executable, IMPORT, str(made)) == "{'a': 1}"


def test_cancelled_before_it_begins(environ: dict[str, str], own: Interpreter) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(EnvError) as caught:
        ensure_overlay(own, environ=environ, copy_own=False, cancel=cancel)
    assert caught.value.kind == "cancelled"
    assert interpreters.own_abi()["soabi"] == own.soabi
