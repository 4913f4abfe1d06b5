"""What happened between two status documents, in words.

Owns the judgement of which differences are worth a line in the foreground supervisor's output, and
of which need a look at the details first. Pure: documents in, events out. Of the earlier document only
what is compared is kept (``Seen``): a document of a thousand locations takes megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.states import TROUBLED

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus, StatusDocument

__all__ = ["Event", "Seen", "events"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell. ``location`` is None for what concerns the workspace as a whole.

    ``text`` says it when the document is enough. Otherwise ``wants`` names what has to be asked
    for: ``failure`` (the location in detail) or ``diff`` (from generation ``before``), or both; or
    ``problems``, the source lines of what is wrong with the workspace's files.
    ``notable`` is True for what is worth a line above a live table, too.
    """

    location: str | None
    text: str = ""
    wants: frozenset[str] = frozenset()
    before: int | None = None
    notable: bool = False


class Seen:
    """As much of a status document as is compared with the next one."""

    __slots__ = ("conditions", "locations", "problems", "warnings")

    def __init__(self, document: StatusDocument) -> None:
        self.locations = {one["name"]: _SeenLocation(one) for one in document["locations"]}
        self.conditions = {
            one["key"]: one["message"] for one in document["supervisor"]["conditions"]
        }
        self.warnings = frozenset(document["supervisor"]["warnings"])
        self.problems = document["supervisor"]["configuration_problems"]


class _SeenLocation:
    __slots__ = ("generation", "restarts", "serving", "since", "stage", "state")

    def __init__(self, one: LocationStatus) -> None:
        self.state = one["state"]
        self.generation = one["generation"]
        self.restarts = one["restarts"]
        self.since = one["since"]
        self.stage = _stage(one)
        serving = one["serving"]
        self.serving = serving["generation"] if serving is not None else None


def events(before: Seen | None, after: StatusDocument) -> list[Event]:
    """The events from one document of a supervisor to another; ``before`` None at the beginning."""
    found: list[Event] = []
    old = before.locations if before is not None else {}
    for one in after["locations"]:
        found += _of_location(old.get(one["name"]), one, known=before is not None)
    for name in old.keys() - {one["name"] for one in after["locations"]}:
        found.append(Event(name, f"{name}: removed from the workspace", notable=True))
    return found + _of_supervisor(before, after)


def _of_location(old: _SeenLocation | None, new: LocationStatus, *, known: bool) -> list[Event]:
    name, state = new["name"], new["state"]
    if old is not None and not _differs(old, new):
        return []
    if state in TROUBLED:
        return [Event(name, wants=frozenset({"failure"}), notable=True)]
    died: list[Event] = []
    if old is not None and new["restarts"] > old.restarts:
        # The first restart has no delay: often it is over before it is looked at.
        text = f"{name}: {new['restart_reason']}; it is started again"
        died.append(Event(name, text, notable=True))
    if state == "ready":
        had = old.serving if old is not None else None
        wants = frozenset({"diff"}) if had is not None else frozenset({"detail"})
        return [*died, Event(name, wants=wants, before=had, notable=had is not None)]
    if died:
        return died
    if state == "loading":
        return []  # a moment between two lines that say more
    text = f"{name}: {new['reason']}" if new["remote"] else f"{name}: {state}"
    if new["reason"] and not new["remote"]:
        text += f" — {new['reason']}"
    added = known and old is None
    return [Event(name, text, notable=added)]


def _differs(old: _SeenLocation, new: LocationStatus) -> bool:
    if old.state != new["state"] or old.generation != new["generation"]:
        return True
    if new["state"] == "starting":
        return old.stage != _stage(new)
    return old.since != new["since"]


def _stage(one: LocationStatus) -> str:
    # What an environment's making says: a line for each stage, not for each package.
    return (one["reason"] or "").partition(":")[0] if one["state"] == "starting" else ""


def _of_supervisor(before: Seen | None, after: StatusDocument) -> list[Event]:
    found: list[Event] = []
    seen = before.warnings if before is not None else frozenset()
    held = before.conditions if before is not None else {}
    now = {one["key"]: one for one in after["supervisor"]["conditions"]}
    problems = after["supervisor"]["configuration_problems"]
    earlier = before.problems if before is not None else []
    if problems and problems != earlier:
        found.append(Event(None, wants=frozenset({"problems"}), notable=True))
    elif earlier and not problems:
        found.append(Event(None, "the workspace has no problems any more", notable=True))
    told = {one["message"] for one in now.values()}
    for text in after["supervisor"]["warnings"]:
        if text not in seen and text not in told:
            found.append(Event(None, f"warning: {text}", notable=True))
    for key, one in now.items():
        if key not in held:
            hint = f"\n  hint: {one['hint']}" if one["hint"] else ""
            found.append(Event(None, f"warning: {one['message']}{hint}", notable=True))
    for key in held.keys() - now.keys():
        found.append(Event(None, f"resolved: {held[key]}", notable=True))
    return found
