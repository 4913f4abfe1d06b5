"""What an idle shim holds in memory beyond the same bare process.

USS (unique set size: pages no other process shares) of ready shims, minus that of ``python -c
"import zmq, msgpack, MODULE"`` kept alive after its imports. Several of both are alive at the same
time, so that pages of shared libraries count for neither.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

import psutil

from benchmarks.ready import SMALL
from benchmarks.results import Result
from benchmarks.setting import (
    BARE_IMPORTS,
    Bare,
    NoInterpreterError,
    Setting,
    UnavailableError,
    all_ready,
)

__all__ = ["measure"]

AIM = 3.0
VERSIONS = ("3.8", "3.11", "3.13")
_MIB = 1024 * 1024


def measure(setting: Setting, rounds: int) -> list[Result]:
    """One result for each version that is there; ``rounds`` processes of each kind."""
    results = []
    for version in VERSIONS:
        with contextlib.suppress(NoInterpreterError):
            results.append(_measure(setting, version, max(rounds, 3)))
    if not results:
        raise UnavailableError(f"none of Python {', '.join(VERSIONS)} is on this machine")
    return results


def _measure(setting: Setting, version: str, count: int) -> Result:
    interpreter = setting.interpreter(version)
    names = [f"location_{number:02}" for number in range(count)]
    folder = f"memory-{version}"
    workspace = setting.workspace(folder, interpreter, dict.fromkeys(names, SMALL), "spawn")
    bare = setting.bare(interpreter, workspace.parent)
    # The first run writes the bytecode that the second one finds: compiling costs memory.
    for _ in range(2):
        with setting.supervised(workspace) as (client, _started), _kept_alive(bare, names) as pids:
            all_ready(client)
            locations = client.status()["locations"]
            ours = _uss([one["process"]["pid"] for one in locations if one["process"]])
            theirs = _uss(pids)
    return Result(
        f"memory, {version}",
        "USS of an idle, ready shim",
        f"the same bare process, alive after its imports, Python {interpreter.version_text}",
        "MiB",
        ours,
        theirs,
        AIM,
    )


@contextlib.contextmanager
def _kept_alive(bare: Bare, names: Sequence[str]) -> Iterator[list[int]]:
    """A bare process for each module, its imports done."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        for name in names:
            code = f"{BARE_IMPORTS}, {name}; print(flush=True); input()"
            children.append(bare.start(code, talking=True))
        for child in children:
            assert child.stdout is not None
            if not child.stdout.readline():
                raise UnavailableError("a bare process failed")
        yield [child.pid for child in children]
    finally:
        for child in children:
            child.communicate(b"\n")


def _uss(pids: Sequence[int]) -> list[float]:
    return [psutil.Process(pid).memory_full_info().uss / _MIB for pid in pids]
