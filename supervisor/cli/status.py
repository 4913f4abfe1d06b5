"""``supervise status``: all locations as a table, or one as ``systemctl status`` would show it.

Owns the layout of both. Imports nothing that is slow: this is the command that people and scripts
run all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.choosing import Choice, state_option, tag_option
from supervisor.cli.options import LOCATION, json_option, locating
from supervisor.cli.session import Session
from supervisor.cli.terminal import Terminal
from supervisor.presentation import failures, words
from supervisor.presentation.problems import PROBLEMS, problem_lines
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.protocol.documents import (
        Condition,
        LoadWarning,
        LocationStatus,
        Serving,
        StatusDocument,
    )

__all__ = ["HEADS", "SORTS", "SPARE", "location_row", "print_problems", "status_", "warning_lines"]

HEADS = ("LOCATION", "STATE", "SINCE", "GEN", "PYTHON", "FRAMEWORK", "MEMORY", "DEFINITIONS")
# Left out of a narrow table, first to last.
SPARE = (6, 3, 5)
_LOG_LINES = 10


def _memory(one: LocationStatus) -> int:
    process = one["process"]
    memory = process["memory"] if process is not None else None
    return (memory["rss"] or 0) if memory else 0


_BAD_FIRST = ("crashed", "failed", "backoff", "stopping", "stopped", "starting", "loading", "ready")
SORTS: Mapping[str, Callable[[list[LocationStatus]], list[LocationStatus]]] = {
    "name": lambda found: sorted(found, key=lambda one: one["name"]),
    "state": lambda found: sorted(
        found,
        key=lambda one: _BAD_FIRST.index(one["state"]) if one["state"] in _BAD_FIRST else 99,
    ),
    "since": lambda found: sorted(found, key=lambda one: -one["since"]),
    "memory": lambda found: sorted(found, key=lambda one: -_memory(one)),
}
"""What ``--sort`` takes: each gives the locations in another order."""


@click.command("status", short_help="Show the state of all locations, or all about one.")
@click.argument("locations", nargs=-1, metavar="[LOCATION]...", **LOCATION)
@tag_option
@state_option
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    help="Sort by name, state (the worst first), since (the newest first) or memory (the most first).",
)
@json_option
@click.option(
    "-v", "--verbose", "--traceback", "verbose", is_flag=True, help="Show whole tracebacks."
)
@click.option(
    "-f", "--follow", "--watch", "follow", is_flag=True, help="Keep showing them until Ctrl-C."
)
@locating
def status_(
    session: Session,
    locations: tuple[str, ...],
    tags: tuple[str, ...],
    states: tuple[str, ...],
    sort: str | None,
    as_json: bool,
    verbose: bool,
    follow: bool,
) -> int:
    """Show the state of all locations, of some, or everything about one.

    LOCATION is a name or a pattern such as 'team-*'. Exit status: 0 all that are shown are ready, 1
    something is not, or the workspace has problems, 3 no supervisor runs, 4 no such location. A
    location that is served elsewhere counts as ready; one that is starting does not.
    """
    choice = Choice(locations, tags, states)

    def chosen(document: StatusDocument, *, any_state: bool = False) -> StatusDocument:
        meant = replace(choice, states=()) if any_state else choice
        shown = meant.of(document["locations"])
        return {**document, "locations": SORTS[sort](shown) if sort else shown}

    if follow:
        if as_json:
            raise click.UsageError(
                "--follow is for people; a program asks again, or uses the client"
            )
        from supervisor.cli.run import watch

        return watch(session, chosen)
    detail = locations[0] if len(locations) == 1 and not choice.needs_look else None
    with session.client() as client:
        document = client.status(detail)
        if detail is None:
            document = chosen(document)
    terminal = session.terminal
    if as_json:
        terminal.data(document)
    elif detail is None:
        _print_all(terminal, document, time.time(), some=bool(choice))
    else:
        for entry in document["locations"]:
            terminal.print(*_page(terminal, entry, time.time(), verbose=verbose))
    well = all(words.good(one["state"]) for one in document["locations"])
    if detail is None and document["supervisor"]["configuration_problems"]:
        well = False  # what is shown is not what the workspace's files say
    return 0 if well else 1


# -- the table ----------------------------------------------------------------------------------


def _print_all(
    terminal: Terminal, document: StatusDocument, now: float, *, some: bool = False
) -> None:
    locations = document["locations"]
    rows = [location_row(terminal, one, now, whole=True) for one in locations]
    if not terminal.fits(HEADS, rows):
        rows = [location_row(terminal, one, now) for one in locations]
    if rows:
        terminal.table(HEADS, rows, right=frozenset({2, 3, 6}), spare=SPARE)
    else:
        terminal.print("no location is in this state" if some else "the workspace has no locations")
    face = document["supervisor"].get("face")
    if face is not None and face["url"]:
        programs = ", ".join(f"{one['name']} {one['state']}" for one in face["programs"])
        begins = "" if face["usable"] else ", does not answer yet"
        terminal.print(f"dagster: {face['url']} ({programs}{begins})")
    print_problems(terminal, document)


def location_row(
    terminal: Terminal, location: LocationStatus, now: float, *, whole: bool = False
) -> list[str]:
    """The cells of one location, for ``HEADS``; ``whole``: of every kind how many definitions."""
    mark, style = words.symbol(location["state"])
    serving = location["serving"]
    return [
        f"{terminal.paint(mark, style)} {clean(location['name'])}",
        terminal.paint(location["state"], style),
        words.ago(location["since"], now),
        str(location["generation"] or ""),
        words.python_of(location),
        words.framework_of(serving),
        words.size(_memory(location) or None),
        _definitions(location, serving, None if whole else 3),
    ]


def _definitions(location: LocationStatus, serving: Serving | None, limit: int | None) -> str:
    if location["remote"]:
        return f"served at {location['remote']}"
    if serving is None:
        return ""
    text = words.counts(serving["counts"], limit=limit)
    if location["state"] != "ready":
        # Without its process it can be read, and nothing of it runs.
        word = "still serving" if serving["alive"] else "last served"
        text = f"{word} generation {serving['generation']}: {text}"
    return text


def print_problems(terminal: Terminal, document: StatusDocument) -> None:
    """What needs attention, below the table: reasons, warnings, broken edits."""
    lines: list[str] = []
    supervisor = document["supervisor"]
    problems = supervisor["configuration_problems"]
    if problems:  # first, for conditions of locations follow from them
        lines.append(f"{terminal.paint('✗', 'red')} {PROBLEMS}")
        lines += problem_lines(problems, colour=terminal.colour)
    for one in document["locations"]:
        mark, style = words.symbol(one["state"])
        name = clean(one["name"])
        if not words.good(one["state"]):
            reason = failures.headline(one) or one["reason"] or one["state"]
            lines.append(f"{terminal.paint(mark, style)} {name}: {clean(reason)}")
            hint = failures.remedy(one)
            if hint:
                lines.append(f"  {terminal.paint('hint:', 'cyan')} {clean(hint)}")
            if one["failure"] is not None:
                more = f"supervise status {one['name']}"
                lines.append(terminal.paint(f"  more: {clean(more)}", "dim"))
        lines += _prefixed(terminal, name, one["warnings"], 1 if terminal.width else None)
        lines += _conditions(terminal, f"{name}: ", one["conditions"])
    told = {one["message"] for one in supervisor["conditions"]}
    lines += [
        f"{terminal.paint('!', 'yellow')} {clean(text)}"
        for text in supervisor["warnings"]
        if text not in told
    ]
    lines += _conditions(terminal, "", supervisor["conditions"])
    if lines:
        terminal.print("", *lines)


def _prefixed(
    terminal: Terminal, name: str, warnings: list[LoadWarning], limit: int | None
) -> list[str]:
    shown = warnings[:limit]
    lines = [f"{name}: {line}" for one in shown for line in warning_lines(terminal, one)[:1]]
    if len(warnings) > len(shown):
        lines.append(f"{name}: {len(warnings) - 1} more warnings: supervise status {name}")
    return [f"{terminal.paint('!', 'yellow')} {line}" for line in lines]


def _conditions(terminal: Terminal, head: str, conditions: list[Condition]) -> list[str]:
    lines = []
    for one in conditions:
        since = f" (since {words.moment(one['since'])})"
        lines.append(f"{terminal.paint('!', 'yellow')} {head}{clean(one['message'])}{since}")
        if one["hint"]:
            lines.append(f"  {terminal.paint('hint:', 'cyan')} {clean(one['hint'])}")
    return lines


def warning_lines(terminal: Terminal, warning: LoadWarning) -> list[str]:
    """A warning's sentence with its place, and its hint."""
    place = warning.get("file") or ""
    if place and warning.get("line"):
        place += f":{warning['line']}"
    text = clean(warning.get("message") or warning.get("code") or "")
    lines = [f"{text} ({clean(place)})" if place else text]
    if warning.get("hint"):
        lines.append(f"{terminal.paint('hint:', 'cyan')} {clean(warning['hint'])}")
    return lines


# -- one location -------------------------------------------------------------------------------


def _page(terminal: Terminal, one: LocationStatus, now: float, *, verbose: bool) -> list[str]:
    mark, style = words.symbol(one["state"])
    lines = [
        f"{terminal.paint(mark, style)} {terminal.paint(clean(one['name']), 'bold')}{_target(one)}"
    ]

    def row(label: str, text: str) -> None:
        if text:
            lines.append(f"{label:>13}: {clean_keeping_paint(text)}")

    kind = one["failure"]["kind"] if one["failure"] else ""
    state = terminal.paint(one["state"], style) + (f" ({kind})" if kind else "")
    passed = words.seconds(now - one["since"])
    row("State", f"{state} since {words.moment(one['since'])}; {passed} ago")
    row("Reason", clean(one["reason"] or ""))
    row("Serving", _serving(terminal, one, now))
    row("Process", _process(one, now))
    row("Verified", clean(words.verified(one)))
    for fact in words.code_servers(one, now):
        row("Code server", clean(fact))
    row("Restarts", _restarts(one, now))
    row("Limits", _limits(one))
    for stray in one.get("strays", []):
        row("Left session", f"pid {stray['pid']} {clean(stray['command'])}")
    if one["environment"] is not None:
        environment = one["environment"]
        row("Python", f"{words.python_of(one)}  {environment.get('executable') or ''}".strip())
        managed = "made here" if environment.get("managed") else "used as it is"
        prefix = environment.get("prefix") or ""
        row(
            "Environment",
            "  ".join(filter(None, (f"{environment.get('name')} ({managed})", prefix))),
        )
    serving = one["serving"]
    row("Framework", words.framework_of(serving))
    if serving is not None:
        row("Definitions", words.counts(serving["counts"]))
    row("Tags", clean(words.tags(one)))
    if one["origin"]:
        row("Defined in", f"{one['origin']}" + (f" ({one['form']})" if one["form"] else ""))
    for name, value in one["metadata"].items():
        row("Metadata", f"{name}: {value}")
    for warning in one["warnings"]:
        first, *rest = warning_lines(terminal, warning)
        row(terminal.paint("    Warning", "yellow") if terminal.colour else "Warning", first)
        lines += [" " * 15 + line for line in rest]
    for condition in one["conditions"]:
        row("Condition", f"{condition['message']} (since {words.moment(condition['since'])})")
        if condition["hint"]:
            lines.append(" " * 15 + f"hint: {clean(condition['hint'])}")
    if one["failure"] is not None:
        generation = one["failure"].get("generation") or one["generation"]
        lines += ["", terminal.paint(f"Failure of generation {generation}:", "bold")]
        shown = failures.render(one, colour=terminal.colour, traceback=verbose)
        lines += ["  " + line for line in shown]
    log = one["log"]
    if log is not None:
        count = _LOG_LINES if one["failure"] is None else 2 * _LOG_LINES
        tail = failures.without_own_frames(log.get("tail") or [])[-count:]
        lines += ["", terminal.paint(f"Log: {log['path']}", "bold")]
        for line in tail:
            stamp = time.strftime("%H:%M:%S", time.localtime(line["time"]))
            text = f"  {stamp} {line['stream']} {clean(line['text'])}"
            lines.append(terminal.paint(text, "dim") if line["stream"] == "sup" else text)
    return lines


def clean_keeping_paint(text: str) -> str:
    """``text`` on one line; its cells were cleaned before they were painted."""
    return text.replace("\n", " ")


def _target(one: LocationStatus) -> str:
    target = one["target"]
    if target is None:
        return f" - served elsewhere, at {one['remote']}" if one["remote"] else ""
    attribute = f":{target['attribute']}" if target.get("attribute") else ""
    return f" - {target['kind']} {clean(target['name'])}{attribute}"


def _serving(terminal: Terminal, one: LocationStatus, now: float) -> str:
    serving = one["serving"]
    if serving is None:
        return ""
    text = f"generation {serving['generation']}, loaded {words.ago(serving['loaded_at'], now)} ago"
    if serving["load_seconds"]:
        text += f" in {words.seconds(serving['load_seconds'])}"
    text += f", {words.size(serving['size'])}, fingerprint {serving['fingerprint'][:12]}"
    if not serving["alive"]:
        text += terminal.paint(" (its process is gone)", "yellow")
    elif one["state"] != "ready":
        text += terminal.paint(" (older than the newest generation)", "yellow")
    return text


def _limits(one: LocationStatus) -> str:
    process = one["process"]
    how = process.get("limits", {}) if process is not None else {}
    return words.limits(one.get("limits", {}), how)


def _process(one: LocationStatus, now: float) -> str:
    process = one["process"]
    if process is None:
        return ""
    memory: Mapping[str, Any] = process.get("memory") or {}
    unique = f" ({words.size(memory['uss'])} of its own)" if memory.get("uss") else ""
    percent = process.get("cpu_percent")
    used = process.get("cpu_seconds")
    parts = [
        f"pid {process['pid']}",
        f"up {words.seconds(now - process['started'])}",
        f"memory {words.size(memory['rss'])}{unique}" if memory.get("rss") else "",
        f"cpu {percent or 0:g}%, {words.seconds(used)} in all" if used is not None else "",
        f"{process['start_method']}ed"
        if process.get("start_method") == "spawn"
        else process.get("start_method") or "",
    ]
    text = ", ".join(filter(None, parts))
    reason = process.get("start_method_reason")
    return f"{text} ({reason})" if reason else text


def _restarts(one: LocationStatus, now: float) -> str:
    due = one["next_restart"]
    if due is not None:
        return f"{one['restarts']}, the next in {words.seconds(max(due - now, 0.0))}"
    why = one.get("restart_reason")  # a supervisor of an older version sends none
    return f"{one['restarts'] or ''}" + (f", the last because {why}" if why else "")
