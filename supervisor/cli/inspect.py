"""Commands that look at definitions and at running supervisors: list, show, snapshot, history, diff,
ps.

Owns how definitions are printed. Reads through the client alone and changes nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from supervisor.cli.completion import DEFINITION, KIND
from supervisor.cli.lone import lone
from supervisor.cli.options import GENERATION, LOCATION, json_option, locating
from supervisor.cli.session import Session
from supervisor.cli.terminal import Terminal
from supervisor.nearest import near
from supervisor.presentation import words
from supervisor.presentation.text import clean

__all__ = ["diff_", "diff_lines", "history_", "list_", "ps_", "show_", "snapshot_", "stacks_"]


@click.command("list", short_help="List definitions, of one kind or all.")
@click.argument("kind", required=False, **KIND)
@click.option("-l", "--location", help="Of this location only.", **LOCATION)
@json_option
@locating
def list_(session: Session, kind: str | None, location: str | None, as_json: bool) -> int:
    """List the definitions of all locations: of one KIND (job, schedule, asset, …) or of all.

    Plural forms are understood. What a location serves is listed, also while a newer generation of
    it starts or has failed.
    """
    with session.client() as client:
        rows = client.definitions(_singular(kind), location=location)
        if kind is not None and not rows:
            known = sorted({one["kind"] for one in client.definitions(None, location=location)})
            if known and _singular(kind) not in known:
                if location is None and kind in {
                    one["name"] for one in client.status()["locations"]
                }:
                    raise click.UsageError(
                        f"{kind} is a location and no kind: `supervise list -l {shlex.quote(kind)}`"
                    )
                meant = near(_singular(kind) or "", known)
                if meant:
                    raise click.UsageError(f"no kind here is {kind!r}: did you mean {meant!r}?")
                session.terminal.say(f"there is no {kind}; kinds here: {', '.join(known)}", "dim")
    terminal = session.terminal
    if as_json:
        terminal.data({"definitions": rows})
        return 0
    if rows:
        terminal.table(
            ("LOCATION", "KIND", "NAME", "DESCRIPTION"),
            [
                [clean(one["location"]), one["kind"], _name(one), _first_line(one["description"])]
                for one in rows
            ],
        )
    return 0


def _singular(kind: str | None) -> str | None:
    if kind is None:
        return None
    text = kind.lower().replace("-", "_")
    if text == "repositories":
        return "repository"
    return text[:-1] if text.endswith("s") else text


def _name(one: Mapping[str, Any]) -> str:
    name = clean(one["name"])
    repository = f" @{clean(one['repository'])}" if one.get("repository") else ""
    return name + repository + (" (lazy)" if one.get("lazy") else "")


def _first_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return clean(lines[0]) if lines else ""


@click.command("show", short_help="Show one definition in full.")
@click.argument("location", **LOCATION)
@click.argument("name", metavar="NAME", required=False, **DEFINITION)
@click.option("-k", "--kind", **KIND, help="The kind, where a name is that of several definitions.")
@click.option("--repository", help="The repository, where a location has several.")
@json_option
@locating
def show_(
    session: Session,
    location: str,
    name: str | None,
    kind: str | None,
    repository: str | None,
    as_json: bool,
) -> int:
    """Show the definition NAME of LOCATION, as YAML. A lazy one is constructed now, in its own process."""
    name = name or lone(session, location, "show", "a NAME")
    with session.client() as client:
        shown = client.show(location, name, kind=_singular(kind), repository=repository)
    terminal = session.terminal
    if as_json:
        terminal.data(shown)
        return 0
    source = shown["source"]
    place = f", {source[0]}:{source[1]}" if source else ""
    head = f"# {location}, generation {shown['generation']}{place}"
    terminal.print(terminal.paint(clean(head), "dim"), *_yaml(shown["definition"], terminal))
    return 0


def _yaml(value: Any, terminal: Terminal) -> list[str]:
    """Plain data as lines of YAML."""
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return [
        re.sub(
            r"^( *(?:- )*)([\w.]+)(?=:)", lambda key: key[1] + terminal.paint(key[2], "blue"), line
        )
        for line in clean(text).splitlines()
    ]


@click.command("snapshot", short_help="Write out all definitions of a location.")
@click.argument("location", **LOCATION)
@click.option(
    "-g", "--generation", type=GENERATION, help="This generation instead of the one served."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "msgpack"]),
    help="json, or the canonical msgpack bytes whose SHA-256 is the fingerprint. "
    "By default json, or what the name of the output file says.",
)
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@locating
def snapshot_(
    session: Session,
    location: str,
    generation: int | None,
    output: Path | None,
    form: str | None,
    as_json: bool,
) -> int:
    """Write the snapshot that LOCATION serves, as docs/snapshot.md describes it."""
    if as_json:
        form = "json"
    elif form is None:
        binary = output is not None and output.suffix in (".msgpack", ".mp")
        form = "msgpack" if binary else "json"
    terminal = session.terminal
    if form == "msgpack" and output is None and terminal.out.isatty():
        raise click.UsageError("msgpack is binary: name a file with -o, or use a pipe")
    with session.client(timeout=60.0) as client:
        snapshot = client.snapshot(location, generation=generation)
    if form == "msgpack":
        data = snapshot.definitions
    else:
        import json

        document = {
            "location": snapshot.location,
            "generation": snapshot.generation,
            "fingerprint": snapshot.fingerprint,
            "loaded_at": snapshot.loaded_at,
            "definitions": snapshot.document(),
            "sources": snapshot.source_map(),
            "report": snapshot.report,
        }
        data = (json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n").encode()
    if output is not None:
        try:
            output.write_bytes(data)
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise click.ClickException(f"{output} cannot be written: {reason}") from None
        size = words.size(len(data))
        terminal.say(f"{location}: generation {snapshot.generation} written to {output} ({size})")
    else:
        terminal.out.flush()
        terminal.out.buffer.write(data)
    return 0


@click.command("stacks", short_help="Show where the process of a location is right now.")
@click.argument("location", **LOCATION)
@json_option
@locating
def stacks_(session: Session, location: str, as_json: bool) -> int:
    """Show the Python stacks of LOCATION's process as it runs now: what is it waiting for?

    Works while it imports, hangs or computes; the process goes on.
    """
    with session.client() as client:
        found = client.call_method("stacks", {"location": location})
    if as_json:
        session.terminal.data(found)
    else:
        for line in found["lines"]:
            session.terminal.print(clean(line))
        calls = [line for line in found["lines"] if line.startswith("  File ")]
        if calls and all("/runner_shim/" in line for line in calls):
            session.terminal.say("it is idle: no code of the location is on the stack", "dim")
    return 0


@click.command("history", short_help="List the generations of a location that are kept.")
@click.argument("location", **LOCATION)
@json_option
@locating
def history_(session: Session, location: str, as_json: bool) -> int:
    """List the generations of LOCATION that are kept, oldest first: what diff can compare.

    The one that is served is marked; = stands before a fingerprint that is that of the line above.
    How many are kept is the location's `history`, 20 by default.
    """
    with session.client() as client:
        history = client.history(location)
    terminal = session.terminal
    if as_json:
        terminal.data(history)
        return 0
    rows = []
    before = ""
    for one in history["generations"]:
        mark = "serving" if one["generation"] == history["serving"] else ""
        same = "=" if one["fingerprint"] == before else " "
        before = one["fingerprint"]
        python = " ".join(filter(None, (one["python"], words.framework_of(one))))
        rows.append(
            [
                str(one["generation"]),
                words.moment(one["loaded_at"]),
                words.seconds(one["load_seconds"]),
                clean(python),
                words.size(one["size"]),
                f"{same}{before[:12]}",
                mark,
                words.counts(one["counts"], limit=3) if one["counts"] else "",
            ]
        )
    if rows:
        heads = ("GENERATION", "LOADED", "IN", "PYTHON", "SIZE", " FINGERPRINT", "", "DEFINITIONS")
        terminal.table(heads, rows, right=frozenset({0, 2, 4}))
    else:
        terminal.print(f"{clean(location)}: no generation has loaded yet")
    return 0


@click.command("diff", short_help="Show what changed between two generations.")
@click.argument("location", **LOCATION)
@click.argument("before", type=GENERATION, required=False)
@click.argument("after", type=GENERATION, required=False)
@click.option("-v", "--verbose", is_flag=True, help="Show old and new values.")
@json_option
@locating
def diff_(
    session: Session,
    location: str,
    before: int | None,
    after: int | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Show what changed between generations BEFORE and AFTER of LOCATION.

    Without them, between the last two that loaded. Exit status 0 whether anything changed or not.
    """
    with session.client(timeout=60.0) as client:
        diff = client.diff(location, before, after)
    terminal = session.terminal
    if as_json:
        terminal.data(diff)
        return 0
    pair = f"generation {diff['from']['generation']} → {diff['to']['generation']}"
    lines = diff_lines(terminal, diff, verbose=verbose)
    terminal.print(
        f"{clean(location)}: {pair}" + ("" if lines else ": definitions unchanged"), *lines
    )
    return 0


def diff_lines(terminal: Terminal, diff: Mapping[str, Any], *, verbose: bool = False) -> list[str]:
    """One line a definition: ``+`` added, ``-`` removed, ``~`` changed with its fields."""
    lines = [terminal.paint(f"+ {clean(key)}", "green") for key in diff["added"]]
    lines += [terminal.paint(f"- {clean(key)}", "red") for key in diff["removed"]]
    for one in diff["changed"]:
        fields = ", ".join(one["fields"])
        lines.append(terminal.paint(f"~ {clean(one['key'])}", "yellow") + f": {clean(fields)}")
        if verbose:
            for name in one["fields"]:
                lines.append(f"    {name}:")
                for sign, side, style in (("-", "before", "red"), ("+", "after", "green")):
                    value = one[side].get(name)
                    if value is not None:
                        lines.append(
                            terminal.paint(f"      {sign} {clean(_compact(value))}", style)
                        )
    return lines


def _compact(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@click.command("ps", short_help="List the running supervisors of this user.")
@json_option
@click.pass_obj
def ps_(session: Session, as_json: bool) -> int:
    """List the supervisors that run for this user, oldest first."""
    from supervisor.client.locate import name_of
    from supervisor.runtime_dir import running_supervisors

    running = running_supervisors(os.environ)
    terminal = session.terminal
    if as_json:
        terminal.data({"supervisors": running})
    elif running:
        now = time.time()
        rows = [
            [
                str(info["pid"]),
                words.ago(info.get("started"), now),
                name_of(info) + (" (a check)" if info.get("once") else ""),
            ]
            for info in running
        ]
        terminal.table(("PID", "UP", "WORKSPACE"), rows, right=frozenset({0, 1}))
    else:
        terminal.say("no supervisor is running for this user", "dim")
    return 0
