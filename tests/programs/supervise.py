"""The ``supervise`` command as tests run it: its event loop is watched (tests/loop_guard.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loop_guard import watch_process

watch_process()
del sys.path[0]

from supervisor.cli import main  # noqa: E402

main()
