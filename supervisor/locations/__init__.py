"""One location: its life, its generations, its log, and what is known of its failures.

Owns the decisions; processes are started through the launcher's seam. May import watching/, processes/
and what is below them.
"""

from __future__ import annotations

__all__: list[str] = []
