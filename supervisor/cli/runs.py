"""``supervise runs``: current and past runs.

Owns the list and the commands about one run. Reads through the client alone.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.completion import RUN
from supervisor.cli.following import follow_to_end
from supervisor.cli.launch import DURATION
from supervisor.cli.options import LOCATION, ListingOf, json_option, locating
from supervisor.cli.session import Session
from supervisor.errors import UnknownLocationError
from supervisor.nearest import near
from supervisor.presentation import runs as words
from supervisor.presentation import words as general
from supervisor.presentation.text import clean
from supervisor.states import RunState

if TYPE_CHECKING:
    from supervisor.protocol.run_documents import RunRow

__all__ = ["runs_"]


@click.group("runs", cls=ListingOf, short_help="List runs, look at one, cancel or retry it.")
def runs_() -> None:
    """List the newest runs, of all locations or of one: `supervise runs [LOCATION]`.

    RUN is a run's id, or the beginning or the end of one.
    """


@runs_.command("list", short_help="List the newest runs (the default).")
@click.argument("location", required=False, **LOCATION)
@click.option("--state", "states", multiple=True, metavar="STATE", help="Only runs in this state.")
@click.option("--tag", metavar="NAME[=VALUE]", help="Only runs with this tag.")
@click.option("--parent", metavar="RUN", help="The runs of this range of partitions.")
@click.option("--since", type=DURATION, help="Only those launched within this time, such as 1d.")
@click.option(
    "-n", "--limit", type=click.IntRange(0, 1000), default=20, show_default=True,
    help="How many.",
)  # fmt: skip
@json_option
@locating
def list_(
    session: Session,
    location: str | None,
    states: tuple[str, ...],
    tag: str | None,
    parent: str | None,
    since: float | None,
    limit: int,
    as_json: bool,
) -> int:
    """List the newest runs, newest first."""
    begin = 0.0 if since is None else time.time() - since
    with session.client() as client:
        try:
            rows = client.runs(
                location, states=states, tag=tag, since=begin, limit=limit, parent=parent
            )
        except UnknownLocationError as error:
            meant = near(error.name, [one.value for one in RunState])
            if meant and not states:
                error.hint = f"runs in that state: `supervise runs --state {meant}`"
            raise
    if as_json:
        session.terminal.data({"runs": rows})
    elif rows:
        _table(session, rows)
    else:
        session.terminal.say("there are no runs", "dim")
    return 0


def _table(session: Session, rows: list[RunRow]) -> None:
    terminal, now = session.terminal, time.time()
    terminal.table(
        ("RUN", "LOCATION", "WHAT", "STATE", "AGO", "TOOK", "REASON"),
        [
            (
                one["run"],
                clean(one["location"]),
                words.subject(one),
                terminal.paint(one["state"].replace("_", " "), words.STYLES.get(one["state"], "")),
                general.ago(one["created"], now),
                words.took(one, now),
                clean(one["reason"] or ""),
            )
            for one in rows
        ],
        spare=(1, 4),
    )


@runs_.command("show", short_help="Show one run.")
@click.argument("run", **RUN)
@json_option
@locating
def show(session: Session, run: str, as_json: bool) -> int:
    """Show RUN: its state, its configuration and why it failed."""
    terminal = session.terminal
    with session.client() as client:
        detail: Any = client.run(run).row
    if as_json:
        terminal.data(detail)
        return 0
    terminal.print(words.summary(detail, time.time(), colour=terminal.colour))
    facts = {
        "launched": general.moment(detail["created"]) if detail["created"] else None,
        "generation": detail["generation"],
        "ops": ", ".join(detail["op_selection"] or []),
        "assets": ", ".join(detail["assets"] or []),
        "partition": detail["partition"],
        "part of": detail["parent"],
        "tags": ", ".join(f"{name}={value}" for name, value in detail["tags"].items()),
        "config": json.dumps(detail["config"]) if detail["config"] else None,
        "last step": detail["step"],
        "limits": words.limits(detail),
        "fresh process": detail["fresh_because"],
        "place in the queue": detail["place"],
        "attempt": detail["attempt"] if detail["attempt"] > 1 else None,
        "retry of": detail["retry_of"],
        "retried by": detail["retried_by"],
        "events not kept": detail["dropped"],
        "output lost": general.size(detail["lost_output"]) if detail["lost_output"] else None,
        f"not told to {detail['untold']}": detail["untold_because"] or "not yet"
        if detail["untold"]
        else None,
        "journal": detail["journal"] if not detail["runs"] else None,  # each run has its own
    }
    terminal.print(*(f"  {name}: {clean(str(value))}" for name, value in facts.items() if value))
    terminal.print(*(f"  {line}" for line in words.failure_lines(detail)))
    if detail["runs"]:
        _table(session, detail["runs"])
    return 0


@runs_.command("events", short_help="Print the events of a run.")
@click.argument("run", **RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@locating
def events(session: Session, run: str, follow: bool, as_json: bool) -> int:
    """Print the events of RUN, with the same names in all frameworks."""
    terminal = session.terminal
    with session.client() as client:
        for event in client.run(run).events(wait=follow):
            if as_json:
                terminal.row(event)
                continue
            moment = time.strftime("%H:%M:%S", time.localtime(event["time"]))
            stamp = f"{moment}.{int(event['time'] % 1 * 1000):03d}"
            terminal.print(f"{terminal.paint(stamp, 'dim')}  {words.event_line(event)}")
            terminal.out.flush()
    return 0


@runs_.command("logs", short_help="Print what a run wrote.")
@click.argument("run", **RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended.")
@locating
def logs(session: Session, run: str, follow: bool) -> int:
    """Print what RUN wrote, its standard output to ours and its errors to ours."""
    terminal = session.terminal
    with session.client() as client:
        for news in client.run(run).follow({"out": 0, "err": 0}, wait=follow):
            terminal.out.write(news.get("out", ""))
            terminal.err.write(news.get("err", ""))
            terminal.out.flush()
            terminal.err.flush()
    return 0


@runs_.command("cancel", short_help="Ask a run to end.")
@click.argument("run", **RUN)
@click.option("--now", is_flag=True, help="Kill it at once.")
@click.option("--no-wait", is_flag=True, help="Return at once.")
@json_option
@locating
def cancel(session: Session, run: str, now: bool, no_wait: bool, as_json: bool) -> int:
    """Cancel RUN; it is killed when it has not ended within its grace period. Exit status 0 when it has ended."""
    terminal = session.terminal
    with session.client(order=True) as client:
        found = client.run(run)
        already = found.row["ended"] is not None
        if not already:
            found.cancel(now=now, who="supervise runs cancel")
            if not no_wait:
                found.wait()
        if as_json:
            terminal.data(found.row)
        else:
            if already:
                terminal.say("it has ended already")
            terminal.print(words.summary(found.row, time.time(), colour=terminal.colour))
    return 0


@runs_.command("retry", short_help="Run the same again.")
@click.argument("run", **RUN)
@click.option(
    "--from-failure", is_flag=True,
    help="Only the steps that have not succeeded; of a range, only such partitions.",
)  # fmt: skip
@click.option("--detach", is_flag=True, help="Return at once; the run goes on.")
@json_option
@locating
def retry(session: Session, run: str, from_failure: bool, detach: bool, as_json: bool) -> int:
    """Run what RUN ran again, with the same configuration and tags, on the code that is served now.

    Of a range of partitions, all of them.
    """
    with session.client(order=True) as client:
        found = client.retry(run, from_failure=from_failure)
        if not detach:
            return follow_to_end(session, found, as_json=as_json)
        if as_json:
            session.terminal.data(found.row)
        else:
            session.terminal.print(found.id)
    return 0
