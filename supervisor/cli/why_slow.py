"""``supervise why-slow``: which imports took the time of a location's last load.

Owns the table. The figures come with the snapshot: what the process measured while it imported the target.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.options import LOCATION, json_option, locating
from supervisor.cli.session import Session
from supervisor.errors import NotServedError
from supervisor.presentation import words
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus, Serving

__all__ = ["why_slow_"]

_LONG = 1.0  # a rest that can be looked at while it lasts (seconds)


@click.command("why-slow", short_help="Show what the time of the last load went to.")
@click.argument("location", **LOCATION)
@json_option
@locating
def why_slow_(session: Session, location: str, as_json: bool) -> int:
    """Show which imports took the time of the last load of LOCATION, the slowest first.

    Of one that loads right now, what it is at. A module that was preloaded takes no time.
    """
    with session.client(timeout=60.0) as client:
        (one,) = client.status(location)["locations"]
        serving = one["serving"]
        if serving is None and one["state"] not in ("starting", "loading"):
            raise NotServedError(
                f"{location} has not loaded yet", hint=f"see `supervise status {location}`"
            )
        report: dict[str, Any] = {}
        if serving is not None:
            report = dict(client.snapshot(location, generation=serving["generation"]).report)
    imports = report.get("imports") or []
    terminal = session.terminal
    if as_json:
        found = {
            "location": location,
            "state": one["state"],
            "reason": one["reason"],
            "generation": None if serving is None else serving["generation"],
            "start_seconds": None if serving is None else serving["start_seconds"],
            "load_seconds": None if serving is None else serving["load_seconds"],
            "imports": imports,
        }
        terminal.data(found)
        return 0
    if one["state"] in ("starting", "loading"):
        terminal.print(f"{clean(location)}: {one['state']} — {clean(one['reason'])}")
    if serving is None:
        terminal.print(f"no load has ended yet; where it is: supervise stacks {clean(location)}")
        return 0
    terminal.print(_summary(one, serving))
    rows = [
        [
            words.seconds(found["seconds"]),
            words.seconds(found["own"]),
            clean(found["name"]),
            clean(f"{found['file']}:{found['line']}") if found.get("file") else "",
        ]
        for found in imports
    ]
    if rows:
        terminal.print("")
        terminal.table(("SECONDS", "OWN", "MODULE", "IMPORTED AT"), rows, right=frozenset({0, 1}))
    rest = (serving["load_seconds"] or 0.0) - sum(found["own"] for found in imports)
    preloaded = len(report.get("preloaded") or ())
    terminal.print(
        "",
        f"{words.seconds(rest)} for the rest: the target's own code, imports that are not listed, and "
        "reading its definitions",
        *([f"{words.plural(preloaded, 'module')} had been preloaded, and took no time"] if preloaded else []),
    )  # fmt: skip
    if rest >= _LONG:
        name = clean(shlex.quote(location))
        terminal.print(
            f"hint: `supervise stacks {name}` names the line while it loads: after a change, or "
            f"`supervise reload --no-wait {name}`"
        )
    return 0


def _summary(one: LocationStatus, serving: Serving) -> str:
    text = f"{clean(one['name'])}: generation {serving['generation']} loaded in "
    text += words.seconds(serving["load_seconds"])
    if serving["start_seconds"]:
        text += f", after {words.seconds(serving['start_seconds'])} to start its process"
    process = one["process"]
    method = process["start_method"] if process is not None else ""
    return text + (f" ({method}{_because(one)})" if method else "")


def _because(one: LocationStatus) -> str:
    process = one["process"]
    reason = process["start_method_reason"] if process is not None else ""
    return f": {clean(reason)}" if reason else ""
