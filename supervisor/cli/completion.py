"""What the shell completes: definitions, jobs, assets, partitions and run ids of the supervisor that is meant,
and environments of the workspace that stands here.

Owns the bounds: one second, and a few hundred items. What cannot be told completes to nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.session import Session
from supervisor.errors import SupervisorError
from supervisor.workspace_files import Selection

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from supervisor.client.client import Client

__all__ = [
    "AUTOMATION",
    "DEFINITION",
    "ENVIRONMENT",
    "JOB",
    "KIND",
    "RUN",
    "complete_assets",
    "complete_partition",
]

_MOST = 300

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _completing(ask: Callable[[Client, click.Context], Iterable[tuple[str, str]]]) -> Complete:
    """Completes to what ``ask`` gives: texts, each with a few words about it."""

    def complete(
        ctx: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        # While completing, no callback has run: what was typed is in the parameters.
        typed = [one.params.get("workspace") for one in (ctx, ctx.parent) if one is not None]
        files = next(filter(None, typed), ())
        session = ctx.find_object(Session) or Session()
        if files:
            session = replace(session, selection=Selection(files=tuple(files)))
        found: list[CompletionItem] = []
        # Of a list, what follows its last comma is completed.
        head, comma, last = incomplete.rpartition(",")
        try:
            with session.client(timeout=1.0, quiet=True) as client:
                for text, words in ask(client, ctx):
                    if text.startswith(last) and len(found) < _MOST:
                        found.append(CompletionItem(head + comma + text, help=words))
        except (SupervisorError, OSError):
            return []
        return found

    return complete


def _typed(ctx: click.Context, position: int, name: str) -> str | None:
    """An argument; before an option that has no value yet, click has not told which is which."""
    found: str | None = ctx.params.get(name)
    return ctx.args[position] if found is None and len(ctx.args) > position else found


def _jobs(client: Client, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for kind in ("job", "pipeline"):  # as old releases of Dagster have them
        for one in client.definitions(kind, location=_typed(ctx, 0, "location")):
            yield one["name"], one["description"] or ""


def _assets(client: Client, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for one in client.definitions("asset", location=_typed(ctx, 0, "location")):
        yield one["name"], one["description"] or ""


def _partitions(client: Client, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Those that the snapshot has: the static ones of the job, or of the first asset that is named."""
    location, job = _typed(ctx, 0, "location"), _typed(ctx, 1, "job")
    name = job or str(ctx.params.get("assets") or "").partition(",")[0].strip("+*0123456789")
    if location and name:
        shown = client.show(location, name, kind="job" if job else "asset")
        for key in (shown["definition"].get("partitions") or {}).get("keys") or ():
            yield key, ""


def _automations(client: Client, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for kind in ("schedule", "sensor"):
        for one in client.definitions(kind, location=_typed(ctx, 0, "location")):
            yield one["name"], one["description"] or kind


def _runs(client: Client, _ctx: click.Context) -> Iterator[tuple[str, str]]:
    for one in client.runs(limit=_MOST):
        yield one["run"], f"{one['job']}: {one['state']}"


def _definitions(client: Client, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for one in client.definitions(None, location=_typed(ctx, 0, "location")):
        yield one["name"], f"{one['kind']}: {one['description'] or ''}".rstrip(": ")


def _kinds(client: Client, ctx: click.Context) -> Iterator[tuple[str, str]]:
    location = ctx.params.get("location")
    counts = Counter(one["kind"] for one in client.definitions(None, location=location))
    for kind, count in sorted(counts.items()):
        yield kind, f"{count} here"


def _complete_environment(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The environments and locations of the workspace's files: no supervisor is needed."""
    from click.shell_completion import CompletionItem

    from supervisor.workspace_files import resolve

    files = next(
        filter(None, (one.params.get("workspace") for one in (ctx, ctx.parent) if one)), ()
    )
    session = ctx.find_object(Session) or Session()
    selection = Selection(files=tuple(files)) if files else session.selection
    try:
        spec = resolve(selection, cwd=session.cwd, environ=os.environ)
    except (SupervisorError, OSError):
        return []
    found = {one.name or "": "environment" for one in spec.environments}
    found |= {one.name: "location" for one in spec.locations if one.name not in found}
    return [
        CompletionItem(name, help=what)
        for name, what in found.items()
        if name.startswith(incomplete)
    ]


DEFINITION: Mapping[str, Any] = {"shell_complete": _completing(_definitions)}
"""Those of an argument that is a definition of the location."""

ENVIRONMENT: Mapping[str, Any] = {"shell_complete": _complete_environment}
"""Those of an argument that names an environment, or a location that runs in it."""

KIND: Mapping[str, Any] = {"shell_complete": _completing(_kinds)}
"""Those of a kind of definitions."""

JOB: Mapping[str, Any] = {"shell_complete": _completing(_jobs)}
"""Keyword arguments that make an argument complete to the jobs of the location."""

AUTOMATION: Mapping[str, Any] = {"metavar": "NAME", "shell_complete": _completing(_automations)}
"""Those of an argument that is a schedule or sensor of the location."""

RUN: Mapping[str, Any] = {"metavar": "RUN", "shell_complete": _completing(_runs)}
"""Those of an argument that is a run's id."""

complete_assets = _completing(_assets)
"""Completes the last of a list to the assets of the location."""

complete_partition = _completing(_partitions)
"""Completes to partitions."""
