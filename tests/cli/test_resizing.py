"""What stays at the bottom of a terminal leaves nothing behind when the window's size changes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMAND, TEAM, foreground, variables
from monitored import HEAD
from supervised import environ, make_workspace, save
from windows import ENDED, Window, in_window, needs_tmux

from supervisor import Client

pytestmark = [needs_tmux, pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = ("one", "two_with_a_long_name", "three", "four")
FOOTER = re.compile(r"\d+ of \d+ ready · ")


@contextlib.contextmanager
def shown(
    directory: Path, runtime: Path, *words: str, columns: int = 120, rows: int = 24
) -> Iterator[Window]:
    with in_window(
        [*COMMAND, *words],
        cwd=directory,
        env=variables(runtime, COLUMNS="80", LINES="24"),  # as a shell may export them
        socket=runtime / "tmux",
        columns=columns,
        rows=rows,
    ) as window:
        yield window


class OneTable:
    """True of rows that have one table of these locations, whole, and nothing else of any table."""

    def __init__(self, names: tuple[str, ...], footer: bool) -> None:
        self._names = names
        self._footer = footer

    def __call__(self, rows: list[str]) -> bool:
        heads = [n for n, row in enumerate(rows) if "LOCATION" in row]
        if len(heads) != 1:
            return False
        table = rows[heads[0] + 1 :]
        marks = [n for n, row in enumerate(rows) if row[:2] in ("● ", "◌ ", "✗ ")]
        each = all(row[2:].startswith(name[:8]) for row, name in zip(table, self._names))
        after = table[len(self._names) :] if self._footer else []
        feet = [n for n, row in enumerate(rows) if FOOTER.match(row)]
        return (
            each
            and marks == list(range(heads[0] + 1, heads[0] + 1 + len(self._names)))
            and len(feet) == int(self._footer)
            and (not self._footer or (bool(FOOTER.match(after[0])) and not any(after[1:])))
        )


@pytest.mark.parametrize("words", [(), ("status", "--watch")], ids=["foreground", "watch"])
def test_a_table_survives_every_change_of_the_window(
    tmp_path: Path, runtime: Path, words: tuple[str, ...]
) -> None:
    make_workspace(tmp_path, {f"{name}.py": TEAM for name in NAMES})
    with contextlib.ExitStack() as stack:
        if words:
            running = stack.enter_context(foreground(tmp_path, runtime))
            running.until(lambda line: "ready" in line)
        window = stack.enter_context(shown(tmp_path, runtime, *words))
        whole = OneTable(NAMES, footer=True)
        window.until(lambda rows: "4 of 4 ready" in "\n".join(rows) and whole(rows), "the table")
        for columns, rows in ((60, 24), (45, 24), (100, 24), (120, 12), (120, 40), (50, 40)):
            window.resize(columns, rows)
            window.until(whole, f"one table in a window of {columns}x{rows}")
        window.resize(50, 4)  # shorter than the table
        window.until(OneTable(NAMES[:1], footer=False), "what fits of it")
        window.resize(120, 24)
        window.until(whole, "one table again")
        for columns in (60, 110, 50, 90, 40, 120, 45, 80, 120, 70):
            window.resize(columns, 24)
        window.until(whole, "one table after many changes")
        window.press("C-c")
        if words:
            window.until(lambda rows: rows[-1] == ENDED, "the view has ended")
            assert sum("LOCATION" in row for row in window.rows()) == 1
        else:
            last = "supervise: everything has stopped"
            window.until(lambda rows: last in rows, "it has ended")


def test_what_is_told_meanwhile_stays_whole(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {f"{name}.py": TEAM for name in NAMES})
    with shown(tmp_path, runtime) as window:
        window.until(lambda rows: "4 of 4 ready" in "\n".join(rows), "all are ready")
        with Client(workspace, environ=environ(runtime), timeout=60) as client:
            widths = (60, 100, 45, 120, 52, 90)
            for generation, columns in enumerate(widths, start=2):
                client.reload("one")
                window.resize(columns, 24)
                window.resize(columns + 7, 24)
                client.wait("one", timeout=60)
                told = re.compile(rf"one: ready in [\d.]+s, generation {generation} —")
                window.until(lambda rows: any(map(told.match, rows)), "it is told")
        window.resize(120, 24)
        window.until(OneTable(NAMES, footer=True), "one table")
        for generation in range(2, 2 + len(widths)):
            lines = [row for row in window.rows() if f"generation {generation} —" in row]
            assert len(lines) == 1, window.rows()


def test_a_table_that_is_higher_than_the_window_is_seen_once(tmp_path: Path, runtime: Path) -> None:
    elsewhere = "".join(
        f"- grpc_server: {{host: elsewhere.example, port: {port}, location_name: served_at_{port}}}\n"
        for port in range(4000, 4040)
    )
    workspace = make_workspace(tmp_path, {"one.py": TEAM})
    save(workspace, workspace.read_text() + elsewhere)
    with shown(tmp_path, runtime) as window:

        def whole(rows: list[str]) -> bool:
            heads = [row for row in rows if "LOCATION" in row]
            return len(heads) == 1 and bool(FOOTER.match(rows[-1])) and "… and" in rows[-2]

        for columns, height in ((120, 24), (60, 24), (40, 10), (100, 30), (50, 30), (120, 24)):
            window.resize(columns, height)
            window.until(whole, f"one table in a window of {columns}x{height}", history=False)


def test_the_lines_of_what_runs_survive_narrow_windows(tmp_path: Path, runtime: Path) -> None:
    names = [f"a_step_that_takes_its_time_{n}" for n in range(3)]
    steps = "".join(f"@op\ndef {name}():\n    time.sleep(1000)\n" for name in names)
    text = f"{HEAD}\n{steps}\n@job\ndef waits():\n    " + "; ".join(f"{one}()" for one in names)
    make_workspace(tmp_path, {"team.py": text})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("team: ready"))
        with shown(tmp_path, runtime, "launch", "team", "waits", columns=60) as window:
            line = re.compile(r"a_step_that_.*: [\d.]+m?s$")

            def once(rows: list[str]) -> bool:
                return sum(bool(line.match(row)) for row in rows) == 1 and not any(
                    "time_0" in row and not line.match(row) for row in rows
                )

            for columns in (60, 22, 40, 21, 30, 60):
                window.resize(columns, 24)
                window.until(once, f"one line in a window of {columns} columns")
            window.press("C-c")
            window.until(lambda rows: rows[-1] == ENDED, "the end")
            rows = window.rows()
            assert not any(line.match(row) for row in rows), rows
