"""Where a framework's own page shows what a page of ours shows.

Owns when there is such a place: the supervisor runs that page, it answers, the location has servers for it, and
the reader's browser can reach it. What the framework calls its pages is the supervisor's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from supervisor.web.security import is_loopback

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus, SupervisorStatus

__all__ = ["place_in_face"]

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104


def place_in_face(
    supervisor: SupervisorStatus,
    location: LocationStatus,
    kind: Literal["location", "run"],
    name: str,
    asked_as: str,
) -> tuple[str, str] | None:
    """(framework, URL) of the page of ``name`` there, None where there is none.

    ``asked_as`` is the host, without port, that this page was asked for.
    """
    face = supervisor.get("face")
    if face is None or not face["usable"] or not location.get("code_servers"):
        return None
    path = face.get("pages", {}).get(kind)  # a supervisor of an older version sends none
    url = urlsplit(face["url"])
    host = url.hostname or ""
    if path is None or (is_loopback(host) and not is_loopback(asked_as)):
        return None
    if host in _EVERY_ADDRESS:
        shown = f"[{asked_as}]" if ":" in asked_as else asked_as
        url = url._replace(netloc=f"{shown}:{url.port}")
    return face["framework"], url.geturl() + path.replace("{}", quote(name, safe=""))
