"""The stacks that a client asks for, among what a process writes to its standard error.

Owns the telling apart: what faulthandler writes at a client's order is for that client, and neither the location's log
nor the last words of its process. Asks for nothing itself.
"""

from __future__ import annotations

import re

__all__ = ["DumpedStacks"]

_HEAD = re.compile(rb"(?:Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):$")
_FRAME = re.compile(rb"  (?:File \"|<|\.\.\.)")


class DumpedStacks:
    """Takes the dump out of what comes; ``lines`` are those that it had so far."""

    __slots__ = ("_rest", "_within", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._rest = b""  # a line without its end
        self._within = False

    def without(self, data: bytes) -> bytes:
        """``data`` without the lines of a dump; a line without its end waits for that, or for ``left``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return b"".join(self._others(line) for line in lines)

    def left(self) -> bytes:
        """What waits for its end."""
        rest, self._rest = self._rest, b""
        return rest

    def _others(self, line: bytes) -> bytes:
        head = _HEAD.search(line)
        if head is not None:  # it may come after what the team has not ended
            self._within = True
            self._add(head[0])
            return line[: head.start()]
        if self._within and (not line or _FRAME.match(line)):
            self._add(line)
            return b""
        self._within = False
        return line + b"\n"

    def _add(self, line: bytes) -> None:
        self.lines.append(line.decode("utf-8", "replace"))
