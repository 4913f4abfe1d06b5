"""``--limit NAME=VALUE``: the limits of one run, in the words of a workspace's ``limits``."""

from __future__ import annotations

from collections.abc import Iterable

import click

from supervisor.workspace_files.scalars import Size
from supervisor.workspace_files.shapes import Invalid

__all__ = ["LIMIT", "limits_of"]

LIMIT = click.option(
    "--limit", "limits", multiple=True, metavar="NAME=VALUE",
    help="A limit of this run: memory=2G, cpu=0.5, processes=64 or open_files=256.",
)  # fmt: skip


def limits_of(words: Iterable[str]) -> dict[str, float]:
    """The limits by name; raises ``click.UsageError``. Which there are is the supervisor's to say."""
    found: dict[str, float] = {}
    for one in words:
        name, equals, value = one.partition("=")
        if not equals or not name or not value:
            raise click.UsageError(f"--limit {one!r} has no '=': write --limit memory=2G")
        if name == "memory":
            size = Size()
            number = size.parse(value + "iB" if value[-1:] in "KMGT" else value)
            if isinstance(number, Invalid):
                raise click.UsageError(f"--limit {one}: expected {size.expected}")
            found[name] = number
            continue
        try:
            found[name] = float(value) if name == "cpu" else int(value)
        except ValueError:
            raise click.UsageError(f"--limit {one}: {value!r} is no number") from None
    return found
