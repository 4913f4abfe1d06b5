"""``supervise launch``: run a job or make assets, in the foreground until that has ended.

Owns the reading of the run's configuration and tags. How a run is followed is ``following``'s.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor import kinds
from supervisor.cli.completion import JOB, complete_assets, complete_partition
from supervisor.cli.following import follow_to_end
from supervisor.cli.lone import lone
from supervisor.cli.options import LOCATION, json_option, locating
from supervisor.cli.run_limits import LIMIT, limits_of
from supervisor.cli.session import Session
from supervisor.presentation import runs as words
from supervisor.protocol import parameters
from supervisor.workspace_files import Selection

if TYPE_CHECKING:
    from supervisor.client.client import Client

__all__ = ["DURATION", "launch_"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _Duration(click.types.FloatParamType):  # no range: help would show its bounds
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
        try:
            found = float(number) * _UNITS[unit]
        except ValueError:
            found = -1.0
        if not 0 < found <= parameters.MOST_SECONDS:
            self.fail(f"{text!r} is no duration: write 30s, 5m, 1h or 2d", param, ctx)
        return found


DURATION = _Duration()
"""The type of an option that is a time such as ``30s`` or ``1h``."""


@click.command("launch", short_help="Run a job, or make assets.")
@click.argument("location", required=False, **LOCATION)
@click.argument("job", metavar="[JOB]", required=False, **JOB)
@click.option(
    "--assets", metavar="SELECTION", shell_complete=complete_assets,
    help="Make these assets instead of running a job, such as 'report,+raw,group:finance,tag:team=ml': "
    "+name adds what it depends on, name+ what depends on it.",
)  # fmt: skip
@click.option("--config", metavar="FILE|MAP|-",
    help="The run's configuration in YAML or JSON: a file, - for standard input, or the map itself.",
)  # fmt: skip
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE",
    help="One value of it, such as ops.load.config.n=3.",
)  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag of the run.")
@click.option(
    "--select", metavar="SELECTION", help="Only these ops of the job, such as 'load,clean+'."
)
@click.option(
    "--partition", metavar="KEY", shell_complete=complete_partition, help="The partition to run."
)
@click.option(
    "--partition-range", metavar="FIRST..LAST",
    help="A run for each partition from FIRST to LAST, both included.",
)  # fmt: skip
@click.option("--repository", metavar="NAME", help="Which repository's job or assets are meant.")
@click.option(
    "--instance", type=click.Choice(["own", "shared", "ephemeral"]),
    help="Where the framework records it: the location's own (default), the shared one where the "
    "workspace says so, or one that ends with the run.",
)  # fmt: skip
@click.option("--timeout", type=DURATION, help="End it after this time, such as 1h.")
@click.option(
    "--retries", type=click.IntRange(0, 1000), help="How often it is run again when it fails."
)
@LIMIT
@click.option("--detach", is_flag=True, help="Return at once; the run goes on.")
@click.option(
    "--standalone", is_flag=True,
    help="Where no supervisor runs: have one for the time of this run, for this location alone.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be run, in order, and run nothing.")
@json_option
@locating
def launch_(
    session: Session,
    location: str | None,
    job: str | None,
    config: str | None,
    settings: tuple[str, ...],
    tags: tuple[str, ...],
    select: str | None,
    limits: tuple[str, ...],
    detach: bool,
    standalone: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run JOB of LOCATION, or make some of its assets, with the code that is served.

    `supervise -f defs.py launch JOB` does it without a supervisor that runs.

    Exit status: 0 success; 1 failed, cancelled, timed out or lost; 2 a command line or a configuration
    that does not fit; 3 no supervisor; 4 no such location, job, asset or partition, or a
    location that has loaded nothing to run.
    """
    names = [one for one in (location, job) if one is not None]
    of_flags = not session.selection.files and session.selection != Selection()
    if of_flags and len(names) < (1 if options["assets"] is not None else 2):
        standalone, location, job = True, None, names[0] if names else None
    elif location is None:
        raise click.UsageError("give a LOCATION")
    if (job is None) == (options["assets"] is None):
        if location and not job:
            lone(session, location, "launch", "a JOB or --assets", kinds.JOBS)
        raise click.UsageError(f"give a JOB or --assets{', not both' if location else ''}")
    if standalone and detach:
        raise click.UsageError("--detach leaves the run to a supervisor, and --standalone ends it")
    options |= {
        "config": _config(config, settings),
        "tags": dict(_pair("--tag", one) for one in tags),
        "op_selection": select,
        "limits": limits_of(limits),
    }
    with _client(session, location, standalone=standalone) as (client, location):
        if dry_run:
            preview = client.preview(location, job, **options)
            if as_json:
                session.terminal.data(preview)
            else:
                session.terminal.print(*words.preview(preview, location))
            return 0
        run = client.launch(location, job, **options)
        if detach:
            if as_json:
                session.terminal.data(run.row)
            else:
                session.terminal.print(run.id)
            return 0
        return follow_to_end(session, run, as_json=as_json)


@contextlib.contextmanager
def _client(
    session: Session, location: str | None, *, standalone: bool
) -> Iterator[tuple[Client, str]]:
    """A client of the supervisor that runs, or of one for this command, and the location."""
    if standalone or location is None:
        from supervisor.cli.standalone import alone

        with alone(session, location) as found:
            yield found
        return
    with session.client(order=True) as client:
        yield client, location


def _config(text: str | None, settings: Sequence[str]) -> dict[str, Any] | None:
    config: Any = None if text is None else _read(text)
    if config is not None and not isinstance(config, dict):
        raise click.UsageError("--config must be a map")
    for one in settings:
        path, value = _pair("--set", one)
        config = {} if config is None else config
        inner = config
        *above, last = path.split(".")
        for key in above:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise click.UsageError(f"--set {one}: {key!r} holds a value and no map")
        inner[last] = _parsed(value, f"--set {one}")
    found: dict[str, Any] | None = config
    return found


def _read(text: str) -> Any:
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text)  # which has numbers that YAML takes for texts, such as 1e3
        except ValueError:
            return _parsed(text, "--config")
    try:
        content = sys.stdin.read() if text == "-" else Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise click.UsageError(f"--config {text}: {(reason or '').lower()}") from None
    return _parsed(content, f"--config {text}")


def _parsed(text: str, what: str) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):  # a date, infinity
        raise click.UsageError(
            f"{what} holds a value that is no JSON: put a date in quotes"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise click.UsageError(f"{what} is neither YAML nor JSON: {said}{place}") from None
    return value


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{option} {text!r} has no '=': write {option} name=value")
    return name, value
