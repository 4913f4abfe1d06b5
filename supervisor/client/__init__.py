"""Clients of a running supervisor, and how one is found.

Owns the client's half of the control protocol. Touches no process. May import snapshots/ and the modules
of supervisor/ itself, never server/.
"""

from __future__ import annotations

__all__: list[str] = []
