"""What a workspace says about the programs of a framework's own that its locations are served to.

Owns the shape of these settings. Serves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FaceSettings", "Listen"]

_LAST = 65535


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: the first location at ``port``, the others behind it."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """From ``PORT`` (of loopback) or ``HOST:PORT``; raises ValueError, in words."""
        host, _, number = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        if not number.isascii() or not number.isdecimal() or not 1 <= int(number) <= _LAST:
            raise ValueError(f"{text!r} is no port: say 4000, or 10.0.0.5:4000")
        return cls(host, int(number))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """Whether locations are served to such programs, where they are over TCP, too, and the directory of the
    instance that programs of ours use. None where nothing is said."""

    serve: bool | None = None
    listen: Listen | None = None
    instance: Path | None = None

    @property
    def serves(self) -> bool:
        """Whether locations are to be served: also where only the address is said."""
        return self.listen is not None if self.serve is None else self.serve
