"""Syncing: real virtualenvs of several interpreters, filled from wheels made on the spot."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from envs_support import (
    interpreter_path,
    make_wheel,
    online_environ,
    private_environ,
    python_says,
    script,
)

from envs import (
    EnvError,
    Environment,
    EnvironmentRequest,
    EnvironmentStore,
    Progress,
    Stage,
    children,
)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "lemon", "1.0")
    make_wheel(folder, "lemon", "2.0")
    make_wheel(folder, "tree", "1.0", requires=("lemon<2",))
    return folder


@pytest.fixture
def environ(tmp_path: Path, wheels: Path) -> dict[str, str]:
    config = tmp_path / "home" / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"no-index = true\nfind-links = [{str(wheels)!r}]\n")
    return private_environ(tmp_path / "home", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))


@pytest.fixture
def store(tmp_path: Path, environ: dict[str, str]) -> EnvironmentStore:
    return EnvironmentStore(tmp_path / "ws" / ".supervise" / "envs", environ)


def request(version: str = "3.11", *requirements: str, **other: object) -> EnvironmentRequest:
    return EnvironmentRequest(
        python=str(interpreter_path(version)),
        requirements=requirements,
        **other,  # type: ignore[arg-type]
    )


def installed(made: Environment) -> dict[str, str]:
    """Without the setuptools that came with an older Python."""
    return {name: version for name, version in made.installed.items() if name != "setuptools"}


LEMON = "import lemon, sys; print(lemon.VERSION, sys.prefix)"


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.11", "3.13"])
def test_a_virtualenv_is_made_and_filled(version: str, store: EnvironmentStore) -> None:
    told: list[Progress] = []
    made = store.sync(request(version, "tree", name="risk"), progress=told.append)
    assert made.created
    assert made.managed
    assert made.name == "risk"
    assert made.label.startswith(f"risk (python {version}.")
    assert made.prefix == store.root / "risk" / made.key
    assert made.interpreter.executable == made.prefix / "bin" / "python"
    assert made.interpreter.is_virtualenv
    assert installed(made) == {"lemon": "1.0", "tree": "1.0"}
    assert python_says(made.interpreter.executable, LEMON) == f"1.0 {made.prefix}"
    assert (store.root / "risk" / "current").resolve() == made.prefix
    stages = [item.stage for item in told]
    assert stages[0] == Stage.INTERPRETER
    assert stages[-1] == Stage.DONE
    assert {Stage.CREATE, Stage.RESOLVE, Stage.INSTALL} <= set(stages)
    assert all(item.environment == "risk" for item in told)


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.11", "3.13"])
def test_pip_does_it_where_uv_is_absent(
    version: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    store = EnvironmentStore(tmp_path / "envs", environ, installer="pip")
    made = store.sync(request(version, "tree", name="risk"))
    assert installed(made) == {"lemon": "1.0", "tree": "1.0"}
    assert python_says(made.interpreter.executable, LEMON) == f"1.0 {made.prefix}"
    with pytest.raises(EnvError) as caught:
        store.sync(request(version, "lemon==9", name="risk"))
    assert caught.value.kind == "resolution"
    assert "lemon==9" in caught.value.detail


def test_a_second_sync_starts_no_process(
    store: EnvironmentStore, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = EnvironmentRequest(name="risk", python="3.11", requirements=("lemon",))
    environ["PATH"] = f"{interpreter_path('3.11').parent}:{environ['PATH']}"
    store = EnvironmentStore(store.root, environ)
    first = store.sync(wanted)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(children.subprocess, "Popen", refuse)
    again = EnvironmentStore(store.root, environ).sync(wanted)
    assert not again.created
    assert (again.key, again.interpreter, again.installed) == (
        first.key,
        first.interpreter,
        first.installed,
    )


def test_anonymous_requests_that_are_equal_share_one(store: EnvironmentStore) -> None:
    one = store.sync(request("3.11", "lemon"))
    two = store.sync(request("3.11", "  lemon "))
    other = store.sync(request("3.11", "lemon<2"))
    assert one.name == f"env-{one.key[:6]}"
    assert one.anonymous
    assert one.prefix == two.prefix
    assert not two.created
    assert other.prefix != one.prefix
    assert installed(other) == {"lemon": "1.0"}


def test_a_change_builds_beside_the_old_one(store: EnvironmentStore) -> None:
    old = store.sync(request("3.11", "lemon<2", name="risk"))
    new = store.sync(request("3.11", "lemon", name="risk"))
    assert old.key != new.key
    assert python_says(old.interpreter.executable, LEMON).startswith("1.0 ")
    assert python_says(new.interpreter.executable, LEMON).startswith("2.0 ")
    assert [(info.key, info.current) for info in store.list()] == [
        (new.key, True),
        (old.key, False),
    ]
    back = store.sync(request("3.11", "lemon<2", name="risk"))
    assert not back.created
    assert (store.root / "risk" / "current").resolve() == old.prefix


def test_a_requirements_file_and_all_that_it_includes_count(
    tmp_path: Path, store: EnvironmentStore
) -> None:
    (tmp_path / "base").mkdir()
    file = tmp_path / "requirements.txt"
    file.write_text("# comment\n-r base/more.txt\n-c base/limits.txt\n")
    (tmp_path / "base" / "more.txt").write_text("lemon  # ours\n")
    (tmp_path / "base" / "limits.txt").write_text("lemon<2\n")
    wanted = request("3.11", name="risk", requirements_file=file)
    assert installed(store.sync(wanted)) == {"lemon": "1.0"}
    (tmp_path / "base" / "limits.txt").write_text("lemon>1\n")
    changed = store.sync(wanted)
    assert changed.created
    assert installed(changed) == {"lemon": "2.0"}
    (tmp_path / "base" / "limits.txt").unlink()
    with pytest.raises(EnvError) as caught:
        store.sync(wanted)
    assert caught.value.kind == "requirements"
    assert f"{tmp_path}/base/limits.txt (included by {file})" in str(caught.value)


def test_an_index_setting_counts_and_is_not_written_down(
    tmp_path: Path, store: EnvironmentStore, environ: dict[str, str], wheels: Path
) -> None:
    secret = "https://user:hunter2@index.invalid/simple"
    first = store.sync(request("3.11", "lemon", name="risk"))
    other = EnvironmentStore(store.root, {**environ, "UV_INDEX": secret})
    second = other.sync(request("3.11", "lemon", name="risk"))
    assert first.key != second.key
    for folder, _, names in os.walk(store.root):
        for name in names:
            if not (Path(folder) / name).is_symlink():
                assert b"hunter2" not in (Path(folder) / name).read_bytes()


def test_a_local_wheel_that_changes_counts(tmp_path: Path, store: EnvironmentStore) -> None:
    wheel = make_wheel(tmp_path / "ws", "plum", "1.0", source="VERSION = 'a'\n")
    wanted = request("3.11", f"./{wheel.name}", name="risk")
    code = "import plum; print(plum.VERSION)"
    assert python_says(store.sync(wanted).interpreter.executable, code) == "a"
    make_wheel(tmp_path / "ws", "plum", "1.0", source="VERSION = 'b'\n")
    changed = store.sync(wanted)
    assert changed.created
    assert python_says(changed.interpreter.executable, code) == "b"


def test_paths_mean_what_they_mean_to_the_team(
    tmp_path: Path, environ: dict[str, str], store: EnvironmentStore
) -> None:
    # In a requirements file: relative to it, where the team runs its installer.
    make_wheel(tmp_path / "ws" / "risk", "plum")
    file = tmp_path / "ws" / "risk" / "requirements.txt"
    file.write_text("./plum-1.0-py3-none-any.whl\n")
    # In the workspace file: relative to the workspace.
    make_wheel(tmp_path / "ws" / "lib", "pear")
    (tmp_path / "ws" / "limits.txt").write_text("lemon<2\n")
    wanted = request(
        "3.11",
        "./lib/pear-1.0-py3-none-any.whl",
        "-c limits.txt",
        "lemon",
        name="risk",
        requirements_file=file,
    )
    assert installed(store.sync(wanted)) == {"lemon": "1.0", "pear": "1.0", "plum": "1.0"}
    (tmp_path / "ws" / "limits.txt").write_text("lemon>1\n")
    assert store.sync(wanted).installed["lemon"] == "2.0"
    make_wheel(tmp_path / "ws" / "risk", "plum", source="VERSION = 'changed'\n")
    assert store.sync(wanted).created


def test_a_failed_resolve_leaves_everything_as_it_was(store: EnvironmentStore) -> None:
    good = store.sync(request("3.7", "lemon", name="risk"))
    before = sorted(os.listdir(store.root / "risk"))
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.7", "lemon==7", name="risk"))
    error = caught.value
    assert error.kind == "resolution"
    version = good.interpreter.version_text
    assert str(error) == f"environment risk (python {version}) cannot be resolved"
    assert "lemon==7" in error.detail
    assert error.hint
    assert sorted(os.listdir(store.root / "risk")) == before
    assert (store.root / "risk" / "current").resolve() == good.prefix
    assert python_says(good.interpreter.executable, LEMON).startswith("2.0 ")


def test_a_failed_first_build_leaves_nothing(store: EnvironmentStore) -> None:
    with pytest.raises(EnvError):
        store.sync(request("3.11", "nothing-of-that-name"))
    assert [name for name in os.listdir(store.root) if not name.startswith(".")] == []
    assert store.list() == ()


def test_an_index_that_cannot_be_reached_is_told_from_a_bad_requirement(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    environ.update(
        UV_NO_CONFIG="1", UV_DEFAULT_INDEX="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0"
    )
    store = EnvironmentStore(tmp_path / "envs", environ)
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", "lemon", name="risk"))
    assert caught.value.kind == "install"
    assert "package index cannot be reached" in str(caught.value)
    assert "127.0.0.1:9" in caught.value.detail


def test_pips_settings_that_uv_ignores_are_pointed_out(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    environ["PIP_INDEX_URL"] = "https://index.invalid/simple"
    with pytest.raises(EnvError) as caught:
        EnvironmentStore(tmp_path / "envs", environ).sync(request("3.11", "orange", name="risk"))
    assert "PIP_INDEX_URL" in (caught.value.hint or "")


@pytest.mark.parametrize("damage", ["missing", "empty", "other", "moved"])
def test_what_is_not_complete_is_built_anew(damage: str, store: EnvironmentStore) -> None:
    wanted = request("3.11", "lemon", name="risk")
    made = store.sync(wanted)
    marker = made.prefix / ".complete"
    data = json.loads(marker.read_text())
    if damage == "missing":
        marker.unlink()
    elif damage == "empty":
        marker.write_text("")
    elif damage == "other":
        marker.write_text(json.dumps({**data, "schema": 0}))
    else:
        data["interpreter"]["prefix"] = "/elsewhere"
        marker.write_text(json.dumps(data))
    (made.prefix / "leftover").write_text("")
    assert [info.complete for info in store.list()] == [False]
    again = store.sync(wanted)
    assert again.created
    assert not (made.prefix / "leftover").exists()
    assert python_says(again.interpreter.executable, LEMON).startswith("2.0 ")


def test_cancelling_ends_the_tools_and_keeps_the_old_one(
    tmp_path: Path,
    store: EnvironmentStore,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = store.sync(request("3.11", "lemon", name="risk"))
    cancel = threading.Event()
    started = threading.Event()

    def watch(item: Progress) -> None:
        if item.stage == Stage.RESOLVE:
            started.set()
            cancel.set()

    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", "lemon<2", name="risk"), progress=watch, cancel=cancel)
    assert started.is_set()
    assert caught.value.kind == "cancelled"
    assert [info.key for info in store.list()] == [good.key]


def test_a_callback_that_fails_ends_the_sync_cleanly(store: EnvironmentStore) -> None:
    def fail(item: Progress) -> None:
        if item.stage == Stage.RESOLVE:
            raise RuntimeError("the face is gone")

    with pytest.raises(RuntimeError, match="the face is gone"):
        store.sync(request("3.11", "lemon", name="risk"), progress=fail)
    assert store.list() == ()


SYNC = """
import os, sys
from pathlib import Path
from envs import EnvironmentStore, EnvironmentRequest
store = EnvironmentStore(Path(sys.argv[1]), os.environ)
made = store.sync(EnvironmentRequest(name="risk", python=sys.argv[2], requirements=tuple(sys.argv[3:])),
                  progress=lambda item: print("progress", item.stage, item.text, flush=True))
print("created" if made.created else "found", made.key, flush=True)
"""


def sync_process(
    store: EnvironmentStore, environ: dict[str, str], *words: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SYNC, str(store.root), str(interpreter_path("3.11")), *words],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_build_it_once(store: EnvironmentStore, environ: dict[str, str]) -> None:
    processes = [sync_process(store, environ, "tree") for _ in range(3)]
    answers = [process.communicate(timeout=60)[0].splitlines()[-1].split() for process in processes]
    assert sorted(word for word, _ in answers) == ["created", "found", "found"]
    assert len({key for _, key in answers}) == 1


def test_many_threads_build_it_once(store: EnvironmentStore) -> None:
    made: list[bool] = []
    wanted = request("3.11", "tree", name="risk")
    threads = [
        threading.Thread(target=lambda: made.append(store.sync(wanted).created)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == [False] * 5 + [True]


def wait_for_death(pipe: int) -> None:
    """Until every process that holds the write end of ``pipe`` is gone; at once where none did."""
    os.set_blocking(pipe, True)
    while os.read(pipe, 4096):
        pass


@pytest.mark.parametrize("stage", ["create", "resolve"])
def test_a_killed_sync_leaves_the_old_one_and_no_process(
    stage: str, tmp_path: Path, store: EnvironmentStore, environ: dict[str, str]
) -> None:
    good = store.sync(request("3.11", "lemon<2", name="risk"))
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    slow_project(tmp_path / "ws" / "slow", fifo)
    words = ["lemon", "./slow"] if stage == "resolve" else ["lemon"]
    with sync_process(store, environ, *words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"progress {stage}"):
                break
        if stage == "resolve":
            # The build backend is running, two processes below the one that is killed.
            assert select.select([reader], [], [], 60)[0]
            assert os.read(reader, 7) == b"started"
        process.kill()
    wait_for_death(reader)
    os.close(reader)
    assert (store.root / "risk" / "current").resolve() == good.prefix
    assert python_says(good.interpreter.executable, LEMON).startswith("1.0 ")
    made = store.sync(request("3.11", "lemon", name="risk"))
    assert python_says(made.interpreter.executable, LEMON).startswith("2.0 ")
    store.collect([made.prefix])
    assert [info.key for info in store.list()] == [made.key]


def slow_project(folder: Path, fifo: Path) -> None:
    """A project whose in-tree build backend says that it has begun, and never ends."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "slow"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(
        "import signal\n"
        f"stream = open({str(fifo)!r}, 'w')\n"
        "stream.write('started')\nstream.flush()\n"
        "signal.pause()\n"
    )


def test_an_interpreter_as_it_is(store: EnvironmentStore, environ: dict[str, str]) -> None:
    path = interpreter_path("3.8")
    found = store.sync(EnvironmentRequest(executable_path=str(path)))
    assert (found.managed, found.created, found.anonymous) == (False, False, True)
    assert found.interpreter.executable == path
    assert found.name == f"python-{found.interpreter.version_text}"
    assert store.list() == ()
    named = EnvironmentStore(store.root, {**environ, "PATH": str(path.parent)})
    by_command = named.sync(EnvironmentRequest(name="old", executable_path="python3.8"))
    assert by_command.name == "old"
    assert by_command.interpreter.executable == path.parent / "python3.8"
    default = store.sync(EnvironmentRequest())
    assert default.interpreter.executable == Path(sys.executable)


def test_a_virtualenv_of_the_teams_own(tmp_path: Path, store: EnvironmentStore) -> None:
    base = interpreter_path("3.8")
    subprocess.run([str(base), "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True)
    by_directory = store.sync(EnvironmentRequest(executable_path=str(tmp_path / "v")))
    by_python = store.sync(EnvironmentRequest(executable_path=str(tmp_path / "v/bin/python")))
    assert by_directory == by_python
    assert by_python.prefix == tmp_path / "v"
    assert by_python.interpreter.executable == tmp_path / "v" / "bin" / "python"
    # Two virtualenvs of one base are two environments.
    assert by_python.key != store.sync(EnvironmentRequest(executable_path=str(base))).key


def test_an_interpreter_that_is_not_there(store: EnvironmentStore) -> None:
    for wanted in (
        EnvironmentRequest(name="risk", python="3.2", requirements=("lemon",)),
        EnvironmentRequest(name="risk", executable_path="/nowhere/bin/python"),
        EnvironmentRequest(name="risk", executable_path="python3.2"),
    ):
        with pytest.raises(EnvError) as caught:
            store.sync(wanted)
        assert caught.value.kind == "interpreter"


@pytest.mark.parametrize("name", ["a/b", "../up", "current", ".hidden", "ünï cödé", "x" * 300])
def test_any_name_has_a_directory_of_its_own(name: str, store: EnvironmentStore) -> None:
    made = store.sync(request("3.11", name=name, project=None))
    assert made.name == name
    assert made.prefix.parent.parent == store.root
    assert store.show(name).key == made.key
    assert [info.name for info in store.remove(name)] == [name]
    assert store.list() == ()


def test_show_and_remove(store: EnvironmentStore) -> None:
    made = store.sync(request("3.11", "lemon", name="risk"))
    info = store.show("risk")
    assert info.complete
    assert info.current
    assert info.python == made.interpreter.version_text
    assert info.requirements == ("lemon",)
    assert info.installed["lemon"] == "2.0"
    assert info.created_at > 0
    assert store.show(made.key[:8]) == info
    assert (store.list(sizes=True)[0].size or 0) > 1000
    with pytest.raises(EnvError) as caught:
        store.show("riks")
    assert caught.value.kind == "unknown"
    assert "risk" in (caught.value.hint or "")
    with pytest.raises(EnvError) as caught:
        store.remove("risk", in_use=[made.prefix])
    assert caught.value.kind == "in_use"
    assert store.remove("risk")[0].key == made.key
    assert not made.prefix.parent.exists()


def test_collect_keeps_what_is_used_and_what_is_current(store: EnvironmentStore) -> None:
    used = store.sync(request("3.11", "lemon==1.0", name="risk"))
    running = store.sync(request("3.11", "lemon>1", name="risk"))
    idle = store.sync(request("3.11", "lemon==2.0", name="risk"))
    current = store.sync(request("3.11", "lemon", name="risk"))
    anonymous = store.sync(request("3.11", "lemon"))
    (store.root / "risk" / ("0" * 32)).mkdir()
    with subprocess.Popen(
        [str(running.interpreter.executable), "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        removed = store.collect([used.prefix])
        assert {info.key for info in removed} == {idle.key, "0" * 32}
        with pytest.raises(EnvError) as caught:
            store.remove(running.key)
        assert str(caught.value) == f"environment risk is in use by process {process.pid}"
        assert process.stdin is not None
        process.stdin.write("\n")
    assert {info.key for info in store.collect()} == {used.key, running.key}
    # Just made, perhaps by another process for a location that is about to start.
    assert {info.key for info in store.list()} == {current.key, anonymous.key}
    marker = anonymous.prefix / ".complete"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "created_at": 1.0}))
    assert store.collect([anonymous.prefix]) == ()
    assert [info.key for info in store.collect()] == [anonymous.key]
    assert not anonymous.prefix.parent.exists()


def test_a_directory_that_cannot_be_written(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "file").write_text("")
    store = EnvironmentStore(tmp_path / "file" / "envs", environ)
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", "lemon"))
    assert caught.value.kind == "storage"
    assert store.list() == ()


def project(folder: Path, body: str, build: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[project]\nname = "grove"\nversion = "1.0"\nrequires-python = ">=3.7"\n{body}\n'
    if build:
        # In the tree and without requirements, so that building needs no index.
        text += '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(text)
    (folder / "grove.py").write_text("VERSION = 'first'\n")
    script(
        folder / "backend.py",
        """
import os, zipfile
def get_requires_for_build_editable(config_settings=None):
    return []
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "grove-1.0-py3-none-any.whl"
    import pathlib, re
    text = pathlib.Path("pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \\[(.*)\\]$", text, re.M)
    needed = "".join("Requires-Dist: %s\\n" % item for item in re.findall(r'"([^"]+)"', listed.group(1) if listed else ""))
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        archive.writestr("grove.pth", os.getcwd() + "\\n")
        archive.writestr("grove-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: grove\\nVersion: 1.0\\n" + needed)
        archive.writestr("grove-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("grove-1.0.dist-info/RECORD", "grove.pth,,\\ngrove-1.0.dist-info/METADATA,,\\ngrove-1.0.dist-info/WHEEL,,\\ngrove-1.0.dist-info/RECORD,,\\n")
    return name
""",
    )
    return folder


GROVE = "import grove; print(grove.VERSION)"


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_project_is_installed_editable(
    installer: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = project(tmp_path / "risk", 'dependencies = ["tree"]')
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    wanted = request("3.11", name="risk", project=folder)
    made = store.sync(wanted)
    assert installed(made) == {"grove": "1.0", "lemon": "1.0", "tree": "1.0"}
    assert python_says(made.interpreter.executable, GROVE) == "first"
    # An edit is there without a sync, and is no reason for one; a dependency is.
    (folder / "grove.py").write_text("VERSION = 'second edition'\n")
    assert not store.sync(wanted).created
    assert python_says(made.interpreter.executable, GROVE) == "second edition"
    project(folder, 'dependencies = ["lemon"]')
    assert installed(store.sync(wanted)) == {"grove": "1.0", "lemon": "2.0"}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_project_that_is_no_package_has_its_dependencies_installed(
    installer: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = project(tmp_path / "risk", 'dependencies = ["lemon<2"]', build=False)
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    made = store.sync(request("3.11", name="risk", project=folder))
    assert installed(made) == {"lemon": "1.0"}


def test_a_lock_is_honoured_and_not_changed(
    tmp_path: Path, environ: dict[str, str], wheels: Path
) -> None:
    folder = project(tmp_path / "risk", 'dependencies = ["lemon<2"]')
    subprocess.run([uv(), "lock", "--quiet", "--project", str(folder)], env=environ, check=True)
    locked = (folder / "uv.lock").read_bytes()
    # What the declaration would allow now is not what was locked.
    make_wheel(wheels, "lemon", "1.5")
    store = EnvironmentStore(tmp_path / "envs", environ)
    made = store.sync(request("3.8", name="risk", project=folder))
    assert installed(made) == {"grove": "1.0", "lemon": "1.0"}
    assert python_says(made.interpreter.executable, GROVE) == "first"
    assert (folder / "uv.lock").read_bytes() == locked
    assert not (folder / ".venv").exists()
    with pytest.raises(EnvError) as caught:
        EnvironmentStore(tmp_path / "pips", environ, installer="pip").sync(
            request("3.8", name="risk", project=folder)
        )
    assert "needs uv" in str(caught.value)


def test_a_member_of_a_uv_workspace_is_pinned_by_the_workspaces_lock(
    tmp_path: Path, environ: dict[str, str], wheels: Path
) -> None:
    root = tmp_path / "repo"
    member = project(root / "teams" / "risk", 'dependencies = ["lemon<2"]')
    (root / "pyproject.toml").write_text(
        '[project]\nname = "repo"\nversion = "1"\nrequires-python = ">=3.7"\n'
        '[tool.uv.workspace]\nmembers = ["teams/*"]\n'
    )
    subprocess.run([uv(), "lock", "--quiet", "--project", str(root)], env=environ, check=True)
    make_wheel(wheels, "lemon", "1.5")
    store = EnvironmentStore(tmp_path / "envs", environ)
    wanted = request("3.11", name="risk", project=member)
    made = store.sync(wanted)
    assert installed(made) == {"grove": "1.0", "lemon": "1.0"}
    subprocess.run([uv(), "lock", "-U", "--quiet", "--project", str(root)], env=environ, check=True)
    assert installed(store.sync(wanted)) == {"grove": "1.0", "lemon": "1.5"}


def uv() -> str:
    from uv import find_uv_bin

    return str(find_uv_bin())


def test_a_directory_that_is_no_project(tmp_path: Path, store: EnvironmentStore) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(EnvError) as caught:
            store.sync(request("3.11", name="risk", project=folder))
        assert caught.value.kind == "requirements"
        assert str(folder) in str(caught.value)
    (tmp_path / "empty" / "pyproject.toml").write_text("[project\n")
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", name="risk", project=tmp_path / "empty"))
    assert "pyproject.toml cannot be read" in str(caught.value)


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.11", "3.12"])
def test_setuptools_is_there_as_packages_of_that_time_expect(
    version: str, store: EnvironmentStore, wheels: Path
) -> None:
    empty = store.sync(request(version, name="empty"))
    assert empty.installed == {}
    made = store.sync(request(version, "lemon", name="risk"))
    assert ("setuptools" in made.installed) == (version != "3.12")
    if version != "3.12":
        code = "import warnings; warnings.simplefilter('ignore'); import pkg_resources; print(1)"
        assert python_says(made.interpreter.executable, code) == "1"
    make_wheel(wheels, "setuptools", "99.0")
    own = store.sync(request(version, "lemon", "setuptools==99.0", name="risk"))
    assert own.installed["setuptools"] == "99.0"


@pytest.mark.slow
def test_from_the_real_index(tmp_path: Path) -> None:
    environ = online_environ(tmp_path / "home")
    store = EnvironmentStore(tmp_path / "envs", environ)
    made = store.sync(request("3.7", "six==1.16.0", name="risk"))
    assert installed(made) == {"six": "1.16.0"}
