"""The supervisor's process: what it is put together from, and how clients reach it.

Owns the daemon's lifetime, the control socket, the methods behind it, the status document and the state
directory. May import all that is below it; only ``supervise run`` and ``supervise check`` import it.
"""

from __future__ import annotations

__all__: list[str] = []
