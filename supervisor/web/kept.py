"""What is known of a workspace while no supervisor runs: the snapshots that the last one kept.

Owns where they lie and how a location looks of which nothing else is known. Writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from supervisor.client.locate import Identity
from supervisor.errors import ConfigurationError
from supervisor.snapshots.rows import STORE, newest_kept
from supervisor.state_place import own_state

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus
    from supervisor.snapshots.snapshot import Snapshot

__all__ = ["kept_location", "kept_snapshots"]


async def kept_snapshots(identity: Identity) -> dict[str, Snapshot]:
    """The newest snapshot of each location of the workspace ``identity``, none where none can be read."""
    return await asyncio.to_thread(_read, identity)


def _read(identity: Identity) -> dict[str, Snapshot]:
    for directory, key in identity.places:
        with contextlib.suppress(ConfigurationError):  # another user's
            if found := newest_kept(own_state(directory, key) / STORE):
                return found
    return {}


def kept_location(snapshot: Snapshot) -> LocationStatus:
    """The location of ``snapshot``, as far as that tells."""
    report = snapshot.report
    return {
        "name": snapshot.location,
        "target": None,
        "remote": None,
        "form": "",
        "origin": None,
        "tags": {},
        "metadata": {},
        "state": "stopped",
        "reason": "no supervisor runs",
        "since": snapshot.loaded_at,
        "generation": snapshot.generation,
        "serving": {
            "generation": snapshot.generation,
            "fingerprint": snapshot.fingerprint,
            "loaded_at": snapshot.loaded_at,
            "load_seconds": report.get("load_seconds"),
            "start_seconds": None,
            "alive": False,
            "counts": dict(snapshot.counts),
            "size": snapshot.size,
            "python": report.get("python", ""),
            "frameworks": report.get("frameworks", []),
        },
        "failure": None,
        "process": None,
        "restarts": 0,
        "restart_reason": "",
        "next_restart": None,
        "limits": {},
        "strays": [],
        "environment": None,
        "verification": None,
        "code_servers": None,
        "warnings": snapshot.warnings,
        "conditions": [],
        "log": None,
    }
