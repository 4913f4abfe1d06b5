"""``supervise dagster``: the locations in Dagster's own page.

Owns the options. What is started is ``supervisor.dagster``'s, how it is shown ``run``'s.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.options import FACE_LISTEN, LISTEN, beside_option, selecting
from supervisor.cli.session import Session

if TYPE_CHECKING:
    from supervisor.cli.beside import Beside
    from supervisor.face_settings import Listen

__all__ = ["dagster_"]


@click.command("dagster", short_help="Run Dagster's own page and daemon on the locations.")
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="PORT",
    help="Port of Dagster's page (default 3000, or a free one where that is taken).",
)  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address of Dagster's page. It has no password.",
)  # fmt: skip
@click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The Dagster instance (default: DAGSTER_HOME, else one of this workspace's own).",
)  # fmt: skip
@click.option(
    "--dagster-environment", "environment", type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="A virtualenv with dagster-webserver (default: `dagster-webserver` of the workspace "
    "file's environments, else one that is made).",
)  # fmt: skip
@FACE_LISTEN
@selecting
@beside_option
@LISTEN
def dagster_(
    session: Session,
    port: int | None,
    host: str,
    home: Path | None,
    environment: Path | None,
    dagster_listen: Listen | None,
    web: Beside | None,
    listen: str | None,
) -> int:
    """Supervise a workspace, with Dagster's webserver and daemon on its locations.

    As `dagster dev`, on processes that are supervised: they reload on save, one by one, and come back
    when they die. The `.env` beside the workspace is read. Ctrl-C stops everything.
    """
    from supervisor.cli.run import run_workspace
    from supervisor.dagster.face import Face
    from supervisor.dagster.home import development_environ
    from supervisor.dagster.host import HostOptions
    from supervisor.workspace_files import identify

    directory, _ = identify(session.selection, cwd=session.cwd)
    options = HostOptions(
        host=host,
        port=port,
        home=None if home is None else session.cwd / home,
        environment=None if environment is None else session.cwd / environment,
    )
    return run_workspace(
        session,
        web,
        listen,
        face=Face(options, dagster_listen),
        environ=development_environ(directory, os.environ),
    )
