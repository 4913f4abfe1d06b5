"""The workspace file for Dagster's own programs: where each of our locations is served.

Owns its text: a ``grpc_server`` entry for each location, under the name that it has here. Pure; ``written``
keeps the file on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.specs import RemoteEndpoint

__all__ = ["NAME", "Listed", "workspace_document"]

NAME = "dagster-workspace.yaml"
"""The file's name, in the state directory of the workspace."""

_HEAD = """\
# Written by supervise, which keeps it true: the code locations of {title}.
# dagster-webserver -w {path}
# dagster-daemon run -w {path}
load_from:"""


@dataclass(frozen=True, slots=True)
class Listed:
    """One location: ``name``, and where it is ``served``: a socket of ours, a host and port, or the
    endpoint of a location that is served elsewhere. ``metadata`` is shown in Dagster's page."""

    name: str
    served: Path | tuple[str, int] | RemoteEndpoint
    metadata: Mapping[str, Any] = field(default_factory=dict)


def workspace_document(title: str, path: Path, listed: Iterable[Listed]) -> str:
    """The file at ``path``, as text; JSON's scalars are YAML's."""
    entries = [_entry(one) for one in listed]
    head = _HEAD.format(title=title, path=path)
    return "\n".join([head, *entries, ""]) if entries else f"{head} []\n"


def _entry(one: Listed) -> str:
    served = one.served
    fields: dict[str, Any] = {"location_name": one.name}
    if isinstance(served, Path):
        fields["socket"] = str(served)
    elif isinstance(served, tuple):
        fields["host"], fields["port"] = served
    else:
        fields["host"] = served.host
        if served.port is not None:
            fields["port"] = served.port
        else:
            fields["socket"] = served.socket
        if served.ssl:
            fields["ssl"] = True
    if one.metadata:
        fields["additional_metadata"] = dict(one.metadata)
    lines = [f"      {key}: {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["  - grpc_server:", *lines])
