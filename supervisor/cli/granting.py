"""What the commands about tokens and keys share: roles, locations, the state directory, the audit's note.

Owns these options. Needs no running supervisor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor.roles import Role

if TYPE_CHECKING:
    from supervisor.cli.session import Session

__all__ = ["location_option", "note", "role_option", "state_of"]


def role_option(*more: str) -> Callable[[Any], Any]:
    """``--role``, which must be given; ``more`` stand beside the roles that there are."""
    return click.option(
        "--role",
        required=True,
        type=click.Choice([*(one.value for one in Role), *more]),
        help="What it may do; each role includes those before it.",
    )


def location_option(function: Any) -> Any:
    """``--location``, repeated, as the parameter ``locations``."""
    return click.option(
        "--location",
        "locations",
        multiple=True,
        metavar="PATTERN",
        help="Only for locations with such a name, as 'risk*'; repeated for several. Default: all.",
    )(function)


def state_of(session: Session) -> Path:
    """The state directory of the workspace that is meant."""
    from supervisor.state_place import own_state
    from supervisor.workspace_files import identify

    directory, key = identify(session.selection, cwd=session.cwd)
    return own_state(directory, key)


def note(session: Session, state: Path, method: str, subject: str) -> None:
    """Have the audit say that the operator did this; a disk that does not take it is told, and is no
    failure."""
    from supervisor.access.audit import Audit

    audit = Audit(state)
    entry = {"time": time.time(), "who": "operator", "method": method, "location": []}
    try:
        audit.write({**entry, "subject": subject, "result": "done"})
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        session.terminal.warn(f"the audit cannot be written: {reason}")
    finally:
        audit.close()
