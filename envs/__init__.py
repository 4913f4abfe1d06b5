"""Python environments: find interpreters, keep virtualenvs, provide the runtime overlay.

Owns which interpreter a location runs in and what is installed there. Functions block, may be called
from any thread and raise ``EnvError`` alone. Refuses to know about locations, supervisors and
shims' messages; imports nothing of ``supervisor``.
"""

from .activation import activate
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
    "default_interpreter",
    "ensure_overlay",
    "find_command",
    "find_interpreter",
    "list_interpreters",
    "probe",
]
