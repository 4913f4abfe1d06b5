"""``supervise init``: a workspace file for what is found here, or for code servers of Dagster.

Owns where it is written, that nothing is overwritten, and what it prints. What is found is ``drafts``'
to say. Needs no supervisor.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from supervisor.cli.session import Session
from supervisor.errors import ConfigurationError
from supervisor.presentation import words

__all__ = ["init_"]

_WORKSPACES = ("workspace.yaml", "workspace.yml")


@click.command("init", short_help="Write a workspace file for what is found here.")
@click.argument(
    "directory",
    required=False,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--from-dagster",
    is_flag=True,
    help="Convert code servers: compose files, Dockerfiles, units and Procfiles with `dagster api grpc`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write. Default workspace.yaml; supervise.yaml where one is there to convert.",
)
@click.option("--stdout", is_flag=True, help="Print it, and write nothing.")
@click.pass_obj
def init_(
    session: Session, directory: Path | None, from_dagster: bool, output: Path | None, stdout: bool
) -> int:
    """Write a commented workspace.yaml for what is found in DIRECTORY (default: here) and below.

    Looked for are files that name locations to Dagster, files with definitions, scripts with a `# /// script`
    block, and for each the virtualenv, project, lock or requirements file nearest above. Nothing is
    imported. An existing file is never overwritten.
    """
    from supervisor.drafts.code_servers import converted
    from supervisor.drafts.finding import draft_of
    from supervisor.workspace_files import Selection, resolve

    root = Path(os.path.abspath(session.cwd / (directory or ".")))  # noqa: PTH100 - links stay
    there = [name for name in _WORKSPACES if os.path.lexists(root / name)]
    if output is None:
        output = Path("supervise.yaml" if from_dagster and there else "workspace.yaml")
        path = root / output
        if there and not from_dagster and not stdout:
            raise click.ClickException(
                f"{root / there[0]} is there already, and is not overwritten: `supervise check` reads it; "
                "`supervise init -o supervise.yaml` writes another, with an environment for each of its "
                "locations, and --stdout prints that"
            )
    else:
        path = session.cwd / output
    if not stdout and os.path.lexists(path):
        raise click.ClickException(f"{path} is there already, and is not overwritten")
    draft = converted(root, os.environ) if from_dagster else draft_of(root, os.environ)
    text = draft.text()
    terminal = session.terminal
    if stdout:
        terminal.print(text.rstrip("\n"))
        return 0
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.ClickException(f"{path} cannot be written: {reason}") from error
    locations = words.plural(len(draft.locations), "location")
    made = words.plural(len(draft.environments), "environment")
    found = (
        f"{locations}, {made} to be made" if draft.locations else "examples, and no location yet"
    )
    terminal.print(f"wrote {path}: {found}")
    for note in draft.notes:
        terminal.say(f"note: {note}")
    try:
        resolve(Selection(files=(path,)), cwd=root, environ=os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            terminal.warn(str(problem))
    flag = "" if _is_found(path, session.cwd) else f" -w {_shown(path, session.cwd)}"
    terminal.say(
        f"next: `supervise check{flag}` loads each location once; `supervise{flag}` runs them"
    )
    return 0


def _is_found(path: Path, cwd: Path) -> bool:
    """True when a search from ``cwd`` finds ``path``."""
    from supervisor.workspace_files import Selection
    from supervisor.workspace_files.discovery import locate

    try:
        return locate(Selection(), cwd=cwd).files == (
            Path(os.path.realpath(path.parent)) / path.name,
        )
    except ConfigurationError:
        return False


def _shown(path: Path, cwd: Path) -> str:
    return os.path.relpath(path, cwd) if path.is_relative_to(cwd) else str(path)
