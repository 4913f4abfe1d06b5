"""The ``notify`` keys of a workspace and of a location: their shapes, and the settings they become.

Owns how each is written. ``supervisor.server`` sends the notifications.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from supervisor.notify_settings import Notify, Occasion
from supervisor.workspace_files.document import Node
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.scalars import Duration, Enumeration, Text
from supervisor.workspace_files.shapes import (
    INVALID,
    Field,
    Invalid,
    ListOf,
    MapOf,
    Named,
    OneOrMore,
    Record,
    RecordShape,
)

__all__ = ["NOTIFY", "notifications"]


def _bad_url(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no URL", ""
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        return "is no URL that begins with http:// or https://", ""
    return None


def _bad_header(name: str) -> tuple[str, str] | None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        return "cannot name a header", ""
    return None


def _bad_value(value: str) -> tuple[str, str] | None:
    return ("cannot be the value of a header", "") if re.search(r"[\r\n\x00]", value) else None


class _Receiver(RecordShape):
    """One receiver: a command or a webhook, not both."""

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        record = super().read(node, path, reading)
        if isinstance(record, Invalid):
            return record
        if record.written("command") == record.written("webhook"):
            both = "a command and a webhook" if record.written("command") else "neither of them"
            reading.problem(
                node.position, path, f"this names {both}", expected="a command or a webhook"
            )
            return INVALID
        if Occasion.RUN_LATE in dict(record.get("events", ())) and not record.written("late_after"):
            reading.problem(
                record.position("events"),
                record.at("events"),
                "nothing says when a run is late",
                expected="late_after beside run_late, such as late_after: 2h",
            )
            return INVALID
        return record


NOTIFY = Named(
    "notify",
    ListOf(
        _Receiver(
            {
                "command": Field(
                    OneOrMore(
                        Text("a text", written=True), "a program, or a list with its arguments"
                    ),
                    "A program that is run, without a shell, with what happened as JSON on its "
                    "standard input.",
                ),
                "webhook": Field(
                    Text("a URL", check=_bad_url), "A URL to which each event is posted as JSON."
                ),
                "headers": Field(
                    MapOf(
                        Text("a text", written=True, check=_bad_value),
                        "a map of names of headers to texts",
                        check=_bad_header,
                    ),
                    "Headers that the webhook is sent with.",
                ),
                "events": Field(
                    OneOrMore(Enumeration(Occasion), "an occasion or a list of them"),
                    "The events that it gets. Default all.",
                ),
                "late_after": Field(
                    Duration(low=0.1),
                    "Time after its launch after which a run that has not ended is late.",
                ),
            },
            "a map with command or webhook",
        ),
        "a list of receivers",
    ),
)
"""The list under ``notify``."""


def notifications(records: Sequence[Record], base: Path) -> tuple[Notify, ...]:
    """The settings in ``records``; commands run in ``base``."""
    return tuple(
        Notify(
            command=tuple(text for text, _ in one.get("command", ())),
            directory=str(base),
            webhook=one.get("webhook", ""),
            headers=tuple(one.get("headers", {}).items()),
            events=tuple(word for word, _ in one.get("events", ())) or tuple(Occasion),
            late_after=one.get("late_after"),
        )
        for one in records
    )
