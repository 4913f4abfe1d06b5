"""One location: its life, its generations, its log, and what is known of its failures.

Owns the decisions and the shim protocol (``shim_connection``, ``lifecycle`` and ``restart`` are pure: no
clock, no event loop); processes are started through the launcher's seam and known by its handles.
May import watching/, processes/ and what is below them.
"""

from __future__ import annotations

__all__: list[str] = []
