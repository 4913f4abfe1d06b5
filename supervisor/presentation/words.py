"""The words for states, times, sizes and counts, the same in every command.

Owns the symbols and colours of states and the short forms of figures. Pure: ``now`` is an argument.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from envs import sizes
from supervisor.errors import ConfigurationProblem

if TYPE_CHECKING:
    from supervisor.protocol.documents import Diff, Generation, LocationStatus, ProblemRow, Serving

__all__ = [
    "RUN_SYMBOLS",
    "SYMBOLS",
    "ago",
    "changes",
    "code_servers",
    "counts",
    "environment_of",
    "framework_of",
    "good",
    "limits",
    "moment",
    "plural",
    "problem",
    "python_of",
    "seconds",
    "size",
    "summary",
    "symbol",
    "tags",
    "verified",
]

SYMBOLS: Mapping[str, tuple[str, str]] = {
    "ready": ("●", "green"),
    "starting": ("◌", "cyan"),
    "loading": ("◌", "cyan"),
    "stopping": ("◌", "yellow"),
    "stopped": ("○", "dim"),
    "backoff": ("↻", "yellow"),
    "failed": ("✗", "red"),
    "crashed": ("✗", "bold red"),
    "elsewhere": ("→", "blue"),
}
"""State to symbol and style."""

# Kinds whose plural is not made with an s.
_PLURALS = {"repository": "repositories"}


RUN_SYMBOLS: Mapping[str, tuple[str, str]] = {
    "queued": ("○", "dim"),
    "starting": ("◌", "yellow"),
    "running": ("▶", "blue"),
    "cancelling": ("◌", "yellow"),
    "success": ("✓", "green"),
    "failure": ("✗", "red"),
    "cancelled": ("⊘", "yellow"),
    "timed_out": ("✗", "red"),
    "lost": ("✗", "bold red"),
}
"""State of a run to symbol and style."""


def symbol(state: str) -> tuple[str, str]:
    """Symbol and style of a state of a location or a run; of one that this version does not know too."""
    return SYMBOLS.get(state) or RUN_SYMBOLS.get(state, ("?", ""))


def limits(values: Mapping[str, float], how: Mapping[str, str]) -> str:
    """``memory 512 MiB (cgroup), cpu 0.5 (not enforced)``."""
    texts = []
    for name, value in values.items():
        text = size(value) if name == "memory" else f"{value:g}"
        by = f" ({how[name]})" if name in how else ""
        texts.append(f"{name.replace('_', ' ')} {text}{by}")
    return ", ".join(texts)


def good(state: str) -> bool:
    """True for what counts as ready: also a location that is served elsewhere."""
    return state in ("ready", "elsewhere")


def plural(count: int, word: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} {word if count == 1 else _PLURALS.get(word, word + 's')}"


def counts(numbers: Mapping[str, int], limit: int | None = None) -> str:
    """``3 jobs, 2 schedules``; beyond ``limit`` kinds ``and 4 more``. ``no definitions`` if none."""
    items = [(kind, n) for kind, n in numbers.items() if n]
    if not items:
        return "no definitions"
    shown = items if limit is None or len(items) <= limit else items[: limit - 1]
    text = ", ".join(plural(n, kind.replace("_", " ")) for kind, n in shown)
    rest = sum(n for _, n in items[len(shown) :])
    return f"{text}, {rest} more" if rest else text


def seconds(value: float | None) -> str:
    """``0.41s``, ``12s``, ``5m 3s``, ``2h 5m``, ``3d 4h``."""
    if value is None:
        return ""
    if value < 10:
        return f"{max(value, 0.0):.2f}s" if value < 1 else f"{value:.1f}s"
    whole = int(value)
    for unit, length, below, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length}{unit} {rest}{below}" if rest else f"{whole // length}{unit}"
    return f"{whole}s"


def ago(then: float | None, now: float) -> str:
    """How long ago, in the largest unit only: ``3s``, ``5m``, ``2h``, ``3d``."""
    if then is None:
        return ""
    passed = max(int(now - then), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= length:
            return f"{passed // length}{unit}"
    return f"{passed}s"


def moment(then: float) -> str:
    """A local time as ``Sat 2026-11-21 04:35:12 UTC``."""
    return time.strftime("%a %Y-%m-%d %H:%M:%S %Z", time.localtime(then))


def size(value: float | None) -> str:
    """``512 B``, ``31.2 MiB``."""
    return "" if value is None else sizes.size(value)


def python_of(location: LocationStatus) -> str:
    """The Python version: what the serving process said, else what the environment is known for."""
    serving = location["serving"]
    if serving is not None and serving["python"]:
        return serving["python"]
    environment = location["environment"]
    return (environment["python"] or "") if environment is not None else ""


def framework_of(serving: Serving | Generation | None) -> str:
    """``native 0.1.0``, or several, or nothing."""
    frameworks = serving["frameworks"] if serving is not None else []
    return ", ".join(f"{one['name']} {one['version']}".strip() for one in frameworks)


def environment_of(location: LocationStatus) -> str:
    """``risk (python 3.8.18)``, as messages name it."""
    environment = location["environment"]
    if environment is None:
        return "elsewhere"
    name = environment.get("name") or "default"
    python = python_of(location)
    if not python or name == f"python-{python}":
        return name
    return f"{name} (python {python})"


def summary(location: LocationStatus) -> str:
    """``3 jobs, 2 schedules (python 3.7.16, native 0.1.0)``."""
    serving = location["serving"]
    if serving is None:
        return ""
    inside = [f"python {serving['python']}" if serving["python"] else "", framework_of(serving)]
    text = ", ".join(filter(None, inside))
    return counts(serving["counts"]) + (f" ({text})" if text else "")


_VERIFIED = {
    "verified": "a fresh process loaded the same definitions",
    "differs": "its definitions differ from load to load",
    "failed": "it could not be loaded once more",
    "fork_condemned": "the fork is given up",
    "pending": "not yet",
    "off": "no",
}


def verified(location: LocationStatus) -> str:
    """What is known of the fork: ``a fresh process loaded the same definitions (Sat 2026-…)``."""
    found = location.get("verification")
    if found is None:
        return ""
    text = _VERIFIED.get(found["state"], found["state"])
    if found["reason"]:
        text += f": {found['reason']}"
    return f"{text} ({moment(found['at'])})" if found["at"] else text


def tags(location: LocationStatus) -> str:
    """``nightly, team=risk``."""
    found = location.get("tags") or {}  # a supervisor of an older version sends none
    return ", ".join(f"{name}={value}" if value else name for name, value in found.items())


def code_servers(location: LocationStatus, now: float) -> list[str]:
    """The servers that a framework's own clients use, a line for each fact."""
    found = location.get("code_servers")
    if found is None:
        return []
    lines = [f"at {found['socket']}"]
    for one in found["servers"]:
        facts = (
            f"generation {one['generation']}: {one['state']} for {ago(one['since'], now)}",
            f"pid {one['pid']}" if one["pid"] else "",
            plural(one["restarts"], "restart") if one["restarts"] else "",
            one["reason"],
            f"a fresh process, for {one['fresh_because']}" if one["fresh_because"] else "",
        )
        lines.append(", ".join(filter(None, facts)))
    for number, runs in found["runs"].items():
        lines.append(f"generation {number}: {plural(runs, 'run')} in flight")
    return lines


def changes(diff: Diff, limit: int = 6) -> str:
    """``added job:x; removed asset:y; changed job:z (tags)``, or ``nothing changed``."""
    changed = [f"{one['key']} ({', '.join(one['fields'])})" for one in diff["changed"]]
    parts = []
    for word, keys in (
        ("added", diff["added"]),
        ("removed", diff["removed"]),
        ("changed", changed),
    ):
        if keys:
            parts.append(f"{word} {_some(keys, limit)}")
    return "; ".join(parts) or "definitions unchanged"


def _some(keys: Sequence[str], limit: int) -> str:
    rest = len(keys) - limit
    return ", ".join(keys[:limit]) + (f" and {rest} more" if rest > 0 else "")


def problem(row: ProblemRow) -> str:
    """A configuration problem of the status document, as the command line prints its own."""
    place = row.get("file") or ""
    if row.get("line"):
        place += f":{row['line']}" + (f":{row['column']}" if row.get("column") else "")
    return ConfigurationProblem.sentence(place, row)
