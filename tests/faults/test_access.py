"""Who may look and who may not: directories, sockets, a second user, and secrets (promise 9)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from scene import place, playing
from supervised import make_workspace, poll, supervising

from supervisor.errors import ConfigurationError
from supervisor.runtime_dir import Rendezvous

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

PLAIN = "from runner_shim import job\n\n@job\ndef v1():\n    pass\n"

# What a stranger tries, in a process of his own that has given up being root.
STRANGER = """\
import json, os, socket, sys
directory, user = sys.argv[1], int(sys.argv[2])
os.setgroups([]); os.setgid(user); os.setuid(user)
done = {}
def attempt(name, action):
    try:
        action()
    except OSError as error:
        done[name] = type(error).__name__
    else:
        done[name] = "possible"
def connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
attempt("list", lambda: os.listdir(directory))
for name in ("control.sock", "shims.sock"):
    attempt(name, lambda: connect(os.path.join(directory, name)))
attempt("info", lambda: open(os.path.join(directory, "supervisor.json")).read())
attempt("create", lambda: open(os.path.join(directory, "x"), "w").close())
print(json.dumps(done))
"""


def stranger(directory: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STRANGER, str(directory), str(NOBODY)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd="/",
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@as_root
def test_another_user_reaches_nothing(tmp_path, runtime):
    runtime.chmod(0o755)  # as /run/user or /tmp would let him through to ours
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    with playing(tmp_path, runtime) as scene:
        scene.expect_ready()
        directory = place(scene).runtime_directory
        assert (directory / "control.sock").exists()
        assert set(stranger(directory).values()) == {"PermissionError"}
        # Even of what is not secret by its directory.
        for path in (tmp_path / ".supervise").rglob("*.log"):
            assert path.stat().st_mode & 0o007 == 0 or path.parent.stat().st_mode & 0o007 == 0


@as_root
def test_a_directory_of_somebody_else_is_refused(runtime):
    base = runtime / "workspace-supervisor"
    base.mkdir(mode=0o700)
    os.chown(base, NOBODY, NOBODY)
    meeting = Rendezvous.for_workspace(Path("/srv"), "key", {"XDG_RUNTIME_DIR": str(runtime)})
    with pytest.raises(ConfigurationError, match="is not a directory of yours"):
        meeting.open()
    assert list(base.iterdir()) == []


def test_one_that_was_there_as_a_link_is_refused_one_level_down(runtime, tmp_path):
    meeting = Rendezvous.for_workspace(Path("/srv"), "key", {"XDG_RUNTIME_DIR": str(runtime)})
    meeting.runtime_directory.parent.mkdir(mode=0o700)
    meeting.runtime_directory.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="is not a directory of yours"):
        meeting.open()
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_moment_in_which_it_is_open(runtime):
    """Whatever the umask: another thread looks all the while."""
    meeting = Rendezvous.for_workspace(Path("/srv"), "key", {"XDG_RUNTIME_DIR": str(runtime)})
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for path in (meeting.runtime_directory.parent, meeting.runtime_directory):
                try:
                    seen.add(path.stat().st_mode & 0o777)
                except OSError:
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    before = os.umask(0)
    try:
        for _ in range(200):
            meeting.open()
            meeting.close()
            meeting.runtime_directory.parent.rmdir()
    finally:
        os.umask(before)
        done.set()
        looking.join()
    assert seen == {0o700}, "it was looked at while it was there"


# Secrets.

SECRET = f"hunter2-of-{os.getpid()}"  # nobody else's who runs these tests now
LOOKING = """\
import os, sys
from runner_shim import job
assert os.environ.get("TOKEN") {expected}, "somebody else's"
print("loaded with", len(os.environ), "variables")

@job
def nightly():
    pass
"""
FAILING = """\
import os, json, sqlite3
json.loads(os.environ["TOKEN"])
"""


def everything_below(*folders: Path) -> bytes:
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found.append(path.read_bytes())
    return b"\0".join(found)


def variables_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def who_holds(word: str, but: int) -> list[bytes]:
    """The command lines of all other processes that have ``word`` in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != but:
            try:
                arguments = Path(f"/proc/{entry}/cmdline").read_bytes()
                variables = variables_of(int(entry))
            except OSError:
                continue
            assert word.encode() not in arguments
            if word.encode() in variables:
                found.append(arguments)
    return found


@pytest.mark.parametrize("method", ["auto", "spawn"])
async def test_a_secret_stays_where_it_belongs(tmp_path, runtime, method):
    folder = tmp_path / "workspace"
    workspace = make_workspace(
        folder,
        {
            "a.py": LOOKING.format(expected="is not None"),
            "b.py": LOOKING.format(expected="is None"),
            "c.py": LOOKING.format(expected="== 'another'"),
            "fails.py": FAILING,
        },
        {
            "a": {"env_file": "secret.env"},
            "b": {},
            "c": {"env": {"TOKEN": "another"}},
            "fails": {"env_file": "secret.env"},
        },
        defaults={"start_method": method},
    )
    (folder / "secret.env").write_text(f"TOKEN={SECRET}\n")
    async with supervising(workspace, runtime) as running:
        states = await running.settled()
        assert states == {"a": "ready", "b": "ready", "c": "ready", "fails": "failed"}, [
            await running.status(name) for name in states
        ]

        def only_forkservers() -> bool:
            # That of this very environment has it: its children are that location's.
            return all(b"forkserver" in one for one in who_holds(SECRET, but=running.pid("a")))

        await poll(only_forkservers, "the process of what failed is gone, and nobody has it")
        for name in ("b", "c"):
            assert SECRET.encode() not in variables_of(running.pid(name))
        told = json.dumps(
            [
                [(await running.status(name)) for name in states],
                await running.document(),
                (await running.methods.environments({}))[0],
                [await running.log(name) for name in states],
                await running.failure("fails"),
                [dict(running[name].snapshot.report) for name in ("a", "b", "c")],
            ]
        )
        assert SECRET not in told
        assert "another" not in json.dumps(await running.status("c"))
        assert SECRET.encode() not in everything_below(folder / ".supervise", runtime)
        shown = repr([running[name].spec for name in states])
        assert SECRET not in shown


def test_ps_shows_names_only(tmp_path, runtime):
    with playing(
        tmp_path, runtime, (), texts={"a.py": PLAIN}, keys={"a": {"env": {"TOKEN": SECRET}}}
    ) as scene:
        scene.expect_ready("a")
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                assert SECRET.encode() not in process.read_bytes()
        scene.kill_supervisor(signal.SIGTERM)
        assert SECRET not in (tmp_path / "said").read_text()
