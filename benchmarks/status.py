"""How long ``supervise status`` takes, against importing what any client of a socket must import."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.ready import LOCATIONS, SMALL
from benchmarks.results import Result
from benchmarks.setting import BARE_IMPORTS, Alternating, Setting, UnavailableError, all_ready

__all__ = ["measure"]

AIM = 3.0
# One call takes a tenth of a second: many of them cost less than their noise.
_CALLS = 4


def measure(setting: Setting, rounds: int) -> list[Result]:
    """``supervise status`` of twenty locations from another process, wall time."""
    names = [f"location_{number:02}" for number in range(LOCATIONS)]
    modules = dict.fromkeys(names, SMALL)
    workspace = setting.workspace("status", setting.interpreter(), modules, "auto")
    with setting.supervised(workspace) as (client, _started):
        all_ready(client)

        def run(command: list[str]) -> tuple[float]:
            started = time.perf_counter()
            done = subprocess.run(
                command,
                env=setting.environ,
                cwd=workspace.parent,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                raise UnavailableError(f"{command}: {done.stderr.decode(errors='replace')}")
            return (time.perf_counter() - started,)

        ours, bare = Alternating(rounds * _CALLS).run(
            lambda: run([str(setting.supervise), "status", "-w", str(workspace)]),
            lambda: run([sys.executable, "-c", BARE_IMPORTS]),
        )
    what = f"`supervise status` of {LOCATIONS} locations"
    against = f'`python -c "{BARE_IMPORTS}"`'
    return [
        Result(
            "status", what, against, "s", [one for (one,) in ours], [one for (one,) in bare], AIM
        )
    ]
