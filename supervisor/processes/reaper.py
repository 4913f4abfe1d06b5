"""The reaper: small processes that outlive the supervisor just long enough to clear up after it.

Owns the one thing that no kernel arrangement does: when the supervisor is killed, the lifelines
kill the process groups of shims, but what user code started in groups of its own lives on. The
reaper gets a line for every session that begins and ends (``+PID``, ``-PID``), and when
the pipe closes it kills what is left in those sessions. ``+PID TOKEN`` also has it kill whatever carries
that token in its environment (``supervisor.processes.orphans``). Linux only; elsewhere it is not
started. ``clear`` does the same in the supervisor, for one process.

There are two, so that one that is killed together with the supervisor is not missed.

Run as a script (``python -I -S reaper.py``) it is a reaper itself, so nothing of ours is imported
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
    from collections.abc import Callable, Collection

__all__ = ["Reaper", "carried", "clear"]

_LOOKS = 100
_BETWEEN_LOOKS = 0.02
_LEAST_LIFE = 0.1
# How long one may take to clear up and end (seconds).
PATIENCE = 5.0


class Reaper:
    """The supervisor's side. Started with the first session; two processes, each of which would do:
    one may be killed in the same moment as the supervisor. One that was killed is started again.
    """

    def __init__(self) -> None:
        self._sessions: dict[int, str] = {}
        self._closed = False
        self._keepers = (_Keeper(self._sessions), _Keeper(self._sessions))

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [one.child.pid for one in self._keepers if one.child is not None]

    @property
    def sessions(self) -> Collection[int]:
        """Those that have begun and not ended."""
        return self._sessions.keys()

    def add(self, session: int, token: str = "") -> None:
        """``session`` (the process id of its leader) has begun; ``token`` is that of its tree."""
        self._sessions[session] = token
        self._tell(f"+{session} {token}\n")

    def discard(self, session: int) -> None:
        """Nothing is left of ``session``."""
        self._sessions.pop(session, None)
        self._tell(f"-{session}\n")

    def close(self) -> None:
        """Let them go: they clear up what is left, and end. None is started again."""
        self._closed = True
        for one in self._keepers:
            one.close()

    def _tell(self, line: str) -> None:
        if not self._closed:
            for one in self._keepers:
                one.tell(line)


class _Keeper:
    """One process that knows ``sessions`` with their tokens, the reaper's own."""

    def __init__(self, sessions: dict[int, str]) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self._sessions = sessions
        self._forget: Callable[[], None] = _nothing

    def tell(self, line: str) -> None:
        if not sys.platform.startswith("linux"):
            return
        if self.child is None or self.child.stdin is None:
            self._start()
            return
        try:
            os.write(self.child.stdin.fileno(), line.encode())
        except OSError:  # it was killed, or is stopped and its pipe is full
            self._restart()

    def close(self) -> None:
        child, self.child = self.child, None
        self._forget()
        self._forget = _nothing
        if child is not None and child.stdin is not None:
            import subprocess

            child.stdin.close()
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # it was stopped (SIGSTOP)
                child.kill()
                child.wait()

    def _restart(self) -> None:
        if self.child is not None:
            self.child.kill()
        self.close()
        self._start()

    def _start(self) -> None:
        import subprocess

        try:
            self.child = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            self.child = None  # out of processes: the next session tries again
            return
        assert self.child.stdin is not None
        known = "".join(f"+{session} {token}\n" for session, token in self._sessions.items())
        try:  # noqa: SIM105  # a reaper imports as little as it can
            self.child.stdin.write(known.encode())
        except OSError:  # it was killed already, which will be noticed
            pass
        os.set_blocking(self.child.stdin.fileno(), False)
        self._watch(self.child.pid)

    def _watch(self, pid: int) -> None:
        """Have the event loop, where there is one, start another at once when this one ends."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
            pidfd = os.pidfd_open(pid)
        except (RuntimeError, OSError):
            return  # the next session that begins or ends notices

        # One that cannot live must not be started without end.
        due = loop.time() + _LEAST_LIFE

        def ended() -> None:
            loop.remove_reader(pidfd)
            again = loop.call_at(max(due, loop.time()), self._restart)

            def forget() -> None:
                again.cancel()
                os.close(pidfd)

            self._forget = forget

        def forget() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)

        self._forget = forget
        loop.add_reader(pidfd, ended)


def _nothing() -> None:
    pass


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    sessions: dict[int, str] = {}
    for line in sys.stdin.buffer:
        if line.endswith(b"\n"):
            session, *token = line[1:].decode("ascii", "replace").split()
            if line.startswith(b"+"):
                sessions[int(session)] = token[0] if token else ""
            else:
                sessions.pop(int(session), None)
    if sessions:
        clear(sessions, {token for token in sessions.values() if token})


def clear(sessions: Collection[int], tokens: Collection[str], marks: Collection[int] = ()) -> None:
    """SIGKILL what is in ``sessions``, carries one of ``tokens`` or bears one of ``marks``, until two
    looks in a row find nothing: some may be forking. Blocks meanwhile."""
    quiet = 0
    for _ in range(_LOOKS):
        found = False
        for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib is slow to import
            if name.isdecimal():
                try:
                    pid = int(name)
                    there = (
                        os.getsid(pid) in sessions
                        or (tokens and carried(pid) in tokens)
                        or (marks and _borne(pid) in marks)
                    )
                    if there and not _is_zombie(pid):
                        os.kill(pid, signal.SIGKILL)
                        found = True
                except OSError:
                    continue  # it is gone, or not ours
        quiet = 0 if found else quiet + 1
        if quiet == 2:
            return
        time.sleep(_BETWEEN_LOOKS)


def carried(pid: int) -> str:
    """The token in the environment of ``pid``, "" when there is none; raises OSError."""
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123  # pathlib is slow to import
        variables = b"\0" + file.read()
    token = variables.partition(b"\0SUPERVISE_PROCESS=")[2].partition(b"\0")[0]
    return token.decode("ascii", "replace")


def _borne(pid: int) -> int:
    """The mark of ``pid``, 0 when it has none; raises OSError."""
    with open(f"/proc/{pid}/limits", "rb") as file:  # noqa: PTH123  # pathlib is slow to import
        soft = file.read().partition(b"\nMax realtime timeout")[2].split(None, 1)[0]
    return int(soft) if soft.isdigit() else 0


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # pathlib is slow to import
        return file.read().rpartition(b")")[2].split()[0] == b"Z"


if __name__ == "__main__":
    _main()
