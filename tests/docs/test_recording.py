"""docs/first-ten-minutes.md shows what a terminal shows today: it is played again and compared."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from places import ROOT
from windows import needs_tmux

PAGE = ROOT / "docs" / "first-ten-minutes.md"
# A state that passes quickly is not seen, a process may end before it is asked to, and memory is measured a moment later.
_PASSING = re.compile(r"\w+: starting — ")
_VARIES = re.compile(r" \(by SIG\w+\)| \(it exited when asked to\)| \([\d.]+ MiB of its own\)")


def compared(page: str) -> list[list[str]]:
    """The lines of each block and paragraph, without the blanks that align columns.

    Their order is not compared: what a run prints and what it reports come through two pipes, and a table is drawn
    above or below a line that comes with it.
    """
    parts = []
    for part in re.split(r"^```\w*\n|\n\n(?=\$ )", page, flags=re.MULTILINE):
        kept = [_VARIES.sub("", line) for line in part.split("\n") if not _PASSING.match(line)]
        lines = ["".join(line.split()) for line in kept if line.strip()]
        parts.append(sorted(lines))
    return parts


@needs_tmux
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_ten_minutes_are_shown_as_they_are(tmp_path: Path, runtime: Path) -> None:
    spec = importlib.util.spec_from_file_location("take_recording", ROOT / "docs/take_recording.py")
    assert spec is not None
    assert spec.loader is not None
    taking = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(taking)
    with taking.empty_directory() as directory:
        played = taking.play(directory, runtime)
    assert compared(played) == compared(PAGE.read_text()), "run: python docs/take_recording.py"
