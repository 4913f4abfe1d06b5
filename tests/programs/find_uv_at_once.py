"""Looks for uv in four threads that begin at once, in an interpreter that has asked sysconfig nothing yet."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from envs.installers import find_installer

_THREADS = 4


def main() -> None:
    sys.setswitchinterval(1e-6)  # each thread gets its turn in the middle of the others' work
    together = threading.Barrier(_THREADS)

    def look(_: int) -> str:
        together.wait()
        return type(find_installer(os.environ, SimpleNamespace(version=(3, 11, 0)))).__name__

    with ThreadPoolExecutor(_THREADS) as pool:
        print(*sorted(set(pool.map(look, range(_THREADS)))))


main()
