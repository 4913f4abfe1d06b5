"""Syncing: real virtualenvs of several interpreters, filled from wheels made on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from envs_support import (
    LEMON,
    empty_store,
    fruit_environ,
    fruit_wheels,
    installed,
    interpreter_path,
    make_wheel,
    online_environ,
    python_says,
    request,
)

from envs import EnvError, EnvironmentRequest, EnvironmentStore, Progress, Stage, children

wheels = pytest.fixture(fruit_wheels)
environ = pytest.fixture(fruit_environ)
store = pytest.fixture(empty_store)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_local_wheel_that_changes_counts(tmp_path: Path, store: EnvironmentStore) -> None:
    wheel = make_wheel(tmp_path / "ws", "plum", "1.0", source="VERSION = 'a'\n")
    wanted = request("3.11", f"./{wheel.name}", name="risk")
    code = "import plum; print(plum.VERSION)"
    assert python_says(store.sync(wanted).interpreter.executable, code) == "a"
    make_wheel(tmp_path / "ws", "plum", "1.0", source="VERSION = 'b'\n")
    changed = store.sync(wanted)
    assert changed.created
    assert python_says(changed.interpreter.executable, code) == "b"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
