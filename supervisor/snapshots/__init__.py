"""Snapshots: checked, indexed, compared, kept on disk.

Pure but for the store and its rows: no clock, no event loop, no operating system. May import the modules of supervisor/
itself alone.
"""

from __future__ import annotations

__all__: list[str] = []
