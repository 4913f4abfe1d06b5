"""Has locations loaded whose servers do not answer: one at each socket that is named, and one without a socket."""

import sys
from types import SimpleNamespace

from dagster._core.workspace.context import WorkspaceProcessContext

workspace = WorkspaceProcessContext(__file__)
for socket in [*sys.argv[1:], None]:
    workspace._load_location(SimpleNamespace(location_name=socket, socket=socket), reload=False)
