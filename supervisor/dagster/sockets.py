"""Where Dagster's client finds a location: paths that follow from names alone.

Owns the rule. Knows no file system: nothing has to be started, loaded or there for a path to be known.

A location has one *stable* path, for as long as it has its name and the workspace its place; origins and
tags of runs in Dagster's storage contain it. It is a symbolic link to the socket of the server that serves
now, which is another for each generation.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["FOLDER", "LONGEST", "generation_socket", "stable_socket"]

LONGEST = 107
"""Bytes of a socket's path at most: ``sun_path`` of unix(7), without the zero at its end."""

FOLDER = "dagster"
"""The folder of stable paths in the state directory."""

_DIGITS = 10
_SUFFIX = ".sock"


def stable_socket(state: Path, runtime: Path, location: str) -> Path:
    """The path of ``location`` for Dagster's workspace file and clients.

    ``state`` and ``runtime`` are the absolute directories of the workspace (``.supervise/KEY`` and the
    private one of its sockets). It lies in ``state``, which no variable of the environment moves;
    in ``runtime`` where that would be too long for a socket.
    """
    name = _short("location", location) + _SUFFIX
    wanted = state / FOLDER / name
    return wanted if len(bytes(wanted)) <= LONGEST else runtime / name


def generation_socket(runtime: Path, instance: str) -> Path:
    """What the server of the generation with the id ``instance`` binds."""
    return runtime / (_short("generation", instance) + _SUFFIX)


def _short(kind: str, name: str) -> str:
    return hashlib.sha256(f"{kind}\0{name}".encode()).hexdigest()[:_DIGITS]
