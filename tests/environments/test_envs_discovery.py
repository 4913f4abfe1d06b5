"""Searching: which interpreter a spec means, and what is said when none does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from envs_support import interpreter_path, private_environ, script

from envs import (
    EnvError,
    default_interpreter,
    discovery,
    find_command,
    find_interpreter,
    list_interpreters,
    probe,
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return private_environ(tmp_path / "home", PATH=str(tmp_path / "bin"))


def link(place: Path, version: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(interpreter_path(version))
    return place


def pyenv(environ: dict[str, str], *versions: str) -> Path:
    """A pyenv root with links to this machine's interpreters and shims for all of them."""
    root = Path(environ["HOME"]) / ".pyenv"
    for version in versions:
        real = probe(interpreter_path(version), environ=environ)
        folder = root / "versions" / real.version_text / "bin"
        folder.mkdir(parents=True)
        for name in ("python", f"python{version}"):
            (folder / name).symlink_to(real.real_executable)
            script(
                root / "shims" / name, "#!/bin/sh\necho 'pyenv: command not found' >&2; exit 127\n"
            )
    environ["PATH"] = f"{root / 'shims'}:{environ['PATH']}"
    return root


@pytest.mark.parametrize(
    ("text", "version", "holds"),
    [
        ("3.8", "3.8.18", True),
        ("3.8", "3.18.0", False),
        ("3.8.18", "3.8.18", True),
        ("3.8.1", "3.8.18", False),
        ("3", "3.13.0", True),
        (">=3.8,<3.10", "3.9.18", True),
        (">=3.8,<3.10", "3.10.0", False),
        (">=3.8, <3.10", "3.8.0", True),
        ("~=3.8", "3.13.0", True),
        ("~=3.8.2", "3.8.18", True),
        ("~=3.8.2", "3.8.1", False),
        ("~=3.8.2", "3.9.0", False),
        ("==3.7.*", "3.7.16", True),
        ("!=3.7", "3.7.16", False),
        ("!=3.7", "3.8.0", True),
        (">3.7", "3.7.16", False),
        (">3.7", "3.8.0", True),
        ("<=3.9", "3.9.18", True),
        ("<3.9", "3.8.18", True),
        ("cpython@3.12", "3.12.1", True),
        ("cpython3.12", "3.12.1", True),
        ("python3.9", "3.9.1", True),
        ("pypy3.9", "3.9.1", False),
        ("3.8.*", "3.8.2", True),
    ],
)
def test_version_rules(text: str, version: str, holds: bool, environ: dict[str, str]) -> None:
    wanted = discovery.parse_wanted(text)
    assert wanted is not None
    found = probe(sys.executable, environ=environ)
    parts = tuple(int(part) for part in version.split("."))
    from dataclasses import replace

    candidate = replace(found, version=parts, version_text=version)  # type: ignore[arg-type]
    assert wanted.accepts(candidate) is holds
    if holds:
        assert wanted.may_be(parts)
        assert wanted.may_be(parts[:2])
        assert wanted.may_be(parts[:1])


def test_a_name_that_promises_another_version_is_not_probed() -> None:
    wanted = discovery.parse_wanted("3.8")
    assert wanted is not None
    assert not wanted.may_be((3, 9))
    assert not wanted.may_be((2,))
    assert wanted.may_be(())


@pytest.mark.parametrize("text", ["nope", "3.x", ">=", "3.8;3.9", "==", "~=3", "1.2.3.4 5", "@3.8"])
def test_what_is_no_version(text: str, environ: dict[str, str]) -> None:
    with pytest.raises(EnvError) as caught:
        find_interpreter(text, environ=environ)
    assert caught.value.kind == "interpreter"
    assert text in str(caught.value)


def test_an_absolute_path_is_taken_as_it_is(environ: dict[str, str]) -> None:
    path = interpreter_path("3.8")
    assert find_interpreter(str(path), environ=environ).executable == path


def test_on_path(tmp_path: Path, environ: dict[str, str]) -> None:
    path = link(tmp_path / "bin" / "python3.8", "3.8")
    link(tmp_path / "bin" / "python3", "3.9")
    assert find_interpreter("3.8", environ=environ).executable == path
    assert find_interpreter("python3.8", environ=environ).executable == path
    assert find_interpreter("python3", environ=environ).version[:2] == (3, 9)
    assert find_interpreter(">=3.8,<3.9", environ=environ).executable == path


def test_the_newest_that_fits_wins(tmp_path: Path, environ: dict[str, str]) -> None:
    link(tmp_path / "bin" / "python3.8", "3.8")
    link(tmp_path / "bin" / "python3.9", "3.9")
    link(tmp_path / "bin" / "python3.10", "3.10")
    assert find_interpreter(">=3.8,<3.10", environ=environ).version[:2] == (3, 9)


def test_extra_directories_come_first(tmp_path: Path, environ: dict[str, str]) -> None:
    link(tmp_path / "bin" / "python3.8", "3.8")
    extra = link(tmp_path / "extra" / "python3.8", "3.8")
    found = find_interpreter("3.8", environ=environ, search_dirs=[tmp_path / "extra"])
    assert found.executable == extra


def test_pyenv_versions_are_found_without_running_shims(environ: dict[str, str]) -> None:
    root = pyenv(environ, "3.8", "3.9")
    found = find_interpreter("3.8", environ=environ)
    assert str(found.executable).startswith(str(root / "versions"))
    assert found.version[:2] == (3, 8)


def test_a_command_is_followed_through_a_shim(environ: dict[str, str]) -> None:
    root = pyenv(environ, "3.8", "3.9")
    # Installed but not selected: pyenv itself would say "command not found".
    assert find_command("python3.8", environ=environ).parent.parent.name.startswith("3.8.")
    # Not selected at all: the newest; selected: that one.
    assert find_command("python", environ=environ).parent.parent.name.startswith("3.9.")
    (selected,) = (root / "versions").glob("3.8.*")
    (root / "version").write_text(f"system\n{selected.name}\n")
    assert find_command("python", environ=environ) == selected / "bin" / "python"
    environ["PYENV_VERSION"] = next((root / "versions").glob("3.9.*")).name
    assert find_command("python", environ=environ).parent.parent.name.startswith("3.9.")


def test_a_command_that_is_nowhere(environ: dict[str, str]) -> None:
    with pytest.raises(EnvError) as caught:
        find_command("python3.8", environ=environ)
    assert str(caught.value) == "no command python3.8 is on PATH"


def test_uv_and_other_managers_are_read(environ: dict[str, str]) -> None:
    home = Path(environ["HOME"])
    link(home / ".local/share/uv/python/cpython-3.8.18-linux-x86_64-gnu/bin/python3", "3.8")
    link(home / ".local/share/mise/installs/python/3.9.18/bin/python", "3.9")
    link(home / "asdf/installs/python/3.10.13/bin/python", "3.10")
    environ["ASDF_DATA_DIR"] = str(home / "asdf")
    sources = {
        item.interpreter.version[:2]: item.source
        for item in list_interpreters(environ=environ)
        if item.interpreter and item.source != "running"
    }
    assert sources == {(3, 8): "uv", (3, 9): "mise", (3, 10): "asdf"}
    environ["UV_PYTHON_INSTALL_DIR"] = str(home / "elsewhere")
    link(home / "elsewhere/cpython-3.7.16-linux-x86_64-gnu/bin/python3", "3.7")
    assert find_interpreter("3.7", environ=environ).version[:2] == (3, 7)


def test_a_base_is_preferred_to_its_virtualenv(tmp_path: Path, environ: dict[str, str]) -> None:
    import subprocess

    subprocess.run(
        [str(interpreter_path("3.8")), "-m", "venv", "--without-pip", str(tmp_path / "v")],
        check=True,
    )
    environ["PATH"] = str(tmp_path / "v" / "bin")
    assert find_interpreter("3.8", environ=environ).is_virtualenv
    link(tmp_path / "bin" / "python3.8", "3.8")
    environ["PATH"] += f":{tmp_path / 'bin'}"
    assert not find_interpreter("3.8", environ=environ).is_virtualenv


def test_what_was_found_is_listed_when_nothing_fits(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    link(tmp_path / "bin" / "python3.8", "3.8")
    with pytest.raises(EnvError) as caught:
        find_interpreter("3.5", environ=environ)
    error = caught.value
    assert error.kind == "interpreter"
    assert str(error).startswith("no python 3.5 is on this machine; found ")
    assert "3.8." in str(error)
    assert str(tmp_path) not in str(error), "versions are enough to choose one"
    assert "uv python install 3.5" in (error.hint or "")


def test_broken_and_old_ones_are_listed_and_passed_over(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    script(tmp_path / "bin" / "python", "#!/bin/sh\nexit 1\n")
    script(tmp_path / "bin" / "python3", "no program")
    path = link(tmp_path / "bin" / "python3.8", "3.8")
    assert find_interpreter("3.8", environ=environ).executable == path
    kinds = {
        item.path.name: item.error.kind for item in list_interpreters(environ=environ) if item.error
    }
    assert kinds == {"python": "not_python", "python3": "not_python"}


def test_one_entry_per_interpreter_newest_first(tmp_path: Path, environ: dict[str, str]) -> None:
    for name in ("python", "python3", "python3.8"):
        link(tmp_path / "bin" / name, "3.8")
    link(tmp_path / "bin" / "python3.9", "3.9")
    found = [item for item in list_interpreters(environ=environ) if item.source == "PATH"]
    assert [item.interpreter.version[:2] for item in found if item.interpreter] == [(3, 9), (3, 8)]


def test_the_default_is_the_active_virtualenv_else_our_own(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    assert default_interpreter(environ).executable == Path(sys.executable)
    assert find_interpreter(None, environ=environ).executable == Path(sys.executable)
    link(tmp_path / "v" / "bin" / "python", "3.8")
    environ["VIRTUAL_ENV"] = str(tmp_path / "v")
    assert default_interpreter(environ).version[:2] == (3, 8)


def test_an_empty_path_is_survived(environ: dict[str, str]) -> None:
    environ["PATH"] = f":/nowhere:{os.devnull}:"
    assert any(item.source == "running" for item in list_interpreters(environ=environ))
