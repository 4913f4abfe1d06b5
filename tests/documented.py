"""Runs the commands and writes the files of a page of docs/, as a reader would.

A fence ```` ```LANGUAGE PATH ```` is a file; of a fence ```` ```console ```` each line with ``$`` is a command,
which exits with 0, or with what a comment says, and the lines below it are of its output: ``…`` stands for
anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from commands import COMMAND, variables

__all__ = ["Command", "follow", "of_a_reader", "shell_commands", "steps"]

_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STATUS = re.compile(r"\s+# exit status (\d+)$")
_DEADLINE = 120.0
_LOOKS = re.compile(r"supervise (wait|status|list|show|runs|env list)\b")
_PATIENCE = 60.0


@dataclass
class Command:
    """A command, its exit status, and the lines that its output has in this order."""

    words: str
    status: int = 0
    lines: list[str] = field(default_factory=list)


def steps(page: str) -> Iterator[Command | tuple[str, str]]:
    """What a reader does: commands, and (path, text) of files."""
    for language, path, body in _FENCE.findall(page):
        if path:
            yield path, body
        if language != "console":
            continue
        found: Command | None = None
        for line in body.splitlines():
            if line.startswith("$ "):
                if found is not None:
                    yield found
                status = _STATUS.search(line)
                words = _STATUS.sub("", line[2:])
                found = Command(words, int(status[1]) if status else 0)
            elif found is not None:
                found.lines.append(line)
        if found is not None:
            yield found


def of_a_reader(directory: Path, runtime: Path, **extra: str) -> dict[str, str]:
    """The environment of a reader, whose ``supervise`` is a program in ``directory``."""
    directory.mkdir()
    command = directory / "supervise"
    command.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    command.chmod(0o755)
    environ = variables(runtime, **extra)
    environ["PATH"] = f"{directory}:{Path(sys.executable).parent}:{environ['PATH']}"
    return environ


def shell_commands(page: str) -> list[str]:
    """The commands of a page's fences ```` ```sh ````, without their comments."""
    bodies = [body for language, _, body in _FENCE.findall(page) if language == "sh"]
    lines = [re.sub(r"\s+# .*$", "", line) for body in bodies for line in body.splitlines()]
    return [line for line in lines if line]


def follow(page: str, directory: Path, environ: dict[str, str]) -> int:
    """Do all steps of ``page`` in ``directory``; returns how many commands were run."""
    count = 0
    for step in steps(page):
        if isinstance(step, tuple):
            path = directory / step[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step[1])
            continue
        count += 1
        deadline = time.monotonic() + _PATIENCE
        while (wrong := _done(step, directory, environ)) is not None:
            # What only looks may come a moment too early.
            assert _LOOKS.match(step.words) and time.monotonic() < deadline, wrong
    return count


def _done(step: Command, directory: Path, environ: dict[str, str]) -> str | None:
    """Run one command; what is wrong with its outcome, or None."""
    done = subprocess.run(
        ["bash", "-c", step.words], cwd=directory, env=environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_DEADLINE,
    )  # fmt: skip
    said = f"$ {step.words}\n{done.stdout}"
    if done.returncode != step.status:
        return f"exit status {done.returncode} of:\n{said}"
    rest = " ".join(done.stdout.split())
    for line in step.lines:
        parts = (re.escape(" ".join(part.split())) for part in line.split("…"))
        match = re.search(r"\s?.*?\s?".join(parts), rest)
        if match is None:
            return f"{line!r} is not in:\n{said}"
        rest = rest[match.end() :]
    return None
