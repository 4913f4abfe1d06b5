"""What is no interpreter, or one that cannot be used: each is named, with the place and the remedy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from envs_support import VERSIONS, interpreter_path, script
from places import ROOT

from envs import EnvError, find_interpreter, interpreters, probe
from envs.discovery import find_command


@pytest.fixture(autouse=True)
def forget() -> None:
    interpreters.forget()


def fault(path: str | Path, environ: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(EnvError) as caught:
        probe(path, environ=environ)
    assert caught.value.kind in ("interpreter", "not_python")
    return caught.value.message, caught.value.hint or ""


def virtualenv(place: Path) -> Path:
    python = interpreter_path("3.11")
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(place)], check=True)
    return place


def test_a_virtualenv_that_has_lost_its_interpreter(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    place = virtualenv(tmp_path / "venv")
    for one in (place / "bin").glob("python*"):
        one.unlink()
    message, hint = fault(place, environ)
    assert message == f"the virtualenv {place} has no bin/python"
    assert hint.startswith(f"make it again: `rm -r {place}`, then `uv venv {place}`")
    message, hint = fault(place / "bin" / "python", environ)
    assert message == f"{place}/bin/python does not exist"
    assert "has lost it; make it again" in hint
    (tmp_path / "uv.lock").touch()
    assert f"then `uv sync` in {tmp_path}" in fault(place, environ)[1]


def test_a_virtualenv_whose_base_is_gone(tmp_path: Path, environ: dict[str, str]) -> None:
    place = virtualenv(tmp_path / "my venv")
    for one in (place / "bin").glob("python*"):
        one.unlink()
    (place / "bin" / "python").symlink_to(tmp_path / "gone" / "python3.11")
    message, hint = fault(place, environ)
    assert f"is a link to {tmp_path}/gone/python3.11, which does not exist" in message
    assert f"make the virtualenv again: `rm -r '{place}'`" in hint


def test_links_that_lead_to_one_another(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "python").symlink_to("python3")
    (tmp_path / "python3").symlink_to("python")
    message, hint = fault(tmp_path / "python", environ)
    assert message.endswith("cannot be looked at: too many levels of symbolic links")
    assert f"start at {tmp_path}/python" in hint


def test_a_directory_in_its_place(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "venv" / "bin" / "python").mkdir(parents=True)
    message, hint = fault(tmp_path / "venv", environ)
    assert message == f"{tmp_path}/venv/bin/python is a directory, not an interpreter"
    assert hint.startswith("correct the path")


def test_a_script_whose_interpreter_is_gone(tmp_path: Path, environ: dict[str, str]) -> None:
    path = script(tmp_path / "python", "#!/nowhere/python3\n")
    message, hint = fault(path, environ)
    assert message == f"{path} cannot be started: no such file or directory"
    assert hint.startswith("what its first line (#!) names is gone")


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        (
            "Fatal Python error: init_fs_encoding: failed to get the Python codec\n"
            "ModuleNotFoundError: No module named 'encodings'\n",
            "encodings",
        ),
        ("Traceback (most recent call last):\nModuleNotFoundError: No module named 'json'\n", "json"),
        ("Fatal Python error: Py_Initialize: no\nImportError: No module named site\n", "site"),
    ],
)  # fmt: skip
def test_a_python_that_dies_of_its_standard_library(
    said: str, lacks: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    path = script(tmp_path / "python", f"#!/bin/sh\ncat >&2 <<'END'\n{said}END\nexit 1\n")
    message, hint = fault(path, environ)
    assert message == f"{path} is a python with an incomplete standard library: it lacks {lacks}"
    assert "install that python again" in hint


@pytest.mark.parametrize("version", VERSIONS)
def test_a_python_without_a_module_that_a_process_of_ours_needs(
    version: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    path = script(
        tmp_path / "python",
        f"""#!/bin/sh
for last; do :; done
exec {interpreter_path(version)} -E -s -S -c "import importlib.util as u
find = u.find_spec
u.find_spec = lambda name, *other: None if name in ('fcntl', 'traceback') else find(name, *other)
$last"
""",
    )
    message, _ = fault(path, environ)
    assert message.endswith("incomplete standard library: it lacks fcntl, traceback")


def test_every_module_that_the_shim_imports_at_first_is_asked_for() -> None:
    imported = set()
    for path in (ROOT / "runner_shim").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                imported |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
    built_in = set(sys.builtin_module_names) - {"array", "_socket", "select", "fcntl"}
    found = (imported & sys.stdlib_module_names) - built_in - {"_frozen_importlib"}
    assert found <= set(interpreters.NEEDED)


def test_a_name_of_something_beside_the_workspace_file_is_meant_as_a_path(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "my-venv").mkdir()
    with pytest.raises(EnvError) as caught:
        find_command("my-venv", environ=environ, directory=tmp_path)
    assert str(caught.value) == "no command my-venv is on PATH"
    assert f"{tmp_path}/my-venv is meant by the path ./my-venv" in str(caught.value.hint)


def test_an_active_virtualenv_that_is_gone_says_what_names_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(EnvError) as caught:
        find_interpreter(None, environ={**environ, "VIRTUAL_ENV": str(tmp_path / "gone")})
    assert str(caught.value) == f"{tmp_path}/gone/bin/python does not exist"
    assert str(caught.value.hint).startswith("VIRTUAL_ENV names it")
