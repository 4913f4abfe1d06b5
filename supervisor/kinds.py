"""What is done with a definition of each kind, in words: the remedy where one of another kind was wanted.

Owns the sentence that clients are sent and commands print. Looks nothing up.
"""

from __future__ import annotations

import shlex

__all__ = ["AUTOMATIONS", "JOBS", "remedy"]

JOBS = ("job", "pipeline")
"""Kinds that a launch names as its job; some frameworks call theirs pipelines."""

AUTOMATIONS = ("schedule", "sensor")
"""Kinds that have ticks."""


def remedy(location: str, name: str, kind: str, command: str = "") -> str:
    """``raw is an asset of ml: `supervise launch ml --assets raw```; with another ``command`` than the kind's."""
    if not command:
        command = "launch" if kind in (*JOBS, "asset") else "show"
        command = "tick" if kind in AUTOMATIONS else command
    after = " --assets" if kind == "asset" and command == "launch" else ""
    article = "an" if kind[:1] in "aeiou" else "a"
    said = f"{name} is {article} {kind.replace('_', ' ')} of {location}"
    return f"{said}: `supervise {command} {shlex.quote(location)}{after} {shlex.quote(name)}`"
