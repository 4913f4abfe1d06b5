"""The live table in a terminal that changes its size, which tmux is here."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import COMMAND, DEADLINE, TEAM, variables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here"),
]


class Window:
    """A terminal in which a command runs."""

    def __init__(self, runtime: Path, cwd: Path) -> None:
        self._tmux = ["tmux", "-S", str(runtime / "tmux"), "-f", "/dev/null"]
        self._environ = variables(runtime)
        self._run("new-session", "-d", "-s", "s", "-x", "120", "-y", "30", *COMMAND, cwd=cwd)
        self._run("set-option", "-t", "s", "remain-on-exit", "on")

    def _run(self, *words: str, cwd: Path | None = None) -> str:
        return subprocess.run(
            [*self._tmux, *words],
            cwd=cwd,
            env=self._environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        ).stdout

    def resize(self, width: int, height: int) -> None:
        self._run("resize-window", "-t", "s", "-x", str(width), "-y", str(height))

    def send(self, keys: str) -> None:
        self._run("send-keys", "-t", "s", keys)

    def until(self, true: Callable[[list[str]], bool]) -> list[str]:
        """All lines, those that have scrolled away too, once ``true`` of them."""
        deadline = time.monotonic() + DEADLINE
        while True:
            text = self._run("capture-pane", "-p", "-S", "-1000", "-t", "s")
            lines = [line for line in text.splitlines() if line.strip()]
            if true(lines):
                return lines
            assert time.monotonic() < deadline, text

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def window(tmp_path: Path, runtime: Path) -> Iterator[Window]:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.py").write_text(TEAM)
    (tmp_path / "workspace.yaml").write_text(
        "load_from: [python_file: one.py, python_file: two.py, python_file: three.py]\n"
    )
    found = Window(runtime, tmp_path)
    yield found
    found.close()


def test_one_table_is_left_whatever_the_size_becomes(window: Window) -> None:
    window.until(lambda lines: sum("ready" in line for line in lines) >= 4)
    for width, height in ((60, 30), (120, 30), (45, 20), (100, 25)):
        # Right behind a drawing: tmux tells a program of its new size a quarter of a second late.
        before = window.until(lambda lines: lines[-1].startswith("3 of 3 ready"))
        window.until(lambda lines, before=before: lines[-1] != before[-1])
        window.resize(width, height)
        wide = width >= 100
        lines = window.until(
            # Drawn anew for this width, and in one piece.
            lambda lines, wide=wide: (
                lines[-1].startswith("3 of 3 ready") and ("GEN" in lines[-5]) is wide
            )
        )
        # A drawing in that moment leaves one behind; without care, each change of the size does.
        assert len([line for line in lines if "LOCATION" in line]) <= 2, lines
    window.send("C-c")
    lines = window.until(lambda lines: any("everything has stopped" in line for line in lines))
    assert len([line for line in lines if "LOCATION" in line]) <= 2, lines
