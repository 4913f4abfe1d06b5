"""The foreground supervisor of argv[1], whose display waits argv[2] seconds for news and argv[3] more."""

import sys
from pathlib import Path

from supervisor.cli.run import Pace, run_workspace
from supervisor.cli.session import Session
from supervisor.workspace_files import Selection

path, news, timeout = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
session = Session(selection=Selection(files=(path,)), cwd=path.parent)
sys.exit(run_workspace(session, pace=Pace(lines=news, table=news, timeout=timeout)))
