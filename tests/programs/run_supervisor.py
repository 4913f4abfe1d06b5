"""A supervisor of the workspace file in argv[1]; tells of all its locations, one JSON a line.

Of each its state, the reason, and the definitions that are served: told when one of them changes.

With WS_TEST_VERIFY in the environment it verifies at once, however busy the machine is.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loop_guard import watch_process

watch_process()

from supervisor.errors import SupervisorError  # noqa: E402
from supervisor.locations.verifier import Verifier  # noqa: E402
from supervisor.processes.spare_time import Pace  # noqa: E402
from supervisor.server.daemon import Daemon  # noqa: E402
from supervisor.workspace_files import Selection  # noqa: E402


def say(value):
    print(json.dumps(value), flush=True)


async def main():
    path = Path(sys.argv[1])
    daemon = Daemon(Selection(files=(path,)), cwd=path.parent, environ=os.environ)
    run = asyncio.create_task(daemon.run())
    seen = {}
    while not run.done():
        now = _told(daemon)
        if now != seen:
            say(now)
            seen = now
        waiting = asyncio.create_task(daemon.fleet.news.wait(lambda: _told(daemon) != seen, 3600))
        await asyncio.wait([waiting, run], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    await run


def _told(daemon):
    return {
        name: [one.state.value, one.reason, sorted(one.snapshot.index()) if one.snapshot else []]
        for name, one in daemon.fleet.locations.items()
    }


if __name__ == "__main__":
    if "WS_TEST_VERIFY" in os.environ:
        Verifier.pace = Pace(patience=0, every=0.01, calm=lambda: True)
    try:
        asyncio.run(main())
    except SupervisorError as error:
        say({"error": error.code, "message": str(error), "hint": error.hint})
        sys.exit(error.exit_status)
