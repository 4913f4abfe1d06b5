"""What a shim's environment variables look like: as if its Python environment were activated.

Owns one pure function from a base environment to another. Runs no activation script: what those do
beyond this (prompts, conda's hooks) is for interactive shells.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .interpreters import Interpreter
from .model import Environment

__all__ = ["activate"]


def activate(
    environment: Environment | Interpreter, base_environ: Mapping[str, str]
) -> dict[str, str]:
    """``base_environ`` as a process in ``environment`` should see it.

    The interpreter's own directory comes first on ``PATH``. ``VIRTUAL_ENV`` names the virtualenv,
    or is absent when the interpreter is in none; a virtualenv that *we* run in is taken out of
    ``PATH``, as deactivating it would. ``PYTHONUNBUFFERED`` is 1 unless set; ``PYTHONHOME`` is
    removed, because it would give the interpreter another one's library; ``PYTHONPATH`` stays.
    """
    interpreter = environment.interpreter if isinstance(environment, Environment) else environment
    result = dict(base_environ)
    for name in ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV_PROMPT"):
        result.pop(name, None)
    foreign = set()
    active = result.pop("VIRTUAL_ENV", "")
    if active:
        foreign.add(os.path.join(active, "bin"))  # noqa: PTH118 - compared as text
    if sys.prefix != sys.base_prefix:
        foreign.add(os.path.join(sys.prefix, "bin"))  # noqa: PTH118
    own = str(interpreter.executable.parent)
    if interpreter.is_virtualenv:
        result["VIRTUAL_ENV"] = str(interpreter.prefix)
        own = str(interpreter.prefix / "bin")
    conda = result.get("CONDA_PREFIX", "")
    if conda and Path(conda) != interpreter.prefix:
        foreign.add(os.path.join(conda, "bin"))  # noqa: PTH118
        for name in ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_PROMPT_MODIFIER"):
            result.pop(name, None)
    path = result.get("PATH")
    rest = os.defpath if path is None else path
    kept = [
        entry
        for entry in rest.split(os.pathsep)
        if entry and entry != own and entry.rstrip("/") not in foreign
    ]
    result["PATH"] = os.pathsep.join([own, *kept])
    result.setdefault("PYTHONUNBUFFERED", "1")
    return result
