"""Following a run, or a range of partitions, in the foreground until it has ended.

Owns what Ctrl-C does to it (asked to cancel, and killed at the second), the going on with the next supervisor,
and the exit status. What a run prints goes to standard output and error as it comes; what happens to it is
told on standard error, on a terminal with a line for each step that runs; the last line says how it ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from supervisor.cli.below import Below
from supervisor.cli.session import Session
from supervisor.errors import NotRunningError, RequestTimeoutError, UnreachableError
from supervisor.presentation import runs as words
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from supervisor.client.runs import Run
    from supervisor.protocol.run_documents import RunDetail, RunNews, RunRow

__all__ = ["follow_to_end"]

# How long a supervisor that is gone may take to be there again, as after `supervise upgrade`.
_AGAIN = 30.0
_PAUSE = 0.2


def follow_to_end(session: Session, run: Run, *, as_json: bool = False) -> int:
    """Tell what happens to ``run``, and to what repeats it, until all have ended; the exit status is that
    of the last."""
    while True:
        if not as_json:
            _announce(session, run.row)
            if run.note:
                session.terminal.say(clean(run.note), "yellow")
        following = _Following(session, run, as_json)
        detail = following.to_end()
        again = detail["retried_by"]
        if again is None:
            return following.last_words(detail)
        if not as_json:
            for line in (*words.failure_lines(detail), words.summary(detail, time.time())):
                session.terminal.say(f"  {line}")
        run = session.client(order=True).run(again)


def _announce(session: Session, row: RunRow) -> None:
    attempt = f", attempt {row['attempt']}" if row["attempt"] > 1 else ""
    what = f"{words.subject(row)} in {row['location']}{attempt}"
    session.terminal.say(f"run {row['run']} of {what}", "dim")
    if row["state"] == "queued" and row["reason"] and not row["partitions"]:
        place = f" (place {row['place']} in the queue)" if row["place"] is not None else ""
        session.terminal.say(f"{row['reason']}{place}", "dim")


class _Following:
    def __init__(self, session: Session, run: Run, as_json: bool) -> None:
        self._session = session
        self._run = run
        self._as_json = as_json
        self._below = Below(session.terminal)
        self._steps = words.Steps()
        self._told: set[str] = set()
        self._asked = 0

    def to_end(self) -> RunDetail:
        with self._below():
            return self._ended()

    def _ended(self) -> RunDetail:
        cursors: Mapping[str, int]
        cursors = {} if self._run.row["partitions"] else {"events": 0, "out": 0, "err": 0}
        while True:
            try:
                for news in self._run.follow(cursors):
                    cursors = news["next"]
                    if not self._as_json:
                        self._tell(news)
                return self._run.wait()
            except KeyboardInterrupt:
                self._cancel()
            except RequestTimeoutError as error:
                self._below.say(f"supervise: {error}: still waiting")
            except (NotRunningError, UnreachableError):
                self._run = self._again()

    def _tell(self, news: RunNews) -> None:
        terminal = self._session.terminal
        if news.get("out"):
            self._below.write(terminal.out, news["out"])
        if news.get("err"):
            self._below.write(terminal.err, news["err"])
        for event in news.get("events", ()):
            line = self._steps.line(event)
            self._below.running = self._steps.running
            if line is not None:
                self._below.say(line, "dim")
        for row in news.get("runs", ()):
            self._tell_of(row)
        counts = news["run"]["partitions"]
        if counts is not None:
            self._below.footer = words.counted(counts)

    def _tell_of(self, row: RunRow) -> None:
        """What is new of one run of a range."""
        key = str(row["partition"])
        running = dict(self._below.running)
        running.pop(key, None)
        if row["ended"] is None:
            if row["began"] is not None:
                running[key] = row["began"]
        elif row["run"] not in self._told:
            self._told.add(row["run"])
            terminal = self._session.terminal
            self._below.say(words.of_partition(row, time.time(), colour=terminal.error_colour))
        self._below.running = running

    def _cancel(self) -> None:
        self._asked += 1
        if self._asked > 2:
            raise KeyboardInterrupt
        self._below.say("cancelling; Ctrl-C again kills it" if self._asked == 1 else "killing it")
        self._run.cancel(who="Ctrl-C", now=self._asked > 1)

    def _again(self) -> Run:
        """The run as the next supervisor knows it; raises ``NotRunningError`` when none comes."""
        self._below.say("the supervisor is gone; the run goes on unless it was stopped, too", "dim")
        until = time.monotonic() + _AGAIN
        while True:
            try:
                return self._session.client(order=True).run(self._run.id)
            except (NotRunningError, UnreachableError, RequestTimeoutError) as error:
                if time.monotonic() >= until:
                    error.hint = f"`supervise runs show {self._run.id}` tells how it ended"
                    raise
                time.sleep(_PAUSE)

    def last_words(self, detail: RunDetail) -> int:
        """Say how it ended; the exit status."""
        terminal = self._session.terminal
        if self._as_json:
            terminal.data(detail)
        else:
            for line in words.failure_lines(detail):
                terminal.say(f"  {line}")
            terminal.print(words.summary(detail, time.time(), colour=terminal.colour))
        if detail["state"] == "success":
            return 0
        failure = detail["failure"]
        return 2 if failure is not None and failure["kind"] == "run_config" else 1
