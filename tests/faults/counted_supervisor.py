"""A supervisor of the workspace file in argv[1] that counts its tasks in answer to SIGUSR2.

What it counted is in the file argv[2]: a number a line, one for each signal.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loop_guard import watch_process

watch_process()

from supervisor.server.daemon import Daemon  # noqa: E402
from supervisor.workspace_files import Selection  # noqa: E402


async def main() -> None:
    path, counted = Path(sys.argv[1]), Path(sys.argv[2])
    daemon = Daemon(Selection(files=(path,)), cwd=path.parent, environ=os.environ)
    loop = asyncio.get_running_loop()

    def count() -> None:
        with counted.open("a") as file:
            file.write(f"{len(asyncio.all_tasks())}\n")

    loop.add_signal_handler(signal.SIGUSR2, count)
    loop.add_signal_handler(signal.SIGTERM, daemon.shutdown)
    await daemon.run()


if __name__ == "__main__":
    asyncio.run(main())
