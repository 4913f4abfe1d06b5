"""Supervises code locations of many teams, each in its own environment and interpreter.

Owns the public names: ``from supervisor import Client``. Each is imported when it is first used,
because every command passes through here and few need more than one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.client.client import AsyncClient, Client
    from supervisor.errors import (
        AlreadyRunningError,
        ConfigurationError,
        ConfigurationProblem,
        NotRunningError,
        NotServedError,
        ProtocolError,
        RequestError,
        RequestTimeoutError,
        SupervisorError,
        UnfitOrderError,
        UnknownDefinitionError,
        UnknownLocationError,
        UnknownPartitionError,
        UnknownRunError,
        UnreachableError,
    )
    from supervisor.snapshots.snapshot import Snapshot
    from supervisor.specs import (
        EnvironmentSpec,
        Limits,
        LocationSpec,
        RemoteEndpoint,
        RestartPolicy,
        RestartSpec,
        SourcePosition,
        StartMethod,
        Target,
        TargetKind,
        WorkspaceSpec,
    )

__version__ = "0.1.0"

__all__ = [
    "AlreadyRunningError",
    "AsyncClient",
    "Client",
    "ConfigurationError",
    "ConfigurationProblem",
    "EnvironmentSpec",
    "Limits",
    "LocationSpec",
    "NotRunningError",
    "NotServedError",
    "ProtocolError",
    "RemoteEndpoint",
    "RequestError",
    "RequestTimeoutError",
    "RestartPolicy",
    "RestartSpec",
    "Snapshot",
    "SourcePosition",
    "StartMethod",
    "SupervisorError",
    "Target",
    "TargetKind",
    "UnfitOrderError",
    "UnknownDefinitionError",
    "UnknownLocationError",
    "UnknownPartitionError",
    "UnknownRunError",
    "UnreachableError",
    "WorkspaceSpec",
    "__version__",
]

_HOMES = {
    "client.client": ("AsyncClient", "Client"),
    "errors": (
        "AlreadyRunningError",
        "ConfigurationError",
        "ConfigurationProblem",
        "NotRunningError",
        "NotServedError",
        "ProtocolError",
        "RequestError",
        "RequestTimeoutError",
        "SupervisorError",
        "UnfitOrderError",
        "UnknownDefinitionError",
        "UnknownLocationError",
        "UnknownPartitionError",
        "UnknownRunError",
        "UnreachableError",
    ),
    "snapshots.snapshot": ("Snapshot",),
    "specs": (
        "EnvironmentSpec",
        "Limits",
        "LocationSpec",
        "RemoteEndpoint",
        "RestartPolicy",
        "RestartSpec",
        "SourcePosition",
        "StartMethod",
        "Target",
        "TargetKind",
        "WorkspaceSpec",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"supervisor.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
