"""The lock of an environment that is made from requirements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from envs_support import (
    empty_store,
    fruit_environ,
    fruit_wheels,
    installed,
    interpreter_path,
    make_wheel,
    request,
)

from envs import EnvError, EnvironmentRequest, EnvironmentStore
from envs.locking import python_of_lock

wheels = pytest.fixture(fruit_wheels)
environ = pytest.fixture(fruit_environ)
store = pytest.fixture(empty_store)


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_two_machines_get_the_same(
    installer: str, tmp_path: Path, environ: dict[str, str], wheels: Path, store: EnvironmentStore
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("lemon<2\n")
    lock = tmp_path / "locks" / "risk.txt"
    wanted = request("3.9", "tree", name="risk", requirements_file=more)
    assert store.lock(wanted, lock)
    assert python_of_lock(lock) == "3.9"
    text = lock.read_text()
    assert "lemon==1.0 \\\n    --hash=sha256:" in text
    assert str(tmp_path) not in text
    assert not store.lock(wanted, lock)
    make_wheel(wheels, "lemon", "1.5")
    locked = replace(wanted, lock=lock)
    other = EnvironmentStore(tmp_path / "other" / "envs", environ, installer=installer)  # type: ignore[arg-type]
    made = other.sync(locked)
    assert installed(made) == {"lemon": "1.0", "tree": "1.0"}
    assert made.pinned == f"versions of {lock}"
    # A new resolution is asked for by hand, and is another environment.
    assert store.lock(locked, lock)
    assert installed(other.sync(locked)) == {"lemon": "1.5", "tree": "1.0"}


def test_a_lock_of_other_requirements_is_refused(tmp_path: Path, store: EnvironmentStore) -> None:
    lock = tmp_path / "risk.txt"
    store.lock(request("3.11", "tree", name="risk"), lock)
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", "lemon", name="risk", lock=lock))
    assert f"{lock} was written for other requirements" in caught.value.message
    assert "run `supervise env lock risk`" in str(caught.value.hint)
    assert store.list() == ()


def test_a_lock_chooses_the_python(tmp_path: Path, environ: dict[str, str]) -> None:
    places = [interpreter_path("3.8").parent]
    store = EnvironmentStore(tmp_path / "w" / ".supervise" / "envs", environ, search_dirs=places)
    lock = tmp_path / "risk.txt"
    store.lock(request("3.8", "tree", name="risk"), lock)
    wanted = EnvironmentRequest(name="risk", requirements=("tree",), lock=lock)
    assert store.sync(wanted).interpreter.version[:2] == (3, 8)


def test_paths_are_of_the_workspace_and_not_of_the_machine(
    tmp_path: Path, wheels: Path, store: EnvironmentStore
) -> None:
    wheel = make_wheel(tmp_path / "ws" / "own", "pear")
    lock = tmp_path / "ws" / "risk.txt"
    wanted = request("3.11", f"./own/{wheel.name}", name="risk", lock=lock)
    store.lock(wanted, lock)
    assert str(tmp_path) not in lock.read_text()
    assert installed(store.sync(wanted)) == {"pear": "1.0"}


def test_what_cannot_be_resolved_leaves_the_lock(tmp_path: Path, store: EnvironmentStore) -> None:
    lock = tmp_path / "risk.txt"
    store.lock(request("3.11", "tree", name="risk"), lock)
    before = lock.read_text()
    with pytest.raises(EnvError) as caught:
        store.lock(request("3.11", "tree", "lemon>1", name="risk"), lock)
    assert caught.value.kind == "resolution"
    assert lock.read_text() == before
