"""A run of pytest of its own, with our conftest.py, for the tests of what that does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
# What says how the run around this one treats its own tests.
_NOT_INHERITED = ("PYTEST_ADDOPTS", "WS_FLAKY")


def run_pytest(
    folder: Path, file: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the tests of ``file`` in ``folder``."""
    shutil.copy(TESTS / "conftest.py", folder)
    inherited = {name: text for name, text in os.environ.items() if name not in _NOT_INHERITED}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull]
    # It rewrites all of hypothesis, which takes longer than such a run.
    command += ["-p", "no:hypothesispytest"]
    return subprocess.run(
        [*command, *options, file],
        cwd=folder,
        env={**inherited, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", **variables},
        capture_output=True,
        text=True,
        timeout=100,
    )
