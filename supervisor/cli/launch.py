"""``supervise launch``: run a job, in the foreground until it has ended.

Owns the reading of the run's configuration and tags, the following of a run, and what Ctrl-C does to
it: asked to cancel, and killed at the second. What the run prints goes to standard output and error, as
it comes; what happens to it is told on standard error; the last line says how it ended.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor import parameters
from supervisor.cli.options import LOCATION, json_option, locating
from supervisor.cli.run_limits import LIMIT, limits_of
from supervisor.cli.session import Session
from supervisor.errors import NotRunningError, RequestTimeoutError, UnreachableError
from supervisor.presentation import runs as words

if TYPE_CHECKING:
    from supervisor.client.runs import Run
    from supervisor.run_documents import RunDetail

__all__ = ["DURATION", "follow_to_end", "launch_"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# How long a supervisor that is gone may take to be there again, as after `supervise upgrade`.
_AGAIN = 30.0
_PAUSE = 0.2


class _Duration(click.FloatRange):
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


@click.command("launch", short_help="Run a job.")
@click.argument("location", **LOCATION)
@click.argument("job", metavar="JOB")
@click.option("--config", metavar="FILE|JSON|-", help="The run's configuration, YAML or JSON.")
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE",
    help="One value of it, such as ops.load.config.n=3.",
)  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag of the run.")
@click.option(
    "--select", metavar="OPS",
    help="Only these ops, such as 'load,+clean': + for one layer above or below, * for all.",
)  # fmt: skip
@click.option("--repository", metavar="NAME", help="Which repository's job is meant.")
@click.option("--timeout", type=DURATION, help="End it after this time, such as 1h.")
@LIMIT
@click.option("--detach", is_flag=True, help="Return at once; the run goes on.")
@click.option("--dry-run", is_flag=True, help="Say what would be run, and run nothing.")
@json_option
@locating
def launch_(
    session: Session,
    location: str,
    job: str,
    config: str | None,
    settings: tuple[str, ...],
    tags: tuple[str, ...],
    select: str | None,
    repository: str | None,
    timeout: float | None,
    limits: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Run JOB of LOCATION with the code that is served.

    Exit status: 0 success, 1 failed, cancelled, timed out or lost, 2 a command line or a configuration
    that does not fit, 3 no supervisor, 4 no such location or job.
    """
    options = {
        "config": _config(config, settings),
        "tags": dict(_pair("--tag", one) for one in tags),
        "op_selection": select,
        "repository": repository,
        "timeout": timeout,
        "limits": limits_of(limits),
    }
    with session.client(order=True) as client:
        if dry_run:
            order = client.preview(location, job, **options)
            if as_json:
                session.terminal.data(order)
            else:
                ops = order["op_selection"]
                what = f"ops {', '.join(ops)} of {job}" if ops else job
                session.terminal.print(
                    f"would run {what} in {location}, generation {order['generation']}"
                )
            return 0
        run = client.launch(location, job, **options)
        if detach:
            if as_json:
                session.terminal.data(run.row)
            else:
                session.terminal.print(run.id)
            return 0
        return follow_to_end(session, run, as_json=as_json)


def follow_to_end(session: Session, run: Run, *, as_json: bool = False) -> int:
    """Tell what happens to ``run`` until it has ended; the exit status."""
    terminal = session.terminal
    if not as_json:
        terminal.say(f"run {run.id} of {run.row['job']} in {run.row['location']}", "dim")
    steps = words.Steps()
    cursors = {"events": 0, "out": 0, "err": 0}
    asked = 0
    while True:
        try:
            for news in run.follow(cursors):
                cursors = news["next"]
                if as_json:
                    continue
                if news.get("out"):
                    terminal.out.write(news["out"])
                    terminal.out.flush()
                if news.get("err"):
                    terminal.err.write(news["err"])
                    terminal.err.flush()
                for event in news.get("events", ()):
                    line = steps.line(event)
                    if line is not None:
                        terminal.say(line, "dim")
            return _told(session, run.wait(), as_json=as_json)
        except KeyboardInterrupt:
            asked += 1
            if asked > 2:
                raise
            terminal.say("cancelling; Ctrl-C again kills it" if asked == 1 else "killing it")
            run.cancel(who="Ctrl-C", now=asked > 1)
        except RequestTimeoutError as error:
            terminal.say(f"supervise: {error}: still waiting")
        except (NotRunningError, UnreachableError):
            run = _again(session, run)


def _again(session: Session, run: Run) -> Run:
    """The run as the next supervisor knows it; raises ``NotRunningError`` when none comes."""
    session.terminal.say(
        "the supervisor is gone; the run goes on unless it was stopped, too", "dim"
    )
    until = time.monotonic() + _AGAIN
    while True:
        try:
            return session.client(order=True).run(run.id)
        except (NotRunningError, UnreachableError, RequestTimeoutError) as error:
            if time.monotonic() >= until:
                error.hint = f"`supervise runs show {run.id}` tells how it ended"
                raise
            time.sleep(_PAUSE)


def _told(session: Session, detail: RunDetail, *, as_json: bool) -> int:
    """Say how it ended; the exit status."""
    terminal = session.terminal
    if as_json:
        terminal.data(detail)
    else:
        for line in words.failure_lines(detail):
            terminal.say(f"  {line}")
        terminal.print(words.summary(detail, time.time(), colour=terminal.colour))
    if detail["state"] == "success":
        return 0
    failure = detail["failure"]
    return 2 if failure is not None and failure["kind"] == "run_config" else 1


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
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise click.UsageError(f"--config is no JSON: {error}") from None
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
    except (yaml.YAMLError, TypeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise click.UsageError(f"{what} cannot be read: {line}") from None
    return value


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{option} {text!r} has no '=': write {option} name=value")
    return name, value
