"""What happened between two status documents, in words.

Owns the judgement of which differences are worth a line in the foreground supervisor's output, and
of which need a look at the details first. Pure: documents in, events out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.cli import words

if TYPE_CHECKING:
    from supervisor.documents import LocationStatus, StatusDocument

__all__ = ["Event", "events"]

_FAILURES = frozenset({"failed", "crashed", "backoff"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell. ``location`` is None for what concerns the workspace as a whole.

    ``text`` says it when the document is enough. Otherwise ``wants`` names what has to be asked
    for: ``failure`` (the location in detail) or ``diff`` (from generation ``before``), or both.
    ``notable`` is True for what is worth a line above a live table, too.
    """

    location: str | None
    text: str = ""
    wants: frozenset[str] = frozenset()
    before: int | None = None
    notable: bool = False


def events(before: StatusDocument | None, after: StatusDocument) -> list[Event]:
    """The events between two documents of one supervisor; ``before`` None at the beginning."""
    found: list[Event] = []
    old = {one["name"]: one for one in before["locations"]} if before is not None else {}
    new = {one["name"]: one for one in after["locations"]}
    for name, one in new.items():
        found += _of_location(old.get(name), one, known=before is not None)
    for name in old.keys() - new.keys():
        found.append(Event(name, f"{name}: removed from the workspace", notable=True))
    return found + _of_supervisor(before, after)


def _of_location(old: LocationStatus | None, new: LocationStatus, *, known: bool) -> list[Event]:
    name, state = new["name"], new["state"]
    if old is not None and not _differs(old, new):
        return []
    if state == "ready":
        had = old["serving"] if old is not None else None
        wants = frozenset({"diff"}) if had is not None else frozenset({"detail"})
        return [
            Event(
                name,
                wants=wants,
                before=had["generation"] if had is not None else None,
                notable=had is not None,
            )
        ]
    if state in _FAILURES:
        return [Event(name, wants=frozenset({"failure"}), notable=True)]
    if state == "loading":
        return []  # a moment between two lines that say more
    text = f"{name}: {new['reason']}" if new["remote"] else f"{name}: {state}"
    if new["reason"] and not new["remote"]:
        text += f" — {new['reason']}"
    added = known and old is None
    return [Event(name, text, notable=added)]


def _differs(old: LocationStatus, new: LocationStatus) -> bool:
    if old["state"] != new["state"] or old["generation"] != new["generation"]:
        return True
    if new["state"] == "starting":
        # What an environment's making says: a line for each stage, not for each package.
        return _stage(old) != _stage(new)
    return old["since"] != new["since"]


def _stage(one: LocationStatus) -> str:
    return (one["reason"] or "").partition(":")[0]


def _of_supervisor(before: StatusDocument | None, after: StatusDocument) -> list[Event]:
    found: list[Event] = []
    seen = set(before["supervisor"]["warnings"]) if before is not None else set()
    for text in after["supervisor"]["warnings"]:
        if text not in seen:
            found.append(Event(None, f"warning: {text}", notable=True))
    problems = after["supervisor"]["configuration_problems"]
    earlier = before["supervisor"]["configuration_problems"] if before is not None else []
    if problems and problems != earlier:
        lines = [f"  {words.problem(row)}" for row in problems]
        text = "the edited workspace cannot be read; the last good one stays in force:"
        found.append(Event(None, "\n".join([text, *lines]), notable=True))
    elif earlier and not problems:
        found.append(Event(None, "the workspace can be read again", notable=True))
    return found
