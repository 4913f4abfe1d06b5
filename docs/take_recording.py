"""Plays the first ten minutes of a new user in a terminal, and writes docs/first-ten-minutes.md.

``python docs/take_recording.py`` needs tmux. Each command of the page runs in a window of its own, and the
supervisor in one that stays; what they show is copied as it is. Only what differs from play to play (paths,
versions, times, ids) is replaced by an example of its kind. ``tests/docs/test_recording.py`` plays it again
and compares.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from documented import of_a_reader  # noqa: E402
from windows import ENDED, Window, in_window  # noqa: E402

PAGE = ROOT / "docs" / "first-ten-minutes.md"
COLUMNS, ROWS = 140, 30

# What differs from play to play, and what the page shows for it.
SUBSTITUTIONS = (
    (r"/tmp/first-\w{8}", "/home/ana/work/acme"),  # of the same length
    (re.escape(sys.prefix), "/opt/supervise"),
    (r"\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b", "01a2345b-c678-7d9e-8f01-23456789abcd"),
    (r"fingerprint [\da-f]{12}", "fingerprint 0123456789ab"),
    (r"\b[A-Z]\w\w \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+", "Fri 2026-11-27 09:00:00 UTC"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "2026-11-27 09:00:00.000"),
    (r"^  \d\d:\d\d:\d\d ", "  09:00:00 "),
    (r"(?<!: )\b\d+\.\d+s\b", "0.04s"),
    (r"(?<!: )(?<!\.)\b(\d+m )?\d+s\b|(?<=ready) +\d+m\b", "2s"),
    (r"(?<=30 2 \* \* \*  on  )in .*", "in 5h 30m"),
    (r"\b\d[\d.]* [KM]iB", "17.5 MiB"),
    (r"\b\d+ B\b", "480 B"),
    (r"cpu [\d.]+%", "cpu 1%"),
    (r"\bpid \d+", "pid 4711"),
    (r"\b3\.\d\d\.\d+\b", "3.12.4"),
    (r'(?<=python: )"3\.\d\d"', '"3.12"'),
    (r"(?<=supervise )\d+\.\d+\.\d+", "0.1.0"),
)

REPORTS = """\
from runner_shim import Definitions, job, op, schedule


@op
def write_report():
    print("written")


@job
def nightly():
    write_report()


@schedule(cron_schedule="30 2 * * *", job=nightly, default_status="running")
def every_night(context):
    return {}


defs = Definitions(jobs=[nightly], schedules=[every_night])
"""

WEEKLY = """\
@job
def weekly():
    write_report()


defs = Definitions(jobs=[nightly, weekly], schedules=[every_night])
"""

BILLING = """\
from runner_shim import Definitions, asset


@asset
def invoices():
    return [120, 80]


@asset
def total(invoices):
    return sum(invoices)


defs = Definitions(assets=[invoices, total])
"""

TWO_TEAMS = """\
load_from:
  - python_file:
      relative_path: reports/definitions.py
      location_name: reports
  - python_file:
      relative_path: billing/definitions.py
      location_name: billing
"""


def stable(text: str) -> str:
    """``text`` with an example for each thing that differs from play to play; columns stay in line."""

    for pattern, example in SUBSTITUTIONS:
        parts, end = [], 0
        for found in re.finditer(f"((?<= ) +|)(?:{pattern})", text, re.MULTILINE):
            parts += [
                text[end : found.start()],
                example.rjust(len(found[0]) if found[1] and example[0].isdigit() else 0),
            ]
            end = found.end()
        text = "".join(parts) + text[end:]
    return text


class Recording:
    """The page so far, and the directory in which its commands run."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.parts: list[str] = []
        self._environ = of_a_reader(directory / "bin", runtime, HOME=str(directory), LANG="C.UTF-8")
        self._here = directory / "shop"
        self._here.mkdir()
        self._sockets = (runtime / f"window-{number}" for number in itertools.count())

    @contextlib.contextmanager
    def window(self, command: str) -> Iterator[Window]:
        """``command`` in a window of its own."""
        with in_window(
            ["bash", "-c", command],
            cwd=self._here, env=self._environ, socket=next(self._sockets), columns=COLUMNS, rows=ROWS,
        ) as window:  # fmt: skip
            yield window

    def say(self, text: str) -> None:
        """A paragraph of the page."""
        self.parts.append(text)

    def block(self, text: str) -> None:
        """What a terminal showed."""
        self.parts.append(f"```text\n{stable(text)}\n```")

    def save(self, path: str, text: str, shown: str | None = None) -> None:
        """Write a file at once, as editors do; ``shown`` is what the page has of it, by default all."""
        file = self._here / path
        file.parent.mkdir(exist_ok=True)
        draft = file.with_name(f".{file.name}.new")
        draft.write_text(text)
        draft.rename(file)
        language = {".py": "python", ".yaml": "yaml"}[file.suffix]
        self.parts.append(f"```{language}\n{(text if shown is None else shown).rstrip()}\n```")

    def run(self, *commands: str) -> None:
        """Run commands one after the other, and show each with what it wrote."""
        shown = []
        for command in commands:
            with self.window(command) as window:
                window.until(lambda rows: rows[-1] == ENDED, f"the end of: {command}")
                shown.append("\n".join([f"$ {command}", *window.rows(joined=True)[:-1]]))
        self.block("\n\n".join(shown))


class Watched:
    """The window in which the supervisor runs."""

    def __init__(self, recording: Recording, window: Window) -> None:
        self._recording = recording
        self._window = window
        self._seen: list[str] = []

    def show(self, pattern: str, table: bool = True) -> None:
        """Wait until what is new in the window matches ``pattern`` and stays; show it.

        Without ``table`` only what the supervisor says of itself.
        """
        last = ""

        def settled(rows: list[str]) -> bool:
            nonlocal last
            while rows and not rows[0]:
                del rows[0]
            same = itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(rows, self._seen, strict=False)
            )
            now = "\n".join(rows[sum(1 for _ in same) :])
            before, last = last, now
            return re.search(pattern, now, re.DOTALL) is not None and stable(before) == stable(now)

        self._window.until(settled, pattern)
        text = last.strip("\n")
        above = text.partition("LOCATION ")[0]
        if not table:
            text = "\n".join(row for row in text.split("\n") if row.startswith("supervise: "))
        self._recording.block(text)
        self._seen += above.rstrip("\n").split("\n") if above else []

    def press(self, key: str) -> None:
        """A key by tmux's name for it."""
        self._window.press(key)


def play(directory: Path, runtime: Path) -> str:
    """The page; ``directory`` and ``runtime`` are empty, and nothing runs there afterwards."""
    page = Recording(directory, runtime)
    page.say(
        "# The first ten minutes\n\n"
        "What a terminal shows while a new user tries `supervise`: every command, and every line that it writes.\n"
        "`docs/take_recording.py` plays it and writes this page; paths, versions, times and ids are replaced by\n"
        "examples, long lines are not wrapped, and a test plays it again. [tutorial.md](tutorial.md) explains the steps."
    )
    page.say("## Nothing yet\n\nAn empty directory. The error says what `supervise` looks for:")
    page.run("supervise --version", "supervise")
    page.say("`reports/definitions.py` is the example of the [README](../README.md#first-steps):")
    page.save("reports/definitions.py", REPORTS)
    page.run("supervise init", "cat workspace.yaml")
    page.say("`check` loads each location once and ends; the exit status is 0:")
    page.run("supervise check")
    page.say(
        "## It runs\n\n`supervise` stays in the foreground, with a table that is kept up to date:"
    )
    with page.window("supervise") as window:
        first = Watched(page, window)
        first.show(r"MiB  1 job, 1 schedule\n1 of 1 ready")
        page.say("In a second terminal:")
        page.run(
            "supervise list",
            "supervise launch reports nightly",
            "supervise runs",
            "supervise automations",
            "supervise tick reports every_night",
            "supervise logs reports",
        )
        page.say("## An edit\n\nA second job, saved at the end of `reports/definitions.py`:")
        head = REPORTS.rpartition("defs = ")[0]
        page.save("reports/definitions.py", head + WEEKLY, WEEKLY)
        page.say("The first terminal says what has changed:")
        first.show(r"added job:weekly.*MiB  2 jobs, 1 schedule\n1 of 1 ready")
        page.run("supervise launch reports weekly")
        page.say("## A mistake\n\nA file that is saved with a parenthesis too few:")
        broken = "defs = Definitions(jobs=[nightly, weekly], schedules=[every_night]\n"
        page.save("reports/definitions.py", REPORTS.rpartition("defs = ")[0] + broken, broken)
        first.show(r"reports: failed — .*✗ reports.*\n0 of 1 ready")
        page.say("What was loaded before is still served, and can be launched:")
        page.run("supervise status", "supervise launch reports nightly")
        page.say("`status` with a name has everything about one location (the exit status is 1):")
        page.run("supervise status reports")
        page.say("The corrected file loads by itself:")
        page.save("reports/definitions.py", REPORTS, REPORTS.rpartition("\n\n")[2])
        first.show(r"removed job:weekly.*MiB  1 job, 1 schedule\n1 of 1 ready")
        page.say("## A second team\n\n`billing/definitions.py`, which makes assets:")
        page.save("billing/definitions.py", BILLING)
        page.say("and `workspace.yaml`, with an entry more. It is read again when it is saved:")
        page.save("workspace.yaml", TWO_TEAMS)
        first.show(r"MiB  2 assets\n2 of 2 ready")
        page.run("supervise launch billing --assets +total", "supervise status")
        page.say("## A mistake in the workspace\n\nA misspelled key, in the entry of `billing`:")
        typo = TWO_TEAMS.replace("location_name: billing", "loction_name: billing")
        page.save("workspace.yaml", typo, typo[typo.index("  - python_file", 20) :])
        first.show(r"loction_name.*2 of 2 ready")
        page.say("Both locations go on. `check` says the same, for CI:")
        page.run("supervise check", "supervise status")
        page.save("workspace.yaml", TWO_TEAMS, TWO_TEAMS[typo.index("  - python_file", 20) :])
        first.show(r"no problems any more.*2 of 2 ready")
        page.say("## The end\n\nCtrl-C in the first terminal:")
        first.press("C-c")
        first.show(re.escape(ENDED), table=False)
    page.say("Where no supervisor runs, commands say so (the exit status is 3):")
    page.run("supervise status")
    return "\n\n".join(page.parts) + "\n"


@contextlib.contextmanager
def empty_directory() -> Iterator[Path]:
    """One whose path has the length of the example that the page shows."""
    with tempfile.TemporaryDirectory(prefix="first-", dir="/tmp") as directory:
        yield Path(directory)


def main() -> None:
    """Write the page."""
    with empty_directory() as directory, tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        PAGE.write_text(play(directory, Path(runtime)))


if __name__ == "__main__":
    main()
