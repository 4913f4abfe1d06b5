"""What is wrong with a command line, where the library that reads it says too little or too much.

Owns these sentences. Raises nothing and ends nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from supervisor.nearest import near

__all__ = ["explained"]

_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)")
_NO_NUMBER = (
    ("is not a valid integer range", "is no whole number"),
    ("is not a valid integer", "is no whole number"),
    ("is not a valid float range", "is no number"),
    ("is not a valid float", "is no number"),
)


def explained(error: click.UsageError) -> str:
    """The message of ``error``, in words of ours where they say more."""
    if isinstance(error, click.NoSuchOption):
        return _unknown_option(error)
    text = error.format_message()
    extra = _EXTRA.fullmatch(text)
    if extra is not None:
        return f"{text}{_of_file(extra[1].split()[0] if extra[1].split() else '', error.ctx)}"
    for theirs, ours in _NO_NUMBER:
        text = text.replace(theirs, ours)
    return text


def _unknown_option(error: click.NoSuchOption) -> str:
    known: list[str] = []
    if error.ctx is not None:
        for one in error.ctx.command.get_params(error.ctx):
            known += [*one.opts, *one.secondary_opts] if isinstance(one, click.Option) else []
    meant = near(error.option_name, [one for one in known if one != "--help"])
    return f"no such option {error.option_name!r}" + (f"; did you mean {meant!r}?" if meant else "")


def _of_file(word: str, context: click.Context | None) -> str:
    """What to write where ``word`` is the workspace file or the Python file that is meant."""
    flags = {".yaml": "-w", ".yml": "-w", ".toml": "-w", ".py": "-f"}
    flag = flags.get(Path(word).suffix, "")
    takes = context is not None and any(
        flag in one.opts for one in context.command.get_params(context)
    )
    return f": to name a file, use {flag} {word}" if flag and takes else ""
