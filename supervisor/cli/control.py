"""Commands that give orders: reload, restart, stop, start, wait, shutdown.

Owns the waiting for an order's outcome and how it is told. Orders are idempotent: what is so already
is said and is no error. Touches no process: the supervisor does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.choosing import Choice, tag_option
from supervisor.cli.insist import insist
from supervisor.cli.options import LOCATION, SECONDS, json_option, locating
from supervisor.cli.outcome import outcome_lines
from supervisor.cli.session import Session
from supervisor.presentation import words
from supervisor.states import UNDER_WAY
from supervisor.workspace_files import Selection

if TYPE_CHECKING:
    from supervisor.client.client import Client, Order
    from supervisor.protocol.documents import Diff, LocationStatus, Waited

__all__ = ["reload_", "restart_", "shutdown_", "start_", "stop_", "upgrade_", "wait_"]

# How long `wait` gives a supervisor that was only just started to answer.
_APPEAR_SECONDS = 10.0


def _command(order: Order, short_help: str, text: str) -> click.Command:
    """The four orders differ in one word."""

    @click.command(order, short_help=short_help, help=text)
    @click.argument("locations", nargs=-1, metavar="LOCATION...", **LOCATION)
    @click.option("--all", "everything", is_flag=True, help="All locations.")
    @tag_option
    @click.option("--no-wait", is_flag=True, help="Return at once instead of with the outcome.")
    @click.option("--timeout", type=SECONDS, metavar="SECONDS", help="Wait no longer than this.")
    @json_option
    @locating
    def command(
        session: Session,
        locations: tuple[str, ...],
        everything: bool,
        tags: tuple[str, ...],
        no_wait: bool,
        timeout: float | None,
        as_json: bool,
    ) -> int:
        choice = Choice(locations, tags)
        if bool(choice) == everything:
            raise click.UsageError("name the locations, or use --tag or --all")
        with session.client(order=True) as client:
            return _give(session, client, order, choice, no_wait, timeout, as_json)

    result: click.Command = command
    return result


def _give(
    session: Session,
    client: Client,
    order: Order,
    choice: Choice,
    no_wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    terminal = session.terminal
    known = client.status()["locations"]
    served = {
        one["name"]: one["serving"]["generation"] for one in known if one["serving"] is not None
    }
    chosen = [one["name"] for one in choice.of(known, order=True)]
    answers = client.order(order, chosen if choice else ())
    if no_wait:
        if as_json:
            terminal.data({"locations": {name: {"answer": word} for name, word in answers.items()}})
        else:
            terminal.print(*(f"{name}: {word}" for name, word in answers.items()))
        return 0
    if terminal.interactive and not as_json:
        terminal.say(f"{order}: waiting for {_names(list(answers))}", "dim")
    _wait(session, client, tuple(answers), timeout)
    wanted = "stopped" if order == "stop" else "ready"
    results: dict[str, Any] = {}
    well = True
    for name, word in answers.items():
        location = client.status(name)["locations"][0]
        diff = _changed(client, location, served.get(name))
        reached = location["state"] == wanted
        well = well and reached
        results[name] = _outcome(word, location, diff)
        if as_json:
            continue
        if word.startswith("already"):
            terminal.print(f"{name}: {word}")
        elif word.startswith("is "):  # and so cannot take the order
            terminal.print(f"{name} {word}")
        else:
            lines = outcome_lines(location, colour=terminal.colour, diff=diff, log_lines=5)
            terminal.print(*lines)
    if as_json:
        terminal.data({"locations": results})
    if not well and timeout is not None and not as_json:
        late = [name for name, one in results.items() if one["state"] in UNDER_WAY]
        if late:
            terminal.error(f"after {timeout:g} s {_names(late)} had not finished")
    return 0 if well else 1


def _wait(
    session: Session, client: Client, locations: Sequence[str], timeout: float | None
) -> Waited:
    """As ``Client.wait``; a supervisor that is silent for a while is waited for, too."""
    until = None if timeout is None else time.monotonic() + timeout

    def ask() -> Waited:
        left = None if until is None else max(until - time.monotonic(), 0.0)
        return client.wait(*locations, timeout=left)

    return insist(ask, session.terminal.say, until)


def _outcome(answer: str, location: LocationStatus, diff: Diff | None) -> dict[str, Any]:
    return {
        "answer": answer,
        "state": location["state"],
        "reason": location["reason"],
        "generation": location["generation"],
        "diff": diff,
        "failure": location["failure"],
    }


def _changed(client: Client, location: LocationStatus, before: int | None) -> Diff | None:
    """What changed since generation ``before``, if a newer one is served by now."""
    from supervisor.errors import RequestError

    serving = location["serving"]
    if before is None or serving is None or serving["generation"] == before:
        return None
    try:
        return client.diff(location["name"], before, serving["generation"])
    except RequestError:  # several reloads later the older one is not kept any more
        return None


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else words.plural(len(names), "location")


reload_ = _command(
    "reload",
    "Load locations again, beside what they serve.",
    """Load each LOCATION again in a new process, beside the one that serves.

    The new generation takes over when it is ready; if it fails, the old one goes on serving. Prints
    what changed. Exit status 0 when all are ready.""",
)
restart_ = _command(
    "restart",
    "Stop locations and start them afresh.",
    """Stop the process of each LOCATION and start a new one. Exit status 0 when all are ready.""",
)
stop_ = _command(
    "stop",
    "Stop locations until they are started.",
    """Stop each LOCATION until it is started again: by `start`, or by a launch or a tick of it.

    What it served last can still be read. Its schedules and sensors wait.""",
)
start_ = _command(
    "start",
    "Start locations that do not run.",
    """Start each LOCATION that is stopped, failed or crashed. Exit status 0 when all are ready.""",
)


@click.command("wait", short_help="Wait until locations are ready.")
@click.argument("locations", nargs=-1, metavar="[LOCATION]...", **LOCATION)
@tag_option
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="Give up after this long.")
@json_option
@locating
def wait_(
    session: Session,
    locations: tuple[str, ...],
    tags: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
) -> int:
    """Wait until nothing is under way in each LOCATION (all, by default).

    A supervisor that was started a moment ago is waited for, too. Exit status: 0 all are ready, 1
    something failed or time is up, 3 no supervisor runs.
    """
    began = time.monotonic()
    terminal = session.terminal
    appear = _APPEAR_SECONDS if timeout is None else min(timeout, _APPEAR_SECONDS)
    found = _when_there(partial(session.found, order=True), began + appear)
    with session.client_of(found) as client:
        left = None if timeout is None else max(timeout - (time.monotonic() - began), 0.0)
        choice = Choice(locations, tags)
        chosen: Sequence[str] = locations
        if choice.needs_look:
            chosen = [one["name"] for one in choice.of(client.status()["locations"])]
        waited = _wait(session, client, chosen, left)
        if as_json:
            terminal.data(waited)
        for name, state in waited["locations"].items():
            if not as_json and not words.good(state):
                one = client.status(name)["locations"][0]
                terminal.print(*outcome_lines(one, colour=terminal.colour))
    if waited["ready"]:
        if not as_json:
            terminal.say(f"{words.plural(len(waited['locations']), 'location')} ready")
        return 0
    late = [name for name, state in waited["locations"].items() if state in UNDER_WAY]
    if late and not as_json:
        terminal.error(f"after {timeout:g} s {_names(late)} had not finished")
    return 1


def _when_there(look: Callable[[], Any], deadline: float) -> Any:
    """What ``look`` finds; looks again for a while before it lets NotRunningError through, unless
    there is no workspace that could be started."""
    from supervisor.errors import NotRunningError

    while True:
        try:
            return look()
        except NotRunningError as error:
            if error.nothing_here or time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


@click.command("shutdown", short_help="Stop the supervisor and everything it runs.")
@click.option("--now", is_flag=True, help="Kill the locations' processes instead of asking them.")
@click.option(
    "--timeout", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS",
    help="Wait no longer than this for its end.",
)  # fmt: skip
@json_option
@locating
def shutdown_(session: Session, now: bool, timeout: float, as_json: bool) -> int:
    """Stop the supervisor and everything it runs, and wait for its end.

    Exit status 0 also when none was running; 3 where it is not plain which one is meant: no
    workspace was named, none that is supervised stands here, and others run.
    """
    return _end(session, timeout, as_json, at_once=now)


@click.command("upgrade", short_help="Stop the supervisor, and leave its runs to the next.")
@click.option(
    "--timeout", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS",
    help="Wait no longer than this for its end.",
)  # fmt: skip
@json_option
@locating
def upgrade_(session: Session, timeout: float, as_json: bool) -> int:
    """Stop the supervisor and its locations, but not its runs: the next supervisor adopts them.

    As SIGUSR2 does. Exit status as of `shutdown`.
    """
    return _end(session, timeout, as_json, leave_runs=True)


def _end(session: Session, timeout: float, as_json: bool, **how: bool) -> int:
    from supervisor.client.connection import wait_for_end
    from supervisor.errors import NotRunningError

    terminal = session.terminal
    try:
        found = session.found(order=True)
    except NotRunningError as error:
        if error.others and session.selection == Selection():
            raise
        if as_json:
            terminal.data({"pid": None})
        terminal.say("no supervisor is running" if error.nothing_here else str(error))
        return 0
    # It may end by itself in this moment, which is what is wanted.
    with session.client_of(found) as client, contextlib.suppress(NotRunningError):
        client.shutdown(**how)
    ended = wait_for_end(found, timeout)
    if as_json:
        terminal.data({"pid": found.pid, "ended": ended})
    if not ended and not as_json:
        terminal.error(
            f"the supervisor (pid {found.pid}) has not ended after {timeout:g} s",
            "use `supervise shutdown --now`",
        )
    elif not as_json:
        terminal.say(f"the supervisor of {found.workspace} (pid {found.pid}) has ended")
    return 0 if ended else 1
