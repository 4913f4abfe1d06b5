"""The environment that ``supervise`` itself is installed in, where it lacks what we import.

Owns the judgement of an import of ours that failed, and the words. An environment that is older than the
code in it (an editable install after a pull) lacks what the code has come to need: that is no defect.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path

__all__ = ["lacking"]

_OURS = ("supervisor", "envs", "runner_shim")
_DISTRIBUTION = "workspace-supervisor"


def lacking(error: BaseException) -> tuple[str, str] | None:
    """A sentence and a remedy for an import that failed for a library that is not there, or is another
    release than we need; None for every other error."""
    if not isinstance(error, ImportError) or not error.name:
        return None
    top = error.name.partition(".")[0]
    if top in _OURS:
        return None
    if top.lstrip("_") in sys.stdlib_module_names or top in sys.stdlib_module_names:
        return (
            f"the python that supervise runs in, {sys.executable}, lacks {error.name} of its "
            "standard library",
            "install that python again with all of its parts, and supervise with it",
        )
    if isinstance(error, ModuleNotFoundError):
        what = f"the library {error.name}, which supervise needs, is not installed in {sys.prefix}"
    else:
        what = (
            f"the library {top} in {sys.prefix} is not a release that supervise can use ({error})"
        )
    return what, f"that environment is older than supervise: run `{_installing()}`"


def _installing() -> str:
    """The command that installs us where we are, with all that we need."""
    from importlib.metadata import PackageNotFoundError, distribution

    from envs.adding import adding_command

    source = _DISTRIBUTION
    with contextlib.suppress(PackageNotFoundError, ValueError, TypeError, AttributeError):
        origin = json.loads(distribution(_DISTRIBUTION).read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            source = f"-e {shlex.quote(origin['url'].removeprefix('file://'))}"
    adding = adding_command(Path(sys.executable), Path(sys.prefix))
    return f"{adding or 'python3 -m pip install'} {source}"
