"""Real Dagster releases, each installed once per test session on the interpreter it was made for."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"


class Release(NamedTuple):
    """A Dagster release: its interpreter's version, and what has to be installed with it."""

    python: str
    requirements: tuple[str, ...]


_OLD_PINS = ("sqlalchemy<2", "pendulum<3", "protobuf<4", "setuptools<80")

RELEASES = {
    "0.9.22-py3.7": Release(
        "3.7", ("dagster==0.9.22", "protobuf<3.21", "sqlalchemy<2", "setuptools<68")
    ),
    "0.15.8-py3.8": Release("3.8", ("dagster==0.15.8", *_OLD_PINS)),
    "1.1.7-py3.10": Release("3.10", ("dagster==1.1.7", *_OLD_PINS)),
    "current-py3.13": Release("3.13", ("dagster",)),
}
# Where running differs from the releases before and after; definitions do not.
BETWEEN = {"1.5.14-py3.11": Release("3.11", ("dagster==1.5.14", *_OLD_PINS))}
# A release more whose server Dagster's current client uses.
SERVED = {"1.8.13-py3.9": Release("3.9", ("dagster==1.8.13",))}
# Of Dagster's own page.
PAGES = {
    "webserver-py3.13": Release("3.13", ("dagster", "dagster-webserver")),
    "webserver-1.12.2-py3.13": Release("3.13", ("dagster==1.12.2", "dagster-webserver==1.12.2")),
}


def find_interpreter(version: str) -> Path | None:
    """A CPython of ``version`` on PATH or among pyenv's, or None."""
    candidates = []
    on_path = shutil.which(f"python{version}")
    if on_path:
        candidates.append(Path(on_path))
    versions = Path.home() / ".pyenv" / "versions"
    candidates += sorted(versions.glob(f"{version}.*/bin/python"))
    for candidate in candidates:
        # A pyenv shim is on PATH also when its version is not selected, and then refuses to run.
        done = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds ``path`` against the other workers of the session."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def find_uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    assert found, "uv is a dependency of the project"
    return found


def install(release: Release, interpreter: Path, directory: Path) -> None:
    uv = find_uv()
    environ = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    for command in (
        [uv, "venv", "--quiet", "--python", interpreter, directory],
        [uv, "pip", "install", "--quiet", "--python", directory / "bin" / "python"]
        + list(release.requirements),
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def dagster_environment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """``dagster_environment(name)``: the python of an environment with that Dagster release.

    ``name`` is a key of RELEASES, BETWEEN, SERVED or PAGES. Made on the first call of a session, shared by
    its workers; the test is skipped where the interpreter is not on this machine.
    """
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    root = shared / "dagster-environments"
    root.mkdir(exist_ok=True)
    made: dict[str, Path] = {}

    def environment(name: str) -> Path:
        if name in made:
            return made[name]
        release = {**RELEASES, **BETWEEN, **SERVED, **PAGES}[name]
        interpreter = find_interpreter(release.python)
        if interpreter is None:
            pytest.skip(f"no CPython {release.python} on this machine")
        directory = root / name
        done = root / f"{name}.done"
        with locked(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(directory, ignore_errors=True)
                install(release, interpreter, directory)
                done.touch()
        made[name] = directory / "bin" / "python"
        return made[name]

    return environment


def run(python: Path, *arguments: str, hash_seed: str = "0") -> Any:
    """What a program prints as JSON, run by ``python`` as it would be for a team."""
    environ = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "VIRTUAL_ENV", "DAGSTER"))
    }
    environ["PYTHONHASHSEED"] = hash_seed
    done = subprocess.run(
        [python, *arguments],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        cwd=Path(python).parent,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def load_target() -> Callable[..., Any]:
    """``load_target(python, file, attribute=…, describe=…)``: what a shim would send, as data."""

    def load(
        python: Path,
        file: Path,
        attribute: str | None = None,
        describe: list[list[str]] | None = None,
        kind: str = "python_file",
        name: str | None = None,
        hash_seed: str = "0",
    ) -> Any:
        target = {
            "kind": kind,
            "name": name or str(file),
            "attribute": attribute,
            "working_directory": str(file.parent if file.suffix else file),
            "describe": describe or [],
        }
        program = str(PROGRAMS / "load_target.py")
        return run(python, program, str(ROOT), json.dumps(target), hash_seed=hash_seed)

    return load


@pytest.fixture
def listed_by_dagster() -> Callable[[Path, Path], dict[str, list[str]]]:
    """``listed_by_dagster(python, file)``: {kind: names} as Dagster's own server would say."""

    def listed(python: Path, file: Path) -> dict[str, list[str]]:
        return run(python, str(PROGRAMS / "dagster_driver.py"), str(file))

    return listed
