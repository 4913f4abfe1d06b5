"""Python environments: find interpreters, keep virtualenvs, provide the runtime overlay.

Owns which interpreter a location runs in and what is installed there. Functions block, may be called
from any thread and raise ``EnvError`` alone. Does not know about locations, supervisors and
shims' messages; imports nothing of ``supervisor``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .activation import activate
    from .adding import adding_command, making_command
    from .discovery import (
        FoundInterpreter,
        default_interpreter,
        find_command,
        find_interpreter,
        list_interpreters,
    )
    from .errors import EnvError
    from .interpreters import Interpreter, probe
    from .model import (
        Environment,
        EnvironmentInfo,
        EnvironmentRequest,
        Progress,
        ProgressCallback,
        Stage,
    )
    from .overlay import ensure_overlay
    from .store import EnvironmentStore

__all__ = [
    "EnvError",
    "Environment",
    "EnvironmentInfo",
    "EnvironmentRequest",
    "EnvironmentStore",
    "FoundInterpreter",
    "Interpreter",
    "Progress",
    "ProgressCallback",
    "Stage",
    "activate",
    "adding_command",
    "default_interpreter",
    "ensure_overlay",
    "find_command",
    "find_interpreter",
    "list_interpreters",
    "making_command",
    "probe",
]

# What a client of the supervisor imports takes one plain class of these; the rest is imported when used.
_HOMES = {
    "activation": ("activate",),
    "adding": ("adding_command", "making_command"),
    "discovery": (
        "FoundInterpreter",
        "default_interpreter",
        "find_command",
        "find_interpreter",
        "list_interpreters",
    ),
    "errors": ("EnvError",),
    "interpreters": ("Interpreter", "probe"),
    "overlay": ("ensure_overlay",),
    "store": ("EnvironmentStore",),
}


def __getattr__(name: str) -> Any:
    home = next((one for one, names in _HOMES.items() if name in names), "model")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"envs.{home}"), name)
    return value
