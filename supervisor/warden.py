"""The warden: a small process that outlives the supervisor just long enough to clear up after it.

Owns the one thing that no kernel arrangement does: when the supervisor is killed, the lifelines
kill the process groups of shims, but what user code started in groups of its own lives on. The
warden is told of every session that begins and ends, one line each (``+PID``, ``-PID``), and when
the pipe closes it kills what is left in those sessions. Linux only; elsewhere it is not started.

Run as a script (``python -I -S warden.py``) it is the warden itself, so nothing of ours is imported
here. It holds no lock, opens no file and ends with the supervisor when nothing is left to do.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

__all__ = ["Warden"]

_LOOKS = 100
_BETWEEN_LOOKS = 0.02


class Warden:
    """The supervisor's side. Started with the first session; started again if it was killed."""

    def __init__(self) -> None:
        self._sessions: set[int] = set()
        self._child: subprocess.Popen[bytes] | None = None

    def add(self, session: int) -> None:
        """``session`` (the process id of its leader) has begun."""
        self._sessions.add(session)
        self._tell(f"+{session}\n")

    def discard(self, session: int) -> None:
        """Nothing is left of ``session``."""
        self._sessions.discard(session)
        self._tell(f"-{session}\n")

    def close(self) -> None:
        """Let it go: it clears up what is left, and ends."""
        child, self._child = self._child, None
        if child is not None and child.stdin is not None:
            child.stdin.close()
            child.wait()

    def _tell(self, line: str) -> None:
        if not sys.platform.startswith("linux"):
            return
        if self._child is None or self._child.stdin is None:
            self._start()
            return
        try:
            os.write(self._child.stdin.fileno(), line.encode())
        except OSError:  # it was killed, or is stopped and its pipe is full
            self._child.kill()
            self.close()
            self._start()

    def _start(self) -> None:
        import subprocess

        try:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            self._child = None  # out of processes: the next session tries again
            return
        assert self._child.stdin is not None
        known = "".join(f"+{session}\n" for session in sorted(self._sessions))
        self._child.stdin.write(known.encode())
        os.set_blocking(self._child.stdin.fileno(), False)


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin.buffer:
        if line.endswith(b"\n"):
            session = int(line[1:])
            if line.startswith(b"+"):
                sessions.add(session)
            else:
                sessions.discard(session)
    if sessions:
        _clear(sessions)


def _clear(sessions: set[int]) -> None:
    """Kill what is in ``sessions`` until two looks in a row find nothing: some may be forking."""
    quiet = 0
    for _ in range(_LOOKS):
        found = False
        for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib is slow to import
            if name.isdecimal():
                try:
                    pid = int(name)
                    if os.getsid(pid) in sessions and not _is_zombie(pid):
                        os.kill(pid, signal.SIGKILL)
                        found = True
                except OSError:
                    continue  # it is gone, or not ours
        quiet = 0 if found else quiet + 1
        if quiet == 2:
            return
        time.sleep(_BETWEEN_LOOKS)


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # pathlib is slow to import
        return file.read().rpartition(b")")[2].split()[0] == b"Z"


if __name__ == "__main__":
    _main()
