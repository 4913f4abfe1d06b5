"""What user code can tell of the shim it runs in: as good as nothing, in old Pythons and new ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from loading import interpreter
from lying import lying_supervisor
from places import PROGRAMS, ROOT
from supervised import environ, job, make_workspace, supervising

from runner_shim import wire
from supervisor.errors import RequestError

VERSIONS = [one for one in ("3.6", "3.8", "3.11", "3.13") if interpreter(one)]
METHODS = ("spawn", "forkserver")
LOOK_AROUND = PROGRAMS / "look_around.py"

LOCATION = """\
    import json
    import look_around
    from runner_shim import job

    with open(__file__[:-3] + ".json", "w") as file:
        json.dump(look_around.look(), file)

    @job
    def nightly():
        pass
    """


def bare(python: str, folder: Path, variables: dict[str, str]) -> dict[str, Any]:
    """The same, seen by a bare ``python look_around.py``."""
    done = subprocess.run(
        [python, str(folder / "look_around.py")],
        env=variables,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
async def test_user_code_sees_what_it_would_see_in_a_bare_python(tmp_path, runtime):
    assert VERSIONS, "no interpreter at all"
    names = {
        f"l{version.replace('.', '_')}_{method}": (version, method)
        for version in VERSIONS
        for method in METHODS
    }
    files = {f"{name}.py": LOCATION for name in names}
    files["look_around.py"] = LOOK_AROUND.read_text()
    locations = {
        name: {"executable_path": interpreter(version), "start_method": method}
        for name, (version, method) in names.items()
    }
    workspace = make_workspace(tmp_path, files, locations)
    async with supervising(workspace, runtime) as running:
        states = await running.settled()
        assert set(states.values()) == {"ready"}, running.states()
        overlays = {
            name: str(running[name].serving.phase.launch.prepared.overlay) for name in names
        }
    given = environ(runtime)
    for name, (version, method) in names.items():
        seen = json.loads((tmp_path / f"{name}.json").read_text())
        # Where the team has the two installed, theirs is what they get.
        expected = bare(str(interpreter(version)), tmp_path, seen["environ"])
        where = f"{version}, {method}"
        assert overlays[name] not in json.dumps(seen), where
        assert "runner_shim" not in json.dumps([seen["path"], seen["environ"]])
        assert seen["path"] == expected["path"], where
        assert seen["argv"] == [str(tmp_path / f"{name}.py")], where
        assert seen["cwd"] == str(tmp_path), where
        assert seen["main_file"] is None, where
        assert set(seen["main"]) <= set(expected["main"]), where
        for same in (
            *("zmq", "msgpack", "threads", "frames", "mask", "meta_path", "filters", "hooks"),
            *("profile", "recursion", "locale", "streams", "stdin", "flags"),
        ):
            assert seen[same] == expected[same], f"{same} in {where}"
        assert seen["gc"] == expected["gc"], where
        signals = {
            number
            for number in seen["signals"]
            if seen["signals"][number] != expected["signals"][number]
        }
        assert signals == set(), where
        # A child of theirs inherits the three standard streams and nothing of ours; 3 is its look.
        assert set(seen["inherited"]) <= {"0", "1", "2", "3"}, where
        changed = {
            key
            for key in seen["environ"].keys() | given.keys()
            if seen["environ"].get(key) != given.get(key)
        }
        assert changed <= {
            "DAGSTER_IS_DEV_CLI",
            "PATH",
            "PYTHONUNBUFFERED",
            "SUPERVISE_PROCESS",
            "VIRTUAL_ENV",
            "VIRTUAL_ENV_PROMPT",
            "LC_CTYPE",
        }


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_modules_of_theirs_with_our_names_are_theirs(tmp_path, runtime, version, method):
    text = """\
        import msgpack, zmq
        from runner_shim import job, repository

        assert msgpack.MINE and zmq.MINE

        def lazy():
            import msgpack, zmq
            assert msgpack.MINE and zmq.MINE

            @job(description="%s" % zmq.MINE)
            def lazy():
                pass
            return lazy

        @repository
        def things():
            return {"jobs": {"lazy": lazy}}
        """
    files = {"a.py": text, "zmq.py": "MINE = 'mine'\n", "msgpack.py": "MINE = 'mine'\n"}
    keys = {"executable_path": interpreter(version), "start_method": method}
    workspace = make_workspace(tmp_path, files, {"a": keys})
    async with supervising(workspace, runtime) as running:
        await running.settled()
        assert running["a"].state == "ready", running.states()
        for _ in range(2):
            shown, _ = await running.methods.show({"location": "a", "name": "lazy"})
            assert shown["definition"]["description"] == "mine"


async def test_neither_is_to_be_had_later_either(tmp_path, runtime):
    version = next((one for one in VERSIONS if not _has_zmq(one)), None)
    if version is None:
        pytest.skip("every interpreter here has pyzmq")
    text = """\
        from runner_shim import repository

        def lazy():
            import zmq

        @repository
        def things():
            return {"jobs": {"lazy": lazy}}
        """
    keys = {"executable_path": interpreter(version)}
    workspace = make_workspace(tmp_path, {"a.py": text}, {"a": keys})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        with pytest.raises(RequestError, match="zmq"):
            await running.methods.show({"location": "a", "name": "lazy"})
        assert running["a"].state == "ready"


def _has_zmq(version: str) -> bool:
    command = [str(interpreter(version)), "-c", "import zmq"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_requests_are_answered_one_at_a_time_and_unknown_ones_refused(tmp_path, runtime):
    (tmp_path / "a.py").write_text(job("one"))
    target = {
        "kind": "python_file",
        "name": str(tmp_path / "a.py"),
        "attribute": None,
        "working_directory": str(tmp_path),
    }
    with lying_supervisor(runtime) as supervisor:
        for number, kind in enumerate(("load", "ping", "dance", "load", "ping")):
            supervisor.send(wire.encode({"type": kind, "request": number, "target": target}))
        answers = [supervisor.receive()[0] for _ in range(5)]
        assert [one["type"] for one in answers] == ["loaded", "pong", "failed", "failed", "pong"]
        assert [one["request"] for one in answers] == [0, 1, 2, 3, 4]
        assert answers[2]["failure"]["message"] == "no request is named 'dance'"
        assert "has loaded its target already" in answers[3]["failure"]["message"]


@pytest.mark.parametrize(
    ("start", "status", "said"),
    [
        (b"", 1, b""),
        (b"not json\n", 64, b"the start message cannot be understood"),
        (b'{"v": 1}\n', 64, b"the start message cannot be understood"),
        (
            b'{"v": 1, "address": "ipc:///x", "instance": "i", "overlay": "/nowhere"}\n',
            69,
            b"pyzmq and msgpack cannot be imported from /nowhere",
        ),
    ],
)
def test_a_start_that_cannot_be_is_refused_with_a_reason(start, status, said):
    boot = ROOT / "runner_shim" / "boot.py"
    version = next((one for one in VERSIONS if not _has_zmq(one)), None)
    if version is None:
        pytest.skip("every interpreter here has pyzmq")
    with subprocess.Popen(
        [str(interpreter(version)), str(boot), "name"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(start)
        process.stdin.flush()
        if not start:
            process.stdin.close()
        assert process.wait(30) == status
        assert process.stderr is not None
        assert said in process.stderr.read()
