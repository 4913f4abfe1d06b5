"""What a client offers about runs, each operation once, beside those of ``operations``.

The first part are methods of a client: those that give the row of one run give its handle to the client's
caller (``supervisor.client.runs``). The second are methods of a handle: their first parameter is the run's
id. One that follows a run returns a ``Following``. Knows neither socket nor event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast

from supervisor.client.operations import Plan
from supervisor.client.requests import Call, call
from supervisor.protocol import parameters
from supervisor.protocol.methods import LONGEST_HOLD

if TYPE_CHECKING:
    from supervisor.protocol import run_documents as documents

__all__ = [
    "Following",
    "Heard",
    "Instance",
    "cancel",
    "events",
    "follow",
    "launch",
    "output",
    "preview",
    "retry",
    "run",
    "runs",
    "wait",
]

T = TypeVar("T")
Instance = Literal["own", "shared", "ephemeral"]
# Answers that may be on their way.
_AHEAD = 4
_FROM_THE_START: Mapping[str, int] = {"events": 0, "out": 0, "err": 0}


class Heard(NamedTuple):
    """The row of a run, and what a launch says beside it, in a sentence."""

    row: documents.RunRow
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Following(Generic[T]):
    """A call that streams the news of a run, and what the caller is given of each."""

    call: Call[documents.RunNews]
    pieces: Callable[[documents.RunNews], Iterable[T]]


def launch(
    location: str,
    job: str | None = None,
    *,
    assets: str | None = None,
    partition: str | None = None,
    partition_range: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    op_selection: str | None = None,
    repository: str | None = None,
    limits: Mapping[str, float] | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    grace: float | None = None,
    instance: Instance | None = None,
) -> Plan[Heard]:
    """Run ``job`` of ``location``, or its ``assets``, and return at once.

    With ``partition_range`` (``FIRST..LAST``) there is a run for each partition, and what is returned stands
    for all of them: its state is success when all succeeded, and ``cancel`` and ``retry`` act on all.
    ``assets`` and ``op_selection`` are selections such as ``"report,+raw"`` (docs/runs.md). ``limits`` are
    of the run alone (``memory`` in bytes, ``cpu``, ``processes``, ``open_files``). ``timeout`` and ``grace``
    are seconds. Raises ``UnknownLocationError``, ``UnknownDefinitionError``,
    ``UnknownPartitionError`` and ``UnfitOrderError`` before anything has run.
    """
    answer = yield call("launch", dict(locals()))
    return Heard(answer["run"], answer["note"])


def preview(
    location: str,
    job: str | None = None,
    *,
    assets: str | None = None,
    partition: str | None = None,
    partition_range: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    op_selection: str | None = None,
    repository: str | None = None,
    limits: Mapping[str, float] | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    grace: float | None = None,
    instance: Instance | None = None,
) -> Plan[documents.Launched]:
    """What ``launch`` or ``launch_range`` would run, with the same errors; nothing runs."""
    found: documents.Launched = yield call("launch", {**locals(), "dry_run": True})
    return found


def runs(
    location: str | None = None,
    *,
    job: str | None = None,
    words: str | None = None,
    tag: str | None = None,
    states: tuple[str, ...] = (),
    since: float = 0.0,
    limit: int = 20,
    offset: int = 0,
    parent: str | None = None,
) -> Plan[list[documents.RunRow]]:
    """The newest runs, newest first, behind the first ``offset``; ``since`` is Unix seconds.

    ``words`` must all be in its id, job, assets or partition; ``tag`` is ``NAME`` or ``NAME=VALUE``. A range of partitions is one row; with ``parent``, its id, the runs of that range are given.
    """
    params = {
        "location": location, "job": job, "words": words, "tag": tag, "states": list(states), "since": since,
        "limit": limit, "offset": offset, "parent": parent,
    }  # fmt: skip
    answer = yield call("runs", params)
    return cast("list[documents.RunRow]", answer["runs"])


def run(run: str) -> Plan[Heard]:
    """A run by its id, or the beginning or end of it; raises ``UnknownRunError``."""
    return Heard((yield call("run", {"run": run})))


def retry(run: str, *, from_failure: bool = False) -> Plan[Heard]:
    """Run the same again, with the code that is served now.

    With ``from_failure`` only the steps that have not succeeded; of a range of partitions, only those
    whose run has not. Raises ``RequestError`` where the values that they need were not kept.
    """
    answer = yield call("retry_run", {"run": run, "from_failure": from_failure})
    return Heard(answer["run"], answer["note"])


# -- of a handle --------------------------------------------------------------------------------------


def follow(
    run: str, after: Mapping[str, int] | None = None, *, wait: bool = True, ahead: int = _AHEAD
) -> Following[documents.RunNews]:
    """What is new of its ``events``, ``out`` and ``err`` behind the cursors, until it has ended.

    Without ``after`` all of it, from the start. With ``wait`` False what there is now. ``ahead`` pieces may
    come before they are taken, each of at most 1 MiB of each. Of a range of partitions there are its
    ``runs``, and ``after`` must be empty.
    """
    cursors = _FROM_THE_START if after is None else after
    return _following(run, cursors, wait, lambda news: (news,), ahead)


def events(run: str, *, wait: bool = True) -> Following[documents.RunEvent]:
    """Its events from the first on, as they come, until it has ended."""
    return _following(run, {"events": 0}, wait, lambda news: news.get("events", ()))


def output(run: str, stream: str = "out", *, wait: bool = True) -> Following[str]:
    """Pieces of what it wrote to ``out`` or ``err``, as they come, until it has ended."""

    def pieces(news: Any) -> Iterable[str]:
        return (news[stream],)

    return _following(run, {stream: 0}, wait, pieces)


def wait(run: str, timeout: float | None = None) -> Plan[documents.RunDetail]:
    """The run in full once it has ended, or after ``timeout`` seconds (None: for ever)."""
    left = float("inf") if timeout is None else parameters.seconds("timeout", timeout)
    while True:
        params = {"run": run, "timeout": min(left, LONGEST_HOLD)}
        detail: documents.RunDetail = yield call("run", params)
        left -= LONGEST_HOLD
        if detail["ended"] is not None or left <= 0:
            return detail


def cancel(run: str, *, now: bool = False, who: str = "a client") -> Plan[documents.RunRow]:
    """Ask it to end, or kill it ``now``. Returns at once; ``wait`` for the end."""
    row: documents.RunRow = yield call("cancel_run", {"run": run, "now": now, "who": who})
    return row


def _following(
    run: str,
    cursors: Mapping[str, int],
    wait: bool,
    pieces: Callable[[documents.RunNews], Iterable[T]],
    ahead: int = _AHEAD,
) -> Following[T]:
    asked: Call[documents.RunNews]
    asked = call("follow_run", {"run": run, "no_wait": not wait, **cursors}, credit=ahead)
    return Following(asked, pieces)
