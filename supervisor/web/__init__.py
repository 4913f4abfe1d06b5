"""The web page of a workspace: ``supervise web``.

A process of its own and a plain client of the control socket (docs/web.md): it can crash, be slow or
be absent without the supervisor noticing. ``serve`` in ``supervisor.web.app`` runs it. Nothing here
is imported by the supervisor, and nothing here imports more of it than its clients and its words.
"""

from __future__ import annotations

__all__: tuple[str, ...] = ()
