"""A load that takes a while says what it is at, and afterwards what it took."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import TEAM, Foreground, foreground

DEFS = "import slow_library, time\ntime.sleep(1)\n" + TEAM
# Goes on once the file is there.
SLOW = """\
import pathlib, time
while not pathlib.Path("go").exists():
    time.sleep(0.01)
"""


@pytest.fixture
def running(tmp_path: Path, runtime: Path) -> Iterator[Foreground]:
    (tmp_path / "defs.py").write_text(DEFS)
    (tmp_path / "slow_library.py").write_text(SLOW)
    (tmp_path / "workspace.yaml").write_text("load_from: [python_file: defs.py]\n")
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("supervise: 1 location"))
        yield running


def test_a_slow_load_says_what_it_imports(running: Foreground, tmp_path: Path) -> None:
    running.read_on()
    reason = ""
    for _ in range(600):
        (one,) = running.json("status", "defs.py")["locations"]
        reason = one["reason"]
        if "importing" in reason:
            break
    assert reason.startswith("importing slow_library, ")
    assert reason.endswith(" s of 180 s")
    done = running.run("why-slow", "defs.py")
    assert done.stdout.splitlines()[0].startswith("defs.py: loading — importing slow_library, ")
    assert "supervise stacks defs.py" in done.stdout
    (tmp_path / "go").touch()
    assert running.run("wait", "--timeout", "60").returncode == 0
    done = running.run("why-slow", "defs.py")
    head, _, heads, first, *_ = done.stdout.splitlines()
    assert head.startswith("defs.py: generation 1 loaded in ")
    assert heads.split() == ["SECONDS", "OWN", "MODULE", "IMPORTED", "AT"]
    assert first.split()[2:] == ["slow_library", "defs.py:1"]
    found = running.json("why-slow", "defs.py")
    assert found["imports"][0]["name"] == "slow_library"
    assert found["load_seconds"] >= found["imports"][0]["seconds"] >= 1.0
    hint = done.stdout.splitlines()[-1]  # a second is the module's own
    assert hint.startswith("hint: `supervise stacks defs.py` names the line while it loads: ")
    done = running.run("stacks", "defs.py")
    assert "in receive" in done.stdout
    assert done.stderr == "it is idle: no code of the location is on the stack\n"
    assert "most recent call first" not in running.run("logs", "defs.py").stdout
    done = running.run("why-slow", "defs")
    assert (done.returncode, done.stdout) == (4, "")
