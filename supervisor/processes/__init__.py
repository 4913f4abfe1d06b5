"""Processes: how shims are started, forked, limited, ended and cleared up after.

Owns the launcher's seam and everything that forks, signals or reaps. Knows no location's life. May import
snapshots/ and what is below it.
"""

from __future__ import annotations

__all__: list[str] = []
