"""How long an answer about one location takes while another one, or many, keep the supervisor busy.

A client in a process of its own asks about a small location again and again; the longest answer counts.
Meanwhile nothing happens, or what happens on an ordinary day: a long log is read, a location of very many
files is loaded again, many locations that share their modules are, a directory is made among them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import envs
from benchmarks.limit import TRIVIAL
from benchmarks.results import Result
from benchmarks.setting import Setting, UnavailableError, all_ready
from supervisor import Client

__all__ = ["measure"]

AIM = 0.030  # seconds over idle
_LINES = 100_000
_FILES = 2_000
_SHARING, _SHARED = 60, 600
_IDLE = 1.0  # seconds

_NOISY = f"""\
import sys
sys.stdout.write("".join("line %05d\\n" % n for n in range({_LINES})))
sys.stdout.flush()
"""

# Asks from one line on standard input to the next, then says how long the longest answer took.
_ASKER = """\
import select, sys, time
from supervisor import Client
with Client(sys.argv[1], timeout=120) as client:
    print("ready", flush=True)
    while sys.stdin.readline():
        worst = 0.0
        while not select.select([sys.stdin], [], [], 0.001)[0]:
            begun = time.perf_counter()
            client.wait("small", timeout=0)
            worst = max(worst, time.perf_counter() - begun)
        sys.stdin.readline()
        print(worst, flush=True)
"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Each situation against idleness in the same round."""
    workspace = _workspace(setting, setting.interpreter())
    folder = workspace.parent
    sharing = [f"sharing_{number:02}" for number in range(_SHARING)]
    with setting.supervised(workspace) as (client, _started), _Asker(setting, workspace) as asker:
        all_ready(client)
        if len(client.logs("noisy", lines=_LINES)["lines"]) < _LINES:
            raise UnavailableError("the log of 'noisy' has fewer lines than were printed")
        made = iter(range(1_000_000))

        def nothing() -> None:
            time.sleep(_IDLE)

        def logs() -> None:
            client.logs("noisy", lines=_LINES)

        def directory() -> None:
            (folder / f"made_{next(made)}").mkdir()
            time.sleep(_IDLE)

        situations: dict[str, tuple[str, Callable[[], None]]] = {
            "logs": (f"a log of {_LINES:,} lines is read", logs),
            "files": (
                f"a location of {_FILES:,} own files is loaded again",
                lambda: _reload(client, ["big"]),
            ),
            "sharing": (
                f"{_SHARING} locations that share {_SHARED} modules are loaded again",
                lambda: _reload(client, sharing),
            ),
            "directory": ("a directory is made beside those of all locations", directory),
        }
        idle: list[float] = []
        worst: dict[str, list[float]] = {name: [] for name in situations}
        for number in range(rounds + 1):
            samples = {"idle": asker.during(nothing)}
            for name, (_what, work) in situations.items():
                samples[name] = asker.during(work)
            if number:  # the first only warms caches
                idle.append(samples["idle"])
                for name, values in worst.items():
                    values.append(samples[name])
    what = "longest answer about another location while"
    return [
        Result(
            f"loop, {name}",
            f"{what} {situations[name][0]}",
            "the same, while nothing happens",
            "s",
            values,
            idle,
            AIM,
            "difference",
        )
        for name, values in worst.items()
    ]


class _Asker:
    """The process that asks."""

    def __init__(self, setting: Setting, workspace: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ASKER, str(workspace)],
            env=setting.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Asker:
        if self._say("") != "ready\n":
            raise UnavailableError("the client that asks did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def during(self, work: Callable[[], None]) -> float:
        """The longest answer in seconds, from shortly before ``work()`` until shortly after."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        time.sleep(0.1)
        work()
        time.sleep(0.1)
        return float(self._say("\n"))

    def _say(self, text: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()
        return self._process.stdout.readline()


def _reload(client: Client, names: list[str]) -> None:
    client.reload(*names)
    all_ready(client)


def _workspace(setting: Setting, interpreter: envs.Interpreter) -> Path:
    imports = "\n".join(f"import many.module_{number}" for number in range(_FILES))
    shared = "\n".join(f"import shared.module_{number}" for number in range(_SHARED))
    names = [f"sharing_{number:02}" for number in range(_SHARING)]
    modules = {
        "small": TRIVIAL,
        "noisy": f"{_NOISY}\n{TRIVIAL}",
        "big": f"{imports}\n{TRIVIAL}",
        **dict.fromkeys(names, f"{shared}\n{TRIVIAL}"),
    }
    workspace = setting.workspace("loop", interpreter, modules, "auto")
    for package, count in (("many", _FILES), ("shared", _SHARED)):
        (workspace.parent / package).mkdir()
        (workspace.parent / package / "__init__.py").touch()
        for number in range(count):
            path = workspace.parent / package / f"module_{number}.py"
            path.write_text(
                "VALUE = 1\n" + "# an ordinary line of a module of ordinary size\n" * 200
            )
    return workspace
