"""``supervise install-service``: a systemd unit that runs the workspace.

Owns where the unit is written, that another one is not overwritten, and what to type next. Starts nothing:
systemd is told by hand.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from pathlib import Path

import click

from supervisor.cli.options import selecting
from supervisor.cli.session import Session

__all__ = ["install_service_"]


@click.command("install-service", short_help="Write a systemd unit that runs the workspace.")
@click.option("--system", is_flag=True, help="For the machine, in /etc/systemd/system; as root.")
@click.option(
    "--user", is_flag=True, help="For this user, in ~/.config/systemd/user (the default)."
)
@click.option(
    "--run-as", metavar="USER", help="The user of a --system unit. Default: owner of the directory."
)
@click.option("--name", default="supervise", show_default=True, help="The unit's name.")
@click.option(
    "--option", "options", multiple=True, metavar="OPTION",
    help="An option of `supervise run` for the unit, such as --option=--web. Several are taken.",
)  # fmt: skip
@click.option("--replace", is_flag=True, help="Overwrite a unit of that name that is another one.")
@click.option("--stdout", is_flag=True, help="Print the unit, and write nothing.")
@selecting
def install_service_(
    session: Session,
    system: bool,
    user: bool,
    run_as: str | None,
    name: str,
    options: tuple[str, ...],
    replace: bool,
    stdout: bool,
) -> int:
    """Write a systemd unit that runs the workspace, and say how it is started.

    docs/systemd.md explains the lines of the unit. A unit of that name with another text is not
    overwritten unless with --replace.
    """
    from supervisor.drafts.unit import unit_text
    from supervisor.workspace_files import resolve

    if system and user:
        raise click.UsageError("--system and --user cannot stand together")
    if run_as is not None and not system:
        raise click.UsageError("--run-as is for --system: a unit of a user runs as that user")
    if not re.fullmatch(r"[\w.@-]{1,200}", name):
        raise click.UsageError(f"{name!r} cannot be the name of a unit")
    spec = resolve(session.selection, cwd=session.cwd, environ=os.environ)
    if not spec.files or any(one.parent != spec.directory for one in spec.files[:1]):
        raise click.UsageError("a unit needs a workspace file: -w FILE, or one here")
    if run_as is None and system:
        run_as = _owner(spec.directory)
    if run_as is not None and not _is_user(run_as):
        raise click.UsageError(f"there is no user {run_as} on this machine")
    chosen = session.selection.files or spec.files[:1]
    files = [Path(os.path.abspath(session.cwd / one)) for one in chosen]  # noqa: PTH100 - links stay
    words = [_program(), "run"]
    for file in files:
        words += ["-w", os.path.relpath(file, spec.directory)]
    text = unit_text([*words, *options], str(spec.directory), user=run_as, name=name)
    terminal = session.terminal
    if stdout:
        terminal.print(text.rstrip("\n"))
        return 0
    folder = Path("/etc/systemd/system") if system else _user_units()
    path = folder / f"{name}.service"
    try:
        before = path.read_text(encoding="utf-8") if os.path.lexists(path) else None
        if before == text:
            terminal.print(f"{path}: up to date")
        elif before is not None and not replace:
            raise click.ClickException(
                f"{path} is another unit, and is not overwritten: give another --name, or --replace"
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            terminal.print(f"wrote {path}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.ClickException(f"{path} cannot be written: {reason}") from error
    control = "systemctl" if system else "systemctl --user"
    terminal.say(f"next: {control} daemon-reload && {control} enable --now {name}")
    if not system:
        terminal.say("      loginctl enable-linger    # to go on when you log out")
    elif run_as is not None:
        terminal.say(f"      XDG_RUNTIME_DIR=/run/{name} supervise status    # as {run_as}")
    return 0


def _program() -> str:
    """The command as systemd can start it."""
    beside = Path(sys.executable).with_name("supervise")
    return str(beside)


def _owner(directory: Path) -> str:
    try:
        return pwd.getpwuid(directory.stat().st_uid).pw_name
    except (KeyError, OSError):
        return "root"


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _user_units() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(config) / "systemd" / "user"
