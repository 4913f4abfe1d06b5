"""The control protocol, declared once: its methods, and every document that crosses a socket.

Owns declarations alone; clients, handlers, HTTP routes, OpenAPI and docs/protocol.md are made from them.
Holds no behaviour but the checks of parameters. May import the modules of supervisor/ itself alone.
"""

from __future__ import annotations

__all__: list[str] = []
