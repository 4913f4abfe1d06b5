"""What the checks of an asset last said, as the newest runs of it have it among their events.

Owns which runs are read for that, a bounded number and a bounded part of each, and what they told: a run that
has ended tells the same for ever. Only frameworks that record checks as events (``ASSET_CHECK_EVALUATION``)
have results. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from supervisor.web.link import Link

__all__ = ["CheckResult", "CheckResults"]

_EVENT = "ASSET_CHECK_EVALUATION"
_MOST_RUNS = 3  # that are read
_MOST_LISTED = 20
_MOST_PIECES = 2  # of a run's events, each 1 MiB
_MOST_KEPT = 64


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check said in ``run`` at ``time`` (Unix seconds); ``warns`` when that it failed is no error."""

    passed: bool
    warns: bool
    run: str
    time: float


class CheckResults:
    """The results of the runs that were read last."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[tuple[str, str], CheckResult]] = {}

    async def last(
        self, link: Link, location: str, asset: str, jobs: Iterable[str]
    ) -> dict[str, CheckResult]:
        """By the name of each check of ``asset`` what it said last, in runs of it or of its ``jobs``.

        Of the newest few runs; empty while no supervisor runs.
        """
        found: dict[str, CheckResult] = {}
        if not link.running:
            return found
        try:
            for run in await _runs(link, location, asset, jobs):
                for (other, name), result in (await self._of(link, run)).items():
                    if other == asset:
                        found.setdefault(name, result)
        except SupervisorError:
            return found  # it has gone meanwhile, or may not be seen
        return found

    async def _of(self, link: Link, run: str) -> Mapping[tuple[str, str], CheckResult]:
        if run not in self._known:
            self._known[run] = await _read(link, run)
            while len(self._known) > _MOST_KEPT:
                del self._known[next(iter(self._known))]
        return self._known[run]


async def _runs(link: Link, location: str, asset: str, jobs: Iterable[str]) -> list[str]:
    """The newest that have ended, the newest first."""
    asked = [{"words": asset}, *({"job": job} for job in list(jobs)[:_MOST_RUNS])]
    ended: dict[str, Any] = {}
    for one in asked:
        params = {"location": location, "limit": _MOST_LISTED, **one}
        for row in (await link.client.call_method("runs", params))["runs"]:
            made = row["job"] == one.get("job") if "job" in one else asset in (row["assets"] or ())
            if made and row["ended"] is not None and row["partitions"] is None:
                ended[row["run"]] = row
    newest = sorted(ended.values(), key=lambda row: row["created"], reverse=True)
    return [row["run"] for row in newest[:_MOST_RUNS]]


async def _read(link: Link, run: str) -> Mapping[tuple[str, str], CheckResult]:
    found: dict[tuple[str, str], CheckResult] = {}
    handle = await link.client.run(run)
    pieces = 0
    async with aclosing(handle.follow({"events": 0}, wait=False, ahead=1)) as pages:
        async for news in pages:
            for event in news.get("events", ()):
                result = _result(run, event)
                if result is not None:
                    found[result[0]] = result[1]
            pieces += 1
            if pieces == _MOST_PIECES:
                break
    return found


def _result(run: str, event: Any) -> tuple[tuple[str, str], CheckResult] | None:
    data = event["data"] or {}
    key, name, passed = data.get("asset_key"), data.get("check"), data.get("passed")
    if event["type"] != _EVENT or not isinstance(key, list) or not isinstance(passed, bool):
        return None
    result = CheckResult(passed, data.get("severity") == "WARN", run, event["time"])
    return ("/".join(map(str, key)), str(name)), result
