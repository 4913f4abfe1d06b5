"""Which files changed, and which locations that concerns.

Owns the kernel's watches, what locations depend on, and when a change is acted on. May import snapshots/
and what is below it, never processes/.
"""

from __future__ import annotations

__all__: list[str] = []
