"""Dagster's own face: its page and its daemon work with the processes that are supervised here.

Owns what is served to Dagster's unmodified client: the stable socket of each location, the server behind
it and its replacement, and the runs that are launched through it; the workspace file in which its own
programs find all that, and those of them that run beside the supervisor. ``sockets`` is pure, and anything may
import it. The folder may import runs/ and what is below it.
"""

from __future__ import annotations

__all__: list[str] = []
