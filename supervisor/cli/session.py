"""What one invocation of the command works with: a workspace, a terminal, a directory.

Owns the way from the command line's choice to a running supervisor and a client of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.cli.terminal import Terminal
from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import SourcePosition
from supervisor.workspace_files import Selection

if TYPE_CHECKING:
    from supervisor.client.client import Client
    from supervisor.client.locate import Found

__all__ = ["Session"]


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = ConfigurationProblem(
            SourcePosition("."), "", f"the current directory cannot be used: {reason}"
        )
        raise ConfigurationError([problem], hint="change to a directory that exists") from None


@dataclass(slots=True)
class Session:
    """What one invocation works with."""

    selection: Selection = field(default_factory=Selection)
    terminal: Terminal = field(default_factory=Terminal)
    cwd: Path = field(default_factory=_current_directory)

    def found(self, *, order: bool = False, quiet: bool = False) -> Found:
        """The running supervisor that is meant. A look may take a guess, which is said on standard
        error; an ``order`` raises ``NotRunningError`` then."""
        from supervisor.client.locate import find_selected

        found = find_selected(self.selection, cwd=self.cwd)
        if order:
            found.take_order()
        if found.guessed_in is not None and not quiet:
            self.terminal.say(
                f"no workspace file in {found.guessed_in} or above: using the only running "
                f"supervisor, {found.workspace}",
                "dim",
            )
        return found

    def client(self, *, timeout: float = 10.0, order: bool = False, quiet: bool = False) -> Client:
        """A client of it."""
        return self.client_of(self.found(order=order, quiet=quiet), timeout)

    @property
    def token(self) -> str | None:
        """What commands ask in the name of: the token in ``SUPERVISE_TOKEN``, where there is one."""
        return os.environ.get("SUPERVISE_TOKEN") or None

    def client_of(self, found: Found, timeout: float = 10.0) -> Client:
        """A client of ``found``."""
        from supervisor.client.client import Client

        return Client(found=found, timeout=timeout, token=self.token)
