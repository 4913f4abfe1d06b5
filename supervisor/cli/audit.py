"""``supervise audit``: who asked for what, when, and what came of it; and whether the record is whole.

Owns the command alone; the chain is ``supervisor.access.audit``'. Reads the files: it needs no running
supervisor.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import click

from supervisor.cli.granting import state_of
from supervisor.cli.launch import DURATION
from supervisor.cli.options import json_option, selecting
from supervisor.cli.session import Session
from supervisor.presentation import words
from supervisor.presentation.text import clean

__all__ = ["audit_"]


@click.group(
    "audit", invoke_without_command=True, short_help="Show who did what; verify the record."
)
@selecting
@click.option("--since", type=DURATION, metavar="TIME", help="Only within this time, such as 1d.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 1_000_000), default=50, show_default=True,
    help="How many, the newest.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def audit_(
    ctx: click.Context, session: Session, since: float | None, lines: int, as_json: bool
) -> int | None:
    """Show the newest entries of the audit, oldest first: orders, launches, what was refused, and changes
    of tokens and keys."""
    if ctx.invoked_subcommand is not None:
        return None
    from supervisor.access.audit import entries

    terminal = session.terminal
    begin = 0.0 if since is None else time.time() - since
    chosen: deque[dict[str, Any]] = deque(maxlen=lines)
    chosen.extend(one for one in entries(state_of(session)) if _number(one.get("time")) >= begin)
    if as_json:
        for one in chosen:
            terminal.row(one)
    elif chosen:
        terminal.table(("TIME", "WHO", "METHOD", "LOCATION", "RESULT"), [_row(one) for one in chosen],
                       spare=(3,))  # fmt: skip
    else:
        terminal.say("the audit has no entries", "dim")
    return 0


@audit_.command("verify", short_help="Check that no line was removed, changed or moved.")
@selecting
@json_option
def verify_(session: Session, as_json: bool) -> int:
    """Check the chain of the audit. Exit status 1, and the first line that does not fit, when it is broken."""
    from supervisor.access.audit import verify

    found = verify(state_of(session))
    terminal = session.terminal
    if as_json:
        rows = [{"file": str(one.file), "line": one.line, "reason": one.reason} for one in found]
        terminal.data({"whole": not found, "breaks": rows})
    elif found:
        more = f"; {len(found) - 1} more places do not fit" if len(found) > 1 else ""
        terminal.error(f"{found[0]}{more}")
    else:
        terminal.print("the audit is whole")
    return 1 if found else 0


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    where = one.get("location") or [one.get("subject", "")]
    more = f" and {one['more']} more" if "more" in one else ""
    result = f"{one.get('result')}" + (f" (run {one['run']})" if "run" in one else "")
    shown = (one.get("who"), one.get("method"), " ".join(map(str, where)) + more, result)
    return words.moment(_number(one.get("time"))), *(clean(str(part)) for part in shown)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
