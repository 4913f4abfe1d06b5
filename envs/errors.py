"""What can go wrong with an environment, as one exception that carries its parts.

Owns ``EnvError`` and the list of its kinds. Does not format for a terminal: the faces decide how
the sentence, the hint and the installer's own words are laid out.
"""

from __future__ import annotations

from typing import Final

__all__ = ["KINDS", "EnvError"]

KINDS: Final = (
    "interpreter",  # none found, or the named one is absent or cannot be started
    "not_python",  # it runs, but it is not a Python interpreter
    "python2",  # a Python 2
    "unsupported",  # a Python 3 older than 3.6
    "requirements",  # a requirements file or project that cannot be read
    "resolution",  # the resolver found no set of versions
    "install",  # the virtualenv could not be made or filled
    "overlay",  # pyzmq and msgpack could not be provided for the interpreter
    "cancelled",  # the caller's cancel event was set
    "unknown",  # no environment of that name or key
    "in_use",  # refused: a process still runs in it
    "storage",  # the directory of environments or the cache cannot be written
)


class EnvError(Exception):
    """An environment or an interpreter that cannot be had; costs one location, never more.

    ``message`` is one lowercase sentence; ``hint`` the remedy, or None; ``detail`` what the tool
    underneath (uv, pip, virtualenv, the interpreter) said, unaltered, or empty.
    """

    def __init__(
        self, kind: str, message: str, *, hint: str | None = None, detail: str = ""
    ) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        return self.message
