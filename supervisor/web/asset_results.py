"""When an asset was last made, and what its checks last said, as its newest runs have it among their events.

Owns which runs are read for that, a bounded number and a bounded part of each, and what they told: a run that
has ended tells the same for ever. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from supervisor.web.link import Link

__all__ = ["AssetResults", "CheckResult", "Lately", "Made"]

_MADE, _CHECKED = "ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION"
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


@dataclass(frozen=True, slots=True)
class Made:
    """That ``run`` made the asset at ``time`` (Unix seconds): of a ``partition``, "" for all of it.

    ``markdown`` are the keys of ``metadata`` whose values are Markdown.
    """

    run: str
    time: float
    partition: str
    metadata: Mapping[str, Any]
    markdown: tuple[str, ...]


@dataclass(slots=True)
class Lately:
    """What the newest runs tell of one asset: when it was made, and the last results of its checks by name."""

    made: Made | None = None
    checks: dict[str, CheckResult] = field(default_factory=dict)


class AssetResults:
    """What the runs told that were read last, by run and asset."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, Lately]] = {}

    async def last(self, link: Link, location: str, asset: str, jobs: Iterable[str]) -> Lately:
        """What is known of ``asset`` from the newest few runs of it or of its ``jobs``; nothing while no
        supervisor runs."""
        found = Lately()
        if not link.running:
            return found
        try:
            for run in await _runs(link, location, asset, jobs):
                told = (await self._of(link, run)).get(asset, Lately())
                found.made = found.made or told.made
                found.checks = {**told.checks, **found.checks}
        except SupervisorError:
            return found  # it has gone meanwhile, or may not be seen
        return found

    async def _of(self, link: Link, run: str) -> Mapping[str, Lately]:
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


async def _read(link: Link, run: str) -> Mapping[str, Lately]:
    found: dict[str, Lately] = {}
    handle = await link.client.run(run)
    pieces = 0
    async with aclosing(handle.follow({"events": 0}, wait=False, ahead=1)) as pages:
        async for news in pages:
            for event in news.get("events", ()):
                _take(found, run, event)
            pieces += 1
            if pieces == _MOST_PIECES:
                break
    return found


def _take(found: dict[str, Lately], run: str, event: Any) -> None:
    data = event["data"] or {}
    key = data.get("asset_key")
    if event["type"] not in (_MADE, _CHECKED) or not isinstance(key, list):
        return
    told = found.setdefault("/".join(map(str, key)), Lately())
    if event["type"] == _MADE:
        metadata, markdown = data.get("metadata"), data.get("markdown")
        told.made = Made(
            run,
            event["time"],
            str(data.get("partition") or ""),
            metadata if isinstance(metadata, Mapping) else {},
            tuple(map(str, markdown)) if isinstance(markdown, list) else (),
        )
    elif isinstance(passed := data.get("passed"), bool):
        warns = data.get("severity") == "WARN"
        told.checks[str(data.get("check"))] = CheckResult(passed, warns, run, event["time"])
