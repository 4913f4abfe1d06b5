"""Files that cannot be read, and bytes that are meant to hurt the reader: told, and bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from workspaces import item, problems

from supervisor.errors import ConfigurationError
from supervisor.workspace_files import Selection, resolve


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"load_from: []\n# \xff\xfe\n", 2, 3, "byte 0xff is not valid UTF-8"),
        ("load_from: []\n# é\x00\n".encode(), 2, 4, "control character U+0000"),
        (b"\x1b[31m", 1, 1, "control character U+001B"),
        ("load_from: []".encode("utf-16"), 1, 1, "not valid UTF-8"),
        (b"x: " + b"[" * 60, 1, 53, "deeper than 50"),
        (b"[" * 900, 1, 51, "deeper than 50"),
        (b"- " * 100_000, 1, 101, "deeper than 50"),
        (b'load_from: "' + b"y" * 200_000 + b'"', 1, 12, "too long"),
        (b"load_from: " + b"9" * 10_000, 1, 12, "cannot be read as int"),
    ],
)
def test_hostile_bytes(tmp_path: Path, data: bytes, line: int, column: int, message: str) -> None:
    found = problems(tmp_path, data)
    assert (found[0].position.line, found[0].position.column) == (line, column)
    assert message in found[0].message


def test_what_the_parser_itself_finds_too_deep(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, b"[" * 100_000)
    assert found.position.line == 1
    assert found.message == "nested deeper than 50 levels"


def test_alias_bombs_are_bounded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (found,) = problems(tmp_path, "\n".join(lines))
    assert "aliases expanded" in found.message


def test_merge_bombs_are_bounded(tmp_path: Path) -> None:
    lines = ["a0: &a0 {k: [" + "x, " * 1000 + "]}"]
    lines += [f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: *a{i - 1}}}" for i in range(1, 30)]
    (found,) = problems(tmp_path, "\n".join(lines))
    assert "aliases expanded" in found.message


def test_problems_are_bounded(tmp_path: Path) -> None:
    found = problems(tmp_path, "load_from:\n" + "- x\n" * 5000)
    assert 100 <= len(found) <= 1000


def test_a_file_too_large(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, b"#" * (4 * 2**20 + 1))
    assert "larger than 4 MiB" in found.message


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    (tmp_path / "directory.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "plain").write_text("")
    expected = {
        "missing.yaml": "does not exist",
        "directory.yaml": "is a directory",
        "pipe.yaml": "is not a regular file",
        "dangling.yaml": "does not exist",
        "loop.yaml": "cannot be read",
        "plain/x.yaml": "leads through a file",
        "nul\0.yaml": "no file can have",
        "x" * 300 + ".yaml": "cannot be read",
        "missing.toml": "does not exist",
    }
    with pytest.raises(ConfigurationError) as caught:
        resolve(Selection(files=tuple(map(Path, expected))), cwd=tmp_path, environ={})
    messages = {p.position.file: p.message for p in caught.value.problems}
    assert len(messages) == len(expected)
    for name, message in expected.items():
        assert message in messages[str(tmp_path / name.replace("\0", "\\x00"))]


def test_an_unreadable_file(runtime: Path) -> None:
    runtime.chmod(0o755)
    (runtime / "w.yaml").touch(mode=0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigurationError, match="permission denied"):
            resolve(Selection(files=(Path("w.yaml"),)), cwd=runtime, environ={})
    finally:
        os.seteuid(user)


def test_a_loop_of_directories(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigurationError):
        resolve(Selection(files=(Path("a/w.yaml"),)), cwd=tmp_path, environ={})


def test_values_that_cannot_be_encoded(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(item("python_file: {env: BAD}"))
    with pytest.raises(ConfigurationError, match="BAD holds a value"):
        resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ={"BAD": "a\udcff"})
