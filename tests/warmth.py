"""Interpreters with made-up installed libraries, for the tests of forkservers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loading import write
from supervised import Supervised, job, make_workspace

import envs
from supervisor.locations.environments import Environments
from supervisor.processes.forkserver_pool import ForkserverPool
from supervisor.processes.launcher import LaunchSpec, PreparedEnvironment
from supervisor.specs import EnvironmentSpec, Limits

# What ``method`` says of a process that is forked as it should be.
FORKED = ("forkserver", "")


def scratch_environment(folder: Path, python: str, libraries: Mapping[str, str]) -> Path:
    """A virtualenv of ``python`` that has ``libraries`` (path: text) installed; its executable."""
    if not (folder / "bin" / "python").exists():
        subprocess.run(
            [python, "-m", "venv", "--without-pip", str(folder)],
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
    write(site_packages(folder), dict(libraries))
    return folder / "bin" / "python"


def bad_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fixture's function: the executable of an environment with BAD_LIBRARIES."""
    return scratch_environment(
        tmp_path_factory.mktemp("scratch") / "environment", sys.executable, BAD_LIBRARIES
    )


def site_packages(folder: Path) -> Path:
    """Where that virtualenv's libraries are."""
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def launcher(running: Supervised) -> ForkserverPool:
    """The launcher of a running supervisor."""
    return running.daemon._launcher


def forkservers(running: Supervised) -> list[int]:
    """Process ids of the forkservers that would be used next."""
    servers = launcher(running)._servers.values()
    return [one.pid for one in servers if one.usable and one.pid is not None]


async def method(running: Supervised, name: str) -> tuple[str, str]:
    """How the process of a location was started, and why so."""
    process = (await running.status(name))["process"]
    assert process, running.states()
    return process["start_method"], process["start_method_reason"]


async def methods(running: Supervised, names: Iterable[str]) -> set[tuple[str, str]]:
    """``method`` of several locations."""
    return {await method(running, name) for name in names}


def workspace_of(
    folder: Path,
    scratch: Path,
    files: dict[str, str],
    keys: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """Every ``.py`` file at the top is a location in the scratch environment."""
    names = [name[:-3] for name in files if "/" not in name]
    locations = {
        name: {"executable_path": str(scratch), **(keys or {}).get(name, {})} for name in names
    }
    return make_workspace(folder, files, locations)


def using(library: str, name: str = "one") -> str:
    """A location that imports a library."""
    return f"import {library}\n" + job(name)


def zombies(parent: int) -> list[int]:
    """The children of ``parent`` that nobody has collected."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z" and int(fields[1]) == parent:
                    found.append(int(entry))
    return found


BAD_LIBRARIES = {
    "good_library/__init__.py": "import os\nVALUE = 1\nPID = os.getpid()\n",
    "good_library/part.py": "import os\nVALUE = 2\nPID = os.getpid()\n",
    "thread_library.py": """\
        import threading
        threading.Thread(target=threading.Event().wait, name="ticker", daemon=True).start()
        """,
    "native_library.py": """\
        import ctypes
        libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
        assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
        """,
    "raising_library.py": "raise RuntimeError('no licence')\n",
    "missing_library.py": "import something_else\n",
    "exiting_library.py": "import sys\nsys.exit(3)\n",
    "ending_library.py": "import os\nos._exit(3)\n",
    "crashing_library.py": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "hanging_library.py": "import time\nwhile True:\n    time.sleep(60)\n",
    "holding_library.py": "import signal\nwhile True:\n    signal.pthread_sigmask(2, [15])\n",
    "file_library.py": "file = open(__file__)\n",
    "socket_library.py": "import socket\nends = socket.socketpair()\n",
    "child_library.py": "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n",
    "timer_library.py": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 600)\n",
    "moving_library.py": "import os\nos.chdir('/tmp')\n",
    "thread_user.py": "import thread_library\n",
    "thread_user_user.py": "def load():\n    import thread_user\nload()\n",
    "semaphore_library.py": "import multiprocessing\nlock = multiprocessing.Lock()\n",
    "memory_library.py": "import mmap\nshared = mmap.mmap(-1, 4096)\n",
    "native_handler_library.py": """\
        import ctypes
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(int)
        ctypes.CDLL(None).signal(12, handler)
        """,
    "temporary_library.py": "import tempfile\nfolder = tempfile.TemporaryDirectory()\n",
    "limit_library.py": "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n",
    "path_library.py": "import sys\nfirst = sys.path[0]\n",
    "place_library.py": "import pathlib\nhere = pathlib.Path.cwd()\n",
    "tracing_library.py": "import sys\nsys.setprofile(lambda *event: None)\n",
    "ray.py": "",
    "ray_user.py": "import ray\n",
    "plugin_library.py": "import team_plugin\n",
    "pid_library.py": """\
        import os
        pid = os.getpid()
        def check():
            if os.getpid() != pid:
                os.abort()
        def raises():
            if os.getpid() != pid:
                raise RuntimeError("not after a fork")
        def hangs():
            import threading
            if os.getpid() != pid:
                threading.Event().wait()
        def always():
            raise RuntimeError("always wrong")
        """,
}


async def warm_spec(
    executable: Path, folder: Path, environ: Mapping[str, str] | None = None, **more: Any
) -> LaunchSpec:
    """How to launch a shim of that interpreter, which nobody will answer."""
    environments = Environments(folder / "envs", os.environ)
    spec = EnvironmentSpec(executable_path=str(executable))
    try:
        prepared = await environments.prepare(spec, lambda text: None)
    finally:
        environments.close()
    fields = {"address": f"ipc://{folder}/nobody", "variables": environ or {}, **more}
    return launch_spec(prepared, **fields)


def launch_spec(prepared: PreparedEnvironment, **more: Any) -> LaunchSpec:
    """How to launch a shim that nobody will answer, with some more fields."""
    fields: dict[str, Any] = {
        "name": "risk",
        "instance": "1-abc",
        "address": "ipc:///nowhere",
        "limits": Limits(),
        "output": lambda stream, data: None,
    }
    return LaunchSpec(prepared=prepared, **{**fields, **more})


def found_environment(executable: Path, environ: Mapping[str, str]) -> PreparedEnvironment:
    """An environment without an overlay, whatever is at ``executable``."""
    place = executable.parent
    found = envs.Interpreter(
        executable, executable, (3, 11, 0), "3.11.0", "cpython", "", "", "", place, place, False, ""
    )
    environment = envs.Environment("scratch", "scratch", found, place, managed=False)
    return PreparedEnvironment(environment, None, environ)


def elsewhere(prepared: PreparedEnvironment, executable: Path) -> PreparedEnvironment:
    """``prepared`` with another interpreter, which need not be one."""
    interpreter = replace(prepared.environment.interpreter, executable=executable)
    return replace(prepared, environment=replace(prepared.environment, interpreter=interpreter))
