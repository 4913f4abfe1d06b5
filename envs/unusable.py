"""Why a path is no interpreter that can be used, and what to do about it.

Owns the sentences for what a probe may meet: nothing there, a link that leads nowhere, a virtualenv
without its interpreter, a program that is not Python or cannot be started, a Python whose standard
library is incomplete. Starts nothing and asks nothing: ``interpreters`` does.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .adding import making_command
from .children import Completed
from .errors import EnvError

__all__ = [
    "cannot_be_looked_at",
    "cannot_start",
    "incomplete",
    "no_answer",
    "no_interpreter_in",
    "not_python",
    "not_there",
]

_CORRECT: Final = "correct the path, or let `python: <version>` find an interpreter"
_NO_MODULE: Final = re.compile(r"No module named '?([\w.]+)")


def not_there(path: Path) -> EnvError:
    """Nothing is at ``path``, or a link that leads to nothing."""
    if path.is_symlink():
        remedy = _making(path.parents[1]) if (path.parents[1] / "pyvenv.cfg").exists() else ""
        return EnvError(
            "interpreter",
            f"{path} is a link to {os.path.realpath(path)}, which does not exist",
            hint="the python it was made from is gone: install it again"
            + (f", or make the virtualenv again: {remedy}" if remedy else ""),
        )
    return EnvError("interpreter", f"{path} does not exist", hint=_missing(path))


def _missing(path: Path) -> str:
    """What to do about an interpreter that is not there."""
    prefix = path.parents[1] if len(path.parents) > 1 else path
    if path.parent.name != "bin":
        return _CORRECT
    if (prefix / "pyvenv.cfg").is_file():
        return f"the virtualenv {prefix} has lost it; make it again: {_making(prefix)}"
    if prefix.exists():
        return _CORRECT
    making = making_command(prefix)
    if making:
        return (
            f"its virtualenv was not made: run `{making}` in {prefix.parent}; or have one made, "
            "as `supervise init -o supervise.yaml` writes it"
        )
    return (
        f"make it, with `uv venv {shlex.quote(str(prefix))}`; or correct the path, or let "
        "`python: <version>` find an interpreter"
    )


def _making(prefix: Path) -> str:
    """How the broken virtualenv at ``prefix`` is made anew."""
    place = shlex.quote(str(prefix))
    making = making_command(prefix)
    if making:
        return f"`rm -r {place}`, then `{making}` in {prefix.parent}"
    return f"`rm -r {place}`, then `uv venv {place}`, and install into it what its code needs"


def no_interpreter_in(directory: Path) -> EnvError:
    """A directory without ``bin/python``."""
    if (directory / "pyvenv.cfg").is_file():
        return EnvError(
            "interpreter",
            f"the virtualenv {directory} has no bin/python",
            hint=f"make it again: {_making(directory)}",
        )
    return EnvError(
        "not_python",
        f"{directory} is a directory, not a python interpreter",
        hint="name the interpreter in it, usually bin/python",
    )


def cannot_be_looked_at(path: Path, error: OSError) -> EnvError:
    """The operating system refuses to say what is at ``path``."""
    reason = (error.strerror or str(error)).lower()
    hint = _CORRECT
    if error.errno == errno.ELOOP:
        hint = f"links that lead to one another start at {path}: make the virtualenv again, or {_CORRECT}"
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = "let this user read it and the directories above it, or name another interpreter"
    return EnvError("interpreter", f"{path} cannot be looked at: {reason}", hint=hint)


def cannot_start(path: Path, error: OSError) -> EnvError:
    """``path`` is there, and executing it failed."""
    if path.is_dir():
        return EnvError("interpreter", f"{path} is a directory, not an interpreter", hint=_CORRECT)
    if error.errno == errno.ENOEXEC:
        return not_python(path, "")
    if error.errno == errno.EACCES:
        hint = f"if it is an interpreter: chmod +x {shlex.quote(str(path))}"
        if os.access(path, os.X_OK):
            hint = "its file system is mounted noexec, or what its first line names may not be run"
        return EnvError("interpreter", f"{path} is not executable", hint=hint)
    reason = (error.strerror or str(error)).lower()
    hint = _CORRECT
    if error.errno == errno.ENOENT:
        hint = (
            "what its first line (#!) names is gone, or it was built for another system: "
            f"{_CORRECT}"
        )
    return EnvError("interpreter", f"{path} cannot be started: {reason}", hint=hint)


def no_answer(path: Path, done: Completed, timeout: float) -> EnvError:
    """It ran and did not say what it is, within ``timeout`` seconds."""
    if done.timed_out:
        return EnvError(
            "not_python",
            f"{path} did not answer within {timeout:.0f} s: it is not a working python interpreter",
            hint=f"try `{shlex.quote(str(path))} -V`; {_CORRECT}",
            detail=done.output,
        )
    said = done.stderr
    lost = _NO_MODULE.findall(said)
    if lost and ("Traceback" in said or "Fatal Python error" in said):
        return incomplete(path, lost[-1:], detail=done.output)
    if any(
        sign in said
        for sign in ("shared librar", "Library not loaded", "Py_Initialize", "Fatal Python error")
    ):
        return EnvError(
            "interpreter",
            f"{path} is a python that cannot start",
            hint="its installation is damaged: install it again",
            detail=done.output,
        )
    if "python" in path.name and "command not found" in said:
        return EnvError(
            "interpreter",
            f"{path} is a shim that leads to no interpreter",
            hint="select a version for it (for pyenv: `pyenv global …`), or name the interpreter",
            detail=done.output,
        )
    return not_python(path, done.output)


def incomplete(path: Path, modules: Sequence[str], *, detail: str = "") -> EnvError:
    """A Python without ``modules`` of the standard library, which a location's process needs."""
    return EnvError(
        "interpreter",
        f"{path} is a python with an incomplete standard library: it lacks {', '.join(modules)}",
        hint="install that python again; of Debian and Ubuntu the package python3, where only "
        "python3-minimal is there",
        detail=detail,
    )


def not_python(path: Path, detail: str) -> EnvError:
    """It is another program."""
    return EnvError(
        "not_python",
        f"{path} is not a python interpreter",
        hint="executable_path is the interpreter itself, usually …/bin/python",
        detail=detail,
    )
