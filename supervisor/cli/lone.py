"""One word where a command takes a LOCATION and a name in it: which of the two is it?

Owns that question, asked of the supervisor that runs, and the error that answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from supervisor import kinds
from supervisor.errors import SupervisorError, UnknownLocationError
from supervisor.nearest import hint

if TYPE_CHECKING:
    from supervisor.cli.session import Session

__all__ = ["lone"]


def lone(
    session: Session, word: str, command: str, missing: str, wanted: Sequence[str] = ()
) -> NoReturn:
    """Raise the error for ``supervise COMMAND WORD``, in which ``missing`` is what comes after a location.

    ``wanted`` are the kinds of definitions that the command takes, none of them for all. Raises ``click.UsageError``,
    and ``UnknownLocationError`` where the word is neither a location nor something in one.
    """
    try:
        with session.client() as client:
            locations = [one["name"] for one in client.status()["locations"]]
            rows = [] if word in locations else client.definitions(None)
    except SupervisorError:  # none runs: what is missing is all that is known
        raise click.UsageError(f"give a LOCATION and {missing}") from None
    if word in locations:
        see = f"list {wanted[0]} -l {word}" if wanted else f"list -l {word}"
        see = f"automations {word}" if wanted == kinds.AUTOMATIONS else see
        raise click.UsageError(f"give {missing}: `supervise {see}` lists what there is")
    named = [one for one in rows if one["name"] == word]
    for one in named:
        if not wanted or one["kind"] in wanted:
            meant = kinds.remedy(one["location"], word, one["kind"], command)
            raise click.UsageError(f"the LOCATION is missing: {meant}")
    for one in named:
        raise UnknownLocationError(word, hint=kinds.remedy(one["location"], word, one["kind"]))
    raise UnknownLocationError(word, hint=hint(word, locations))
