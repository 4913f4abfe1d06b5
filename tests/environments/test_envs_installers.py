"""Which installer is found."""

from __future__ import annotations

import subprocess
import sys

from places import PROGRAMS, ROOT


def test_several_environments_that_begin_at_once_all_find_uv() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "find_uv_at_once.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "UvInstaller\n"), done.stderr
