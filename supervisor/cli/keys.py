"""``supervise keys``: which clients on other machines may connect, and what they may do.

Owns the commands alone; the keys are ``supervisor.curve_keys``'. Needs no running supervisor, and one that
runs sees what is added or revoked at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.granting import location_option, note, role_option, state_of
from supervisor.cli.options import Listing, json_option, selecting
from supervisor.cli.session import Session
from supervisor.presentation.text import clean

__all__ = ["keys_"]


@click.group(
    "keys",
    cls=Listing,
    short_help="Make, list and revoke the keys of clients that connect over TCP.",
)
def keys_() -> None:
    """Say which clients may connect to `supervise --listen tcp://host:port`, and what they may do."""


@keys_.command("add", short_help="Make the keys of a client.")
@selecting
@click.argument("name")
@role_option("none")
@location_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the client's keys are written (default NAME.keys); must not exist.",
)
def add(
    session: Session, name: str, role: str, locations: tuple[str, ...], output: Path | None
) -> int:
    """Let the client NAME connect, as the ROLE for all locations or those of --location.

    Give the file to that client alone, and remove it here. The role `none` is for a web page on another
    machine: it may connect, and do what the tokens allow that it passes on.
    """
    from supervisor.curve_keys import KeyDirectory
    from supervisor.roles import Role

    state = state_of(session)
    file = session.cwd / (output if output is not None else f"{name}.keys")
    granted = None if role == "none" else Role(role)
    KeyDirectory(state).add_client(name, file, granted, locations or ("*",))
    note(session, state, "keys add", f"key:{name}")
    session.terminal.print(str(file))
    return 0


@keys_.command("list", short_help="List the clients that may connect (the default).")
@selecting
@json_option
def list_(session: Session, as_json: bool) -> int:
    """List the clients that have keys."""
    from supervisor.curve_keys import KeyDirectory

    terminal, found = session.terminal, KeyDirectory(state_of(session)).all()
    if as_json:
        rows = [
            {
                "name": one.name,
                "role": None if one.role is None else one.role.value,
                "locations": list(one.locations),
                "dated": one.dated,
            }
            for one in found
        ]
        terminal.data({"keys": rows})
    elif found:
        terminal.table(
            ("NAME", "ROLE", "LOCATIONS", "NOTE"),
            [
                (
                    one.name,
                    "none" if one.role is None else one.role.value,
                    clean(" ".join(one.locations)),
                    "made before keys had roles: revoke it and add it again" if one.dated else "",
                )
                for one in found
            ],
            spare=(2,),
        )
    else:
        terminal.say("no client has keys", "dim")
    return 0


@keys_.command("revoke", short_help="Take a client's keys back.")
@selecting
@click.argument("name")
def revoke(session: Session, name: str) -> int:
    """Let the client NAME connect no more; what it has under way ends within two seconds."""
    from supervisor.curve_keys import KeyDirectory

    state = state_of(session)
    KeyDirectory(state).revoke(name)
    note(session, state, "keys revoke", f"key:{name}")
    session.terminal.print(f"the keys of {clean(name)} are revoked")
    return 0
