"""Probing: real interpreters, and everything else that an operator may name by mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from envs_support import VERSIONS, interpreter_path, script

from envs import EnvError, Interpreter, interpreters, probe


@pytest.fixture(autouse=True)
def forget() -> None:
    interpreters.forget()


def fault(path: str | Path, environ: dict[str, str]) -> EnvError:
    with pytest.raises(EnvError) as caught:
        probe(path, environ=environ)
    return caught.value


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_version_describes_itself(version: str, environ: dict[str, str]) -> None:
    path = interpreter_path(version)
    found = probe(path, environ=environ)
    assert found.version_text.startswith(version + ".")
    assert found.version[:2] == tuple(int(part) for part in version.split("."))
    assert found.executable == path
    assert found.real_executable == Path(os.path.realpath(path))
    assert found.implementation == "cpython"
    assert version.replace(".", "") in found.soabi
    assert not found.is_virtualenv
    assert found.prefix == found.base_prefix


def test_own_abi_is_what_a_probe_of_ourselves_says(environ: dict[str, str]) -> None:
    found = probe(sys.executable, environ=environ)
    assert interpreters.own_abi() == {
        "platform": found.platform,
        "soabi": found.soabi,
        "libc": found.libc,
    }
    assert found.is_virtualenv == (sys.prefix != sys.base_prefix)
    assert found.prefix == Path(sys.prefix)
    assert found.base_prefix == Path(sys.base_prefix)


@pytest.mark.parametrize("version", ["3.6", "3.13"])
def test_a_virtualenv_keeps_its_own_path_and_names_its_base(
    version: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    base = interpreter_path(version)
    subprocess.run([str(base), "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True)
    by_directory = probe(tmp_path / "v", environ=environ)
    found = probe(tmp_path / "v" / "bin" / "python", environ=environ)
    assert found == by_directory
    assert found.is_virtualenv
    assert found.executable == tmp_path / "v" / "bin" / "python"
    assert found.prefix == tmp_path / "v"
    assert found.base_prefix == probe(base, environ=environ).prefix
    assert found.key == probe(base, environ=environ).key


def test_data_round_trip(environ: dict[str, str]) -> None:
    found = probe(sys.executable, environ=environ)
    assert Interpreter.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_a_missing_file_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    error = fault(tmp_path / "nowhere" / "python", environ)
    assert error.kind == "interpreter"
    assert str(error) == f"{tmp_path}/nowhere/python does not exist"
    assert error.hint


def test_a_dangling_virtualenv_says_that_its_base_is_gone(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "v" / "bin").mkdir(parents=True)
    (tmp_path / "v" / "bin" / "python").symlink_to(tmp_path / "gone")
    error = fault(tmp_path / "v", environ)
    assert error.kind == "interpreter"
    assert f"is a link to {tmp_path}/gone, which does not exist" in str(error)


def test_a_file_that_is_not_executable(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "python"
    path.write_text("hello")
    error = fault(path, environ)
    assert error.kind == "interpreter"
    assert str(error) == f"{path} is not executable"


def test_a_directory_that_is_no_virtualenv(tmp_path: Path, environ: dict[str, str]) -> None:
    error = fault(tmp_path, environ)
    assert error.kind == "not_python"
    assert "is a directory" in str(error)


@pytest.mark.parametrize("program", ["/bin/ls", "/bin/cat", "/bin/sh", "/bin/true", "/bin/echo"])
def test_other_programs_are_not_python(program: str, environ: dict[str, str]) -> None:
    error = fault(program, environ)
    assert error.kind == "not_python"
    assert str(error) == f"{program} is not a python interpreter"


@pytest.mark.parametrize(
    "text",
    [
        "just words\n",
        "#!/bin/sh\necho interpreter-probe:{}\n",
        "#!/bin/sh\necho 'interpreter-probe:[1'\n",
        '#!/bin/sh\necho \'interpreter-probe:{"version": "three"}\'\n',
        "#!/bin/sh\nwhile :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done\n",
        "#!/bin/sh\nprintf '\\377\\376\\000'; exit 3\n",
        "#!/nowhere/at/all\n",
    ],
    ids=[
        "text",
        "empty answer",
        "broken answer",
        "wrong answer",
        "endless",
        "bytes",
        "interpreter",
    ],
)
def test_scripts_that_only_look_like_python(
    text: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    error = fault(script(tmp_path / "python", text), environ)
    assert error.kind in {"not_python", "interpreter"}
    assert str(tmp_path / "python") in str(error)


def test_one_that_hangs_is_given_up_with_all_that_it_started(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreters, "TIMEOUT", 0.3)
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # Whoever lives holds the write end of the fifo; reading it to the end waits for their deaths.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    path = script(tmp_path / "python", f"#!/bin/sh\nexec 3>{fifo}\nsleep 600 &\nsleep 600\n")
    error = fault(path, environ)
    assert error.kind == "not_python"
    assert "did not answer" in str(error)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_grandchild_that_keeps_the_pipe_is_not_waited_for(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    path = script(
        tmp_path / "python",
        f'#!/bin/sh\nsleep 600 &\nexec {interpreter_path("3.11")} "$@"\n',
    )
    assert probe(path, environ=environ).version[:2] == (3, 11)


def test_python_2_is_told_from_no_python(environ: dict[str, str]) -> None:
    path = interpreter_path("2.7")
    for _ in range(2):
        error = fault(path, environ)
        assert error.kind == "python2"
        assert "python 2.7" in str(error)
        assert "3.6" in (error.hint or "")


def test_a_python_that_is_too_old(tmp_path: Path, environ: dict[str, str]) -> None:
    answer = {
        "version": [3, 5, 10],
        "version_text": "3.5.10",
        "executable": "/usr/bin/python3.5",
    }
    path = script(
        tmp_path / "python3.5", f"#!/bin/sh\necho 'interpreter-probe:{json.dumps(answer)}'\n"
    )
    error = fault(path, environ)
    assert error.kind == "unsupported"
    assert "3.5.10" in str(error)


def test_a_pyenv_shim_that_leads_nowhere(tmp_path: Path, environ: dict[str, str]) -> None:
    path = script(
        tmp_path / "python3.8",
        '#!/bin/sh\necho "pyenv: python3.8: command not found" >&2; exit 127\n',
    )
    error = fault(path, environ)
    assert error.kind == "interpreter"
    assert "shim" in str(error)
    assert "command not found" in error.detail


def test_a_damaged_installation(tmp_path: Path, environ: dict[str, str]) -> None:
    path = script(
        tmp_path / "python",
        "#!/bin/sh\necho 'error while loading shared libraries: libpython3.8.so.1.0' >&2; exit 127\n",
    )
    error = fault(path, environ)
    assert error.kind == "interpreter"
    assert "cannot start" in str(error)
    assert "libpython3.8" in error.detail


def test_user_code_does_not_run_in_a_probe(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('site')")
    environ["PYTHONPATH"] = str(tmp_path)
    environ["PYTHONSTARTUP"] = str(tmp_path / "json.py")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert probe(interpreter_path("3.8"), environ=environ).version[:2] == (3, 8)
    finally:
        os.chdir(before)


def logging_wrapper(tmp_path: Path, log: Path, target: Path) -> Path:
    return script(tmp_path / "python", f'#!/bin/sh\necho x >> {log}\nexec {target} "$@"\n')


def test_a_wrapper_is_asked_every_time(tmp_path: Path, environ: dict[str, str]) -> None:
    log = tmp_path / "log"
    path = logging_wrapper(tmp_path, log, interpreter_path("3.8"))
    for count in (1, 2):
        found = probe(path, environ=environ)
        assert found.executable == path
        assert found.version[:2] == (3, 8)
        assert log.read_text().count("x") == count


def test_the_answer_is_remembered_across_processes(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interpreter_path("3.8")
    first = probe(path, environ=environ)
    interpreters.forget()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(interpreters, "run", refuse)
    assert probe(path, environ=environ) == first
    assert interpreters.remembered(path, environ=environ) == first


def test_a_replaced_interpreter_is_noticed(tmp_path: Path, environ: dict[str, str]) -> None:
    link = tmp_path / "python"
    link.symlink_to(interpreter_path("3.8"))
    assert probe(link, environ=environ).version[:2] == (3, 8)
    link.unlink()
    link.symlink_to(interpreter_path("3.11"))
    assert probe(link, environ=environ).version[:2] == (3, 11)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "signature": 2}']
)
def test_a_damaged_cache_is_ignored(damage: str, environ: dict[str, str]) -> None:
    path = interpreter_path("3.8")
    first = probe(path, environ=environ)
    (cached,) = (interpreters.cache_directory(environ) / "interpreters").glob("*.json")
    cached.write_text(damage)
    interpreters.forget()
    assert probe(path, environ=environ) == first


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "file").write_text("")
    environ["XDG_CACHE_HOME"] = str(tmp_path / "file")
    assert probe(interpreter_path("3.8"), environ=environ).version[:2] == (3, 8)
