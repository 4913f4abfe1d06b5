"""Stable paths of locations: known from names, short enough, and never one for two."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.dagster.sockets import LONGEST, generation_socket, stable_socket

STATE = Path("/srv/team/.supervise/workspace.yaml")
RUNTIME = Path("/run/user/1000/workspace-supervisor/0123456789abcdef")


def test_a_stable_path_lies_in_the_state_directory() -> None:
    path = stable_socket(STATE, RUNTIME, "ml")
    assert path.parent == STATE / "dagster"
    assert path == stable_socket(STATE, Path("/elsewhere"), "ml")


def test_a_path_too_long_for_a_socket_lies_in_the_runtime_directory() -> None:
    for length in range(60, 140):
        state = Path("/" + "s" * (length - 1))
        path = stable_socket(state, RUNTIME, "ml")
        assert len(os.fsencode(path)) <= LONGEST
        assert path.is_relative_to(state) or path.parent == RUNTIME


def test_the_longest_runtime_directory_leaves_room() -> None:
    base = Path("/" + "r" * 72)  # supervisor/runtime_dir.py admits no longer one
    runtime = base / "0123456789abcdef"
    for path in (
        stable_socket(Path("/" + "s" * 200), runtime, "ml"),
        generation_socket(runtime, "1-ab"),
    ):
        assert len(os.fsencode(path)) <= LONGEST


def test_paths_differ_as_names_do() -> None:
    names = ["ml", "ML", "ml ", "mlé", "m/l", ""]
    paths = {stable_socket(STATE, RUNTIME, name) for name in names}
    assert len(paths) == len(names)
    long = Path("/" + "s" * 200)
    assert generation_socket(RUNTIME, "ml") != stable_socket(long, RUNTIME, "ml")
