"""What a team's module does to its own process changes nothing of the monitors that are forked from it."""

from __future__ import annotations

import os
import stat
import textwrap
from pathlib import Path

import pytest
from loading import interpreter
from monitored import ended, gone, loaded, one_op, started, written
from supervised import poll_now

PYTHONS = [
    pytest.param(
        interpreter(version),
        id=version,
        marks=[] if interpreter(version) else [pytest.mark.skip(f"no python {version} here")],
    )
    for version in ("3.6", "3.13")
]

BODY = """
    print("running", flush=True)
    import time
    time.sleep(1000)
    """

# What is done while the module is imported. The run itself goes on under all of these.
BEARABLE = {
    "import": """
        import builtins
        imports = builtins.__import__
        def mine(name, *rest, **more):
            if os.getpid() not in here:
                open(os.path.join(folder, "imported"), "a").write("%d\\n" % os.getpid())
            return imports(name, *rest, **more)
        here, folder = [os.getpid()], os.getcwd()
        builtins.__import__ = mine
        """,
    "hooks": """
        import threading
        sys.excepthook = sys.unraisablehook = refuse
        threading.excepthook = refuse
        threading.settrace(refuse)
        threading.setprofile(refuse)
        """,
    "wakeup": """
        import socket
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        signal.set_wakeup_fd(ours.fileno())
        signal.signal(signal.SIGTERM, lambda *_: None)
        """,
    "gevent": """
        import select, selectors, socket, ssl, threading, queue, subprocess, _thread
        socket.socket = socket.socketpair = select.select = select.poll = select.epoll = refuse
        selectors.DefaultSelector = threading.Thread = queue.Queue = subprocess.Popen = refuse
        os.waitpid = os.wait = os.fork = os.read = os.write = os.pipe = os.posix_spawn = refuse
        time.sleep = lambda seconds, real=time.sleep: real(seconds)
        """,
    "cwd": """
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        """,
    "umask": "os.umask(0o777)",
    "open umask": "os.umask(0)",
    "descriptors": """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (15, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        """,
    "file size": """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        """,
    "variables": """
        for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"):
            os.environ[name] = "/nonexistent"
        os.environ["PYTHONINSPECT"] = os.environ["PYTHONVERBOSE"] = "1"
        """,
    "signals": """
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError, RuntimeError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 32)))
        """,
    "streams": """
        sys.stdout.flush()
        sys.stdin = sys.stderr = None
        os.close(2)
        """,
}
# What is done once it is imported. Nothing of the run can work then; it has its end all the same.
UNBEARABLE = {
    "exit": "os._exit = sys.exit = os.kill = refuse",
    "modules": """
        for name in list(sys.modules):
            if name not in ("builtins", "sys", "__main__", __name__):
                del sys.modules[name]
        """,
    "builtins": """
        import builtins
        for name in ("__import__", "open", "print", "getattr", "hasattr", "super", "repr"):
            setattr(builtins, name, refuse)
        """,
    "path": "sys.path[:] = []; sys.meta_path[:] = []; sys.path_hooks[:] = []",
}
REFUSE = "def refuse(*_, **__):\n    raise RuntimeError('replaced')\n"
LATER = """
class Output(object):
    def __init__(self, stream):
        self.stream = stream
    def write(self, text):
        self.stream.write(text)
    def flush(self):
        self.stream.flush()
        act()
sys.stdout = Output(sys.stdout)
def act():
"""


def module(head: str) -> str:
    return one_op(BODY, REFUSE + textwrap.dedent(head))


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("how", BEARABLE)
def test_a_run_is_watched_and_cancelled_whatever_its_module_did(tmp_path, how, python):
    with loaded(tmp_path, module(BEARABLE[how]), python) as team:
        journal = team.launch()
        pid, run = started(journal)
        variables = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"/nonexistent" not in variables
        assert b"PYTHON" not in variables
        assert os.readlink(f"/proc/{pid}/exe") != os.readlink(f"/proc/{run}/exe")
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in journal.path.iterdir()
            if path.is_file() and path.name != "steps"  # the run's own
        }
        assert set(modes.values()) == {0o600}, modes
        journal.ask("the test", "now")
        assert ended(journal)["state"] == "cancelled"
        assert journal.trouble() == ""
        gone(pid, run)
        imported = tmp_path / "imported"
        assert not imported.exists() or str(pid) not in imported.read_text().split()


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("how", UNBEARABLE)
def test_a_run_has_its_end_whatever_its_module_did(tmp_path, how, python):
    with loaded(
        tmp_path, module(LATER + textwrap.indent(textwrap.dedent(UNBEARABLE[how]), "    ")), python
    ) as team:
        journal = team.launch()
        poll_now(lambda: journal.final() or "running" in written(journal), "a word of the run")
        journal.ask("the test", "now")
        assert ended(journal)["state"] in ("cancelled", "failure")
        assert journal.trouble() == ""
        poll_now(lambda: team.survivors() == [], "nothing is left")
