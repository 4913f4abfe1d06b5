"""The variables that a shim sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from envs_support import interpreter_path

import envs
from envs import Interpreter, activate, probe


@pytest.fixture
def base(environ: dict[str, str]) -> Interpreter:
    return probe(interpreter_path("3.8"), environ=environ)


@pytest.fixture
def virtual(tmp_path: Path, base: Interpreter, environ: dict[str, str]) -> Interpreter:
    folder = tmp_path / "v"
    subprocess.run([str(base.executable), "-m", "venv", "--without-pip", str(folder)], check=True)
    return probe(folder, environ=environ)


def test_a_virtualenv_is_active(virtual: Interpreter, environ: dict[str, str]) -> None:
    seen = activate(virtual, environ)
    assert seen["VIRTUAL_ENV"] == str(virtual.prefix)
    assert seen["PATH"] == f"{virtual.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    assert seen["PYTHONUNBUFFERED"] == "1"
    assert seen["HOME"] == environ["HOME"]
    done = subprocess.run(
        ["python", "-c", "import sys; print(sys.prefix)"], env=seen, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(virtual.prefix)


def test_a_base_installation_is_first_and_in_no_virtualenv(
    base: Interpreter, environ: dict[str, str]
) -> None:
    environ["VIRTUAL_ENV"] = "/supervisors/venv"
    environ["PATH"] = "/supervisors/venv/bin:" + environ["PATH"]
    seen = activate(base, environ)
    assert "VIRTUAL_ENV" not in seen
    assert seen["PATH"].split(":") == [
        str(base.executable.parent),
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
    ]


def test_the_supervisors_own_virtualenv_is_not_on_path(
    virtual: Interpreter, environ: dict[str, str]
) -> None:
    own = str(Path(sys.prefix) / "bin")
    environ["PATH"] = f"{own}:{own}/:{environ['PATH']}"
    seen = activate(virtual, environ)
    if sys.prefix != sys.base_prefix:
        assert own not in [entry.rstrip("/") for entry in seen["PATH"].split(":")]
    mine = activate(probe(sys.executable, environ=environ), environ)
    assert mine["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def test_settings_of_another_python_are_removed_and_the_users_stay(
    virtual: Interpreter, environ: dict[str, str]
) -> None:
    environ.update(
        PYTHONHOME="/usr",
        PYTHONPATH="/team",
        PYTHONUNBUFFERED="",
        CONDA_PREFIX="/conda",
        REGION="eu",
    )
    environ["PATH"] = "/conda/bin:" + environ["PATH"]
    seen = activate(virtual, environ)
    assert "PYTHONHOME" not in seen
    assert "CONDA_PREFIX" not in seen
    assert "/conda/bin" not in seen["PATH"]
    assert (seen["PYTHONPATH"], seen["PYTHONUNBUFFERED"], seen["REGION"]) == ("/team", "", "eu")
    assert environ["PYTHONHOME"] == "/usr"


def test_without_path_there_is_the_systems(virtual: Interpreter) -> None:
    assert activate(virtual, {})["PATH"] == f"{virtual.prefix}/bin:/bin:/usr/bin"


def test_public_names() -> None:
    assert envs.__all__ == sorted(envs.__all__, key=lambda name: (name[0].islower(), name))
    for name in envs.__all__:
        assert getattr(envs, name).__doc__ or name == "ProgressCallback"


def test_importing_envs_is_light() -> None:
    code = (
        "import sys; before = set(sys.modules); import envs; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout))
    for heavy in (
        "virtualenv",
        "uv",
        "psutil",
        "zmq",
        "supervisor",
        "asyncio",
        "tomllib",
        "importlib.metadata",
        "concurrent.futures",
    ):
        assert heavy not in loaded
