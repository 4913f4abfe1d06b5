"""The ``dagster`` key of a workspace: what it becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import problems, read

from supervisor.face_settings import FaceSettings, Listen
from supervisor.workspace_files.effective import face_settings

ENTRIES = "load_from: [python_file: f.py]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", FaceSettings()),
        ("{serve: true}", FaceSettings(serve=True)),
        ("{listen: 4000}", FaceSettings(listen=Listen("127.0.0.1", 4000))),
        ("{listen: '[::1]:4000', serve: false}", FaceSettings(False, Listen("::1", 4000))),
        ("{listen: {env: PORT}}", FaceSettings(listen=Listen("127.0.0.1", 4266))),
    ],
)
def test_what_it_becomes(tmp_path: Path, text: str, expected: FaceSettings) -> None:
    found = read(tmp_path, f"dagster: {text}\n{ENTRIES}").face
    assert found == expected
    assert found.serves == (text in ("{serve: true}", "{listen: 4000}", "{listen: {env: PORT}}"))


def test_the_instance_lies_beside_the_file(tmp_path: Path) -> None:
    spec = read(tmp_path, f"dagster: {{instance: home}}\n{ENTRIES}")
    assert spec.face == FaceSettings(instance=tmp_path / "home")
    shown = {one.key: (one.value, one.origin) for one in face_settings(spec)}
    assert shown == {
        "serve": (False, "default"),
        "listen": (None, "default"),
        "instance": (str(tmp_path / "home"), "file"),
    }
    assert face_settings(read(tmp_path, ENTRIES)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{serve: maybe}", "true or false"),
        ("{listen: nowhere}", "a port such as 4000, or 10.0.0.5:4000"),
        ("{listen: 65536}", "a port such as 4000"),
        ("{lisen: 4000}", "listen"),
        ("true", "a map with serve, listen and instance"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    found = problems(tmp_path, f"dagster: {text}\n{ENTRIES}")
    assert said in "\n".join(map(str, found))


def test_one_file_of_a_workspace_says_it(tmp_path: Path) -> None:
    text = f"dagster: {{serve: true}}\n{ENTRIES}"
    other = text.replace("f.py", "g.py")
    found = problems(tmp_path, text, other)
    assert "dagster is said already, at" in str(found[0])
    assert "w.yaml:1" in str(found[0])
