"""Snapshots to keep, and a store that has nothing to complain of."""

from __future__ import annotations

import pytest

from runner_shim import wire
from supervisor.snapshots.snapshot import Snapshot, accept
from supervisor.snapshots.store import SnapshotStore

__all__ = ["no_trouble", "reopened", "snapshot"]


def snapshot(location: str, generation: int, *names: str) -> Snapshot:
    document = {
        "format": 1,
        "repositories": [],
        "definitions": [{"kind": "job", "name": name} for name in names],
    }
    return accept(
        location,
        generation,
        report={"python": "3.8.1", "files": ["/a.py"], "warnings": []},
        definitions=wire.pack(document),
        sources=wire.pack({"job:a": ["a.py", 3]}),
        loaded_at=1000.5,
    )


def no_trouble(key: str, text: str | None) -> None:
    pytest.fail(text)


async def reopened(path, trouble=no_trouble):
    store = SnapshotStore(path, trouble)
    found = await store.open()
    return store, found
