"""TCP ports of locations, for a webserver and a daemon on other machines.

Owns which port a location has: counted from the first one, kept for its name over restarts and while it is
away. Pure; ``relay`` listens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from supervisor.face_settings import Listen

__all__ = ["FILE", "TCP_NAME", "assigned", "remembered"]

FILE = "dagster-ports.json"
"""Where they are remembered, in the state directory."""
TCP_NAME = "dagster-workspace-tcp.yaml"
"""The workspace file for other machines, beside the one for this machine."""

_LAST = 65535


def remembered(data: Any, listen: Listen) -> dict[str, int]:
    """The ports that ``data`` (of ``FILE``) has; {} where it is damaged or counts from another port."""
    if not isinstance(data, dict) or data.get("first") != listen.port:
        return {}
    ports = data.get("ports")
    if not isinstance(ports, dict):
        return {}
    return {
        name: port
        for name, port in ports.items()
        if isinstance(port, int) and listen.port <= port <= _LAST
    }


def assigned(listen: Listen, known: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """``known`` with a port for each of ``names``; those for which none is left have none."""
    ports = dict(known)
    taken = set(ports.values())
    free = (port for port in range(listen.port, _LAST + 1) if port not in taken)
    for name in names:
        if name not in ports:
            port = next(free, None)
            if port is None:
                break
            ports[name] = port
    return ports
