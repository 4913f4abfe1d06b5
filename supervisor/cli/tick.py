"""``supervise tick``: evaluate a schedule or sensor once, and see what it would launch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from supervisor import kinds
from supervisor.cli.completion import AUTOMATION
from supervisor.cli.lone import lone
from supervisor.cli.options import LOCATION, json_option, locating
from supervisor.cli.session import Session
from supervisor.presentation import automations as words
from supervisor.protocol import parameters

if TYPE_CHECKING:
    from supervisor.client.client import Client

__all__ = ["tick_"]


@click.command("tick", short_help="See what a schedule or sensor would launch.")
@click.argument("location", **LOCATION)
@click.argument("name", required=False, **AUTOMATION)
@click.option("--launch", is_flag=True, help="Launch what it asks for, too.")
@click.option(
    "--at", metavar="TIME",
    help="The time that it is for, such as 2026-11-27T05:00 in the zone of the schedule; by default now.",
)  # fmt: skip
@click.option(
    "--cursor", metavar="TEXT", help="The cursor that a sensor begins with; by default its own."
)
@click.option("--repository", metavar="NAME", help="Which repository's it is.")
@json_option
@locating
def tick_(
    session: Session,
    location: str,
    name: str | None,
    launch: bool,
    at: str | None,
    cursor: str | None,
    repository: str | None,
    as_json: bool,
) -> int:
    """Evaluate the schedule or sensor NAME of LOCATION once, in a process of its own, within 60 seconds.

    Nothing is launched and no cursor is kept, unless --launch is given. It works for Dagster's schedules
    and sensors, too.

    Exit status: 0 it asked for runs, or for none; 1 its function failed, or what it asks for is refused; 2
    a command line that does not fit; 3 no supervisor; 4 no such location, schedule or sensor.
    """
    name = name or lone(session, location, "tick", "a NAME", kinds.AUTOMATIONS)
    terminal = session.terminal
    with session.client(order=True) as client:
        moment = None if at is None else _moment(at, lambda: _zone(client, location, name))
        found = client.tick(
            location, name, at=moment, cursor=cursor, launch=launch, repository=repository
        )
    if as_json:
        terminal.data(found)
    else:
        terminal.print(*words.tick_lines(found))
    refused = any(one["note"] and not one["run"] for one in found["requests"])
    return 1 if found["state"] == "failed" or refused else 0


def _zone(client: Client, location: str, name: str) -> str:
    found = client.automations(location, name=name)
    return next((one["zone"] for one in found if one["zone"]), "UTC")


def _moment(text: str, zone: Callable[[], str]) -> float:
    try:
        found = float(text)
    except ValueError:
        try:
            read = datetime.fromisoformat(text)
            if read.tzinfo is None:
                named = zone()
                read = read.replace(tzinfo=UTC if named == "UTC" else ZoneInfo(named))
            found = read.timestamp()
        except (ValueError, KeyError, OverflowError, OSError):
            raise click.UsageError(
                f"--at {text!r} is no time: write 2026-11-27T05:00, or Unix seconds"
            ) from None
    if not 0 <= found <= parameters.MOST_MOMENT:
        raise click.UsageError(f"--at {text!r} is out of bounds")
    return found
