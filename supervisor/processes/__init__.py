"""Processes: how shims are started, forked, limited, ended and cleared up after.

Owns the launcher's seam (``launcher``: the contract) and everything that forks, signals or reaps: a
process id is used here and nowhere else. Knows no location's life. May import
snapshots/ and what is below it.
"""

from __future__ import annotations

__all__: list[str] = []
