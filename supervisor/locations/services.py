"""What every location shares, handed to each of them. Decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from supervisor.locations.code_servers import NO_SERVERS, CodeServers
from supervisor.locations.environments import Environments
from supervisor.locations.generation import Generation
from supervisor.locations.liveness import LivenessProbe
from supervisor.locations.transport import Transport
from supervisor.processes.launcher import Launcher
from supervisor.processes.start_limiter import StartLimiter

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What every location shares. ``uses(prefix)`` is awaited for each environment before it is used."""

    launcher: Launcher
    transport: Transport
    environments: Environments
    slots: StartLimiter
    liveness: LivenessProbe[Generation]
    uses: Callable[[Path], Awaitable[None]]
    code_servers: CodeServers = NO_SERVERS
