"""``supervise automations``: the schedules and sensors, their switches, and what became of their ticks.

Reads through the client alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from supervisor import kinds
from supervisor.cli.completion import AUTOMATION
from supervisor.cli.lone import lone
from supervisor.cli.options import LOCATION, ListingOf, json_option, locating
from supervisor.cli.session import Session
from supervisor.presentation import automations as words
from supervisor.presentation import words as general
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.protocol.automation_documents import Automation

__all__ = ["automations_"]


@click.group("automations", cls=ListingOf, short_help="List schedules and sensors, switch one.")
def automations_() -> None:
    """List the schedules and sensors, of all locations or of one: `supervise automations [LOCATION]`."""


@automations_.command("list", short_help="List schedules and sensors (the default).")
@click.argument("location", required=False, **LOCATION)
@json_option
@locating
def list_(session: Session, location: str | None, as_json: bool) -> int:
    """List schedules and sensors: whether each is on, when it is due next, what its last tick did."""
    with session.client() as client:
        rows = client.automations(location)
    if as_json:
        session.terminal.data({"automations": rows})
    elif rows:
        _table(session, rows)
    else:
        session.terminal.say("there are no schedules and sensors", "dim")
    return 0


def _table(session: Session, rows: list[Automation]) -> None:
    terminal, now = session.terminal, time.time()
    terminal.table(
        ("LOCATION", "NAME", "KIND", "WHEN", "ON", "NEXT", "LAST"),
        [
            (
                clean(one["location"]),
                clean(one["name"]),
                one["kind"],
                clean(words.when(one)),
                _on(one),
                _next(one, now),
                _last(one, now),
            )
            for one in rows
        ],
        spare=(1, 3),
    )


def _on(one: Automation) -> str:
    if one["fired_by"] != "supervise":
        return f"by {one['fired_by']}"
    return ("on" if one["on"] else "off") + ("" if one["switched"] is None else " (switched)")


def _next(one: Automation, now: float) -> str:
    if one["waits"]:
        return clean(one["waits"])
    if one["next"] is None:
        return ""
    left = one["next"] - now
    return "now" if left < 1 else f"in {general.seconds(left)}"


def _last(one: Automation, now: float) -> str:
    last = one["last"]
    return "" if last is None else f"{words.outcome(last)}, {general.ago(last['time'], now)} ago"


@automations_.command("on", short_help="Switch a schedule or sensor on.")
@click.argument("location", **LOCATION)
@click.argument("name", required=False, **AUTOMATION)
@json_option
@locating
def on(session: Session, location: str, name: str | None, as_json: bool) -> int:
    """Switch the schedule or sensor NAME of LOCATION on. It stays on after later loads."""
    return _switch(session, location, name, True, as_json)


@automations_.command("off", short_help="Switch a schedule or sensor off.")
@click.argument("location", **LOCATION)
@click.argument("name", required=False, **AUTOMATION)
@json_option
@locating
def off(session: Session, location: str, name: str | None, as_json: bool) -> int:
    """Switch the schedule or sensor NAME of LOCATION off. It stays off; its cursor is kept."""
    return _switch(session, location, name, False, as_json)


def _switch(session: Session, location: str, name: str | None, value: bool, as_json: bool) -> int:
    if name is None:
        command = f"automations {'on' if value else 'off'}"
        name = lone(session, location, command, "a NAME", kinds.AUTOMATIONS)
    with session.client(order=True) as client:
        row = client.switch_automation(location, name, value)
    if as_json:
        session.terminal.data(row)
    else:
        word, coming = "on" if row["on"] else "off", _next(row, time.time())
        if row["waits"]:
            coming = f"; it waits: {coming}"
        elif coming:
            coming = ", due now" if coming == "now" else f", next {coming}"
        session.terminal.print(
            f"{row['kind']} {clean(name)} of {clean(location)} is {word}{coming}"
        )
    return 0


@automations_.command("ticks", short_help="List what became of the newest ticks.")
@click.argument("location", **LOCATION)
@click.argument("name", required=False, **AUTOMATION)
@click.option(
    "-n", "--limit", type=click.IntRange(0, 1000), default=20, show_default=True, help="How many."
)
@json_option
@locating
def ticks(session: Session, location: str, name: str | None, limit: int, as_json: bool) -> int:
    """List the newest ticks of LOCATION, or of NAME alone: what was launched, or why nothing."""
    with session.client() as client:
        rows = client.ticks(location, name, limit=limit)
    terminal = session.terminal
    if as_json:
        terminal.data({"ticks": rows})
        return 0
    for one in rows:
        stamp, state = general.moment(one["time"]), words.STYLES.get(one["state"], "")
        runs = " ".join(each["run"] for each in one["requests"] if each["run"] and not each["note"])
        text = terminal.paint(words.outcome(one), state)
        terminal.print(f"{stamp}  {clean(one['name'])}  {text}" + (f"  {runs}" if runs else ""))
    if not rows:
        terminal.say("there were no ticks", "dim")
    return 0
