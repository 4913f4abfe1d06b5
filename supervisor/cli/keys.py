"""``supervise keys``: lets a client on another machine connect.

Owns the command alone; the keys are ``supervisor.curve_keys``'. Needs no running supervisor, and one that
runs sees the new client at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.options import selecting
from supervisor.cli.session import Session

__all__ = ["keys_"]


@click.command("keys", short_help="Make the keys of a client that connects over TCP.")
@selecting
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the client's keys are written (default NAME.keys); must not exist.",
)
def keys_(session: Session, name: str, output: Path | None) -> int:
    """Let the client NAME connect to `supervise --listen tcp://host:port`.

    Give the file to that client alone, and remove it here. The client is let in as long as
    keys/clients/NAME.pub exists in the workspace's state directory: remove that to revoke.
    """
    from supervisor.curve_keys import KeyDirectory
    from supervisor.specs import STATE_DIRECTORY
    from supervisor.workspace_files import identify

    directory, key = identify(session.selection, cwd=session.cwd)
    file = session.cwd / (output if output is not None else f"{name}.keys")
    KeyDirectory(directory / STATE_DIRECTORY / key).add_client(name, file)
    session.terminal.print(str(file))
    return 0
