"""``supervise tokens``: secrets that programs and people show to the web page and the control socket.

Owns the commands alone; the file is ``supervisor.access.tokens``'. Needs no running supervisor, and one that
runs sees what is added or revoked at once.
"""

from __future__ import annotations

import time
from typing import Any

import click

from supervisor.cli.granting import location_option, note, role_option, state_of
from supervisor.cli.launch import DURATION
from supervisor.cli.options import Listing, json_option, selecting
from supervisor.cli.session import Session
from supervisor.presentation import words
from supervisor.presentation.text import clean

__all__ = ["tokens_"]


@click.group("tokens", cls=Listing, short_help="Make, list and revoke tokens.")
def tokens_() -> None:
    """Say who may do what by a token: over HTTP, and wherever a client shows one."""


@tokens_.command("add", short_help="Make a token, and print it once.")
@selecting
@click.argument("name")
@role_option()
@location_option
@click.option("--expires", type=DURATION, metavar="TIME", help="Valid for so long, such as 30d.")
@json_option
def add(
    session: Session,
    name: str,
    role: str,
    locations: tuple[str, ...],
    expires: float | None,
    as_json: bool,
) -> int:
    """Make the token NAME, with the ROLE for all locations or those of --location.

    It is printed once and kept nowhere: give it to the one who is to have it.
    """
    from supervisor.access.tokens import TokenFile
    from supervisor.roles import Role

    state, terminal = state_of(session), session.terminal
    until = None if expires is None else time.time() + expires
    secret = TokenFile(state).add(name, Role(role), locations or ("*",), until)
    note(session, state, "tokens add", f"token:{name}")
    if as_json:
        terminal.data({"name": name, "token": secret, "expires": until})
    else:
        terminal.print(secret)
    return 0


@tokens_.command("list", short_help="List the tokens (the default).")
@selecting
@json_option
def list_(session: Session, as_json: bool) -> int:
    """List the tokens, without their secrets: those are kept nowhere."""
    from supervisor.access.tokens import TokenFile

    terminal, now = session.terminal, time.time()
    found = TokenFile(state_of(session)).all()
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "name": one.name,
                "role": one.role.value,
                "locations": list(one.locations),
                "created": one.created,
                "expires": one.expires,
                "expired": one.expired(now),
            }
            for one in found
        ]
        terminal.data({"tokens": rows})
    elif found:
        terminal.table(
            ("NAME", "ROLE", "LOCATIONS", "MADE", "EXPIRES"),
            [
                (
                    one.name,
                    one.role.value,
                    clean(" ".join(one.locations)),
                    words.moment(one.created),
                    "never"
                    if one.expires is None
                    else "has expired"
                    if one.expired(now)
                    else words.moment(one.expires),
                )
                for one in found
            ],
            spare=(2,),
        )
    else:
        terminal.say("there are no tokens", "dim")
    return 0


@tokens_.command("revoke", short_help="Take a token back.")
@selecting
@click.argument("name")
def revoke(session: Session, name: str) -> int:
    """Refuse the token NAME from now on; what it has under way ends within two seconds."""
    from supervisor.access.tokens import TokenFile

    state = state_of(session)
    TokenFile(state).revoke(name)
    note(session, state, "tokens revoke", f"token:{name}")
    session.terminal.print(f"the token {clean(name)} is revoked")
    return 0
