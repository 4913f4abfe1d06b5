"""Which installer is found, and what is said when one fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import PROGRAMS, ROOT

from envs.children import Completed
from envs.installers import Toolbox, UvInstaller, failure


def test_several_environments_that_begin_at_once_all_find_uv() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "find_uv_at_once.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "UvInstaller\n"), done.stderr


def test_an_error_of_a_tool_is_no_progress(tmp_path: Path) -> None:
    told: list[str] = []
    program = "print('Resolved 2'); print('error: no'); print('  pandas'); print('      ^^^^')"
    done = Toolbox({}, cwd=tmp_path, say=told.append).run([sys.executable, "-c", program])
    assert told == ["Resolved 2"]
    assert "^^^^" in done.output


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("error: Failed to build `grpcio==1.47.5`\n  cause: The build", "grpcio==1.47.5 has no wheel for"),
        ("ERROR: Failed building wheel for grpcio", "grpcio has no wheel for this python"),
        ("error: Failed to build `risk @ file:///team/risk`", "None"),
        ("error: something else", "None"),
        ("error: Failed to parse: `pandas=>1.0`", "did you mean pandas>=1.0?"),
        ("ERROR: Invalid requirement: 'flask=1.0' (from line 1 of r.txt)", "did you mean flask==1.0?"),
        (
            "error: Couldn't parse requirement in `r.txt` at position 0\n  cause: no such operator\n"
            "         a b>=1,=<2\n           ^",
            "did you mean a b>=1,<=2?",
        ),
        ("ERROR: Invalid requirement: 'a b'", "write it as name==1.2, or name>=1.2,<2"),
    ],
)  # fmt: skip
def test_what_to_do_where_a_package_cannot_be_built(said: str, hint: str, tmp_path: Path) -> None:
    uv = UvInstaller(Path("uv"))
    error = failure(Completed(1, "", said), "environment risk", {}, uv, tmp_path)
    assert (error.kind, str(error.detail).strip()) == ("install", said)
    assert str(error.hint).startswith(hint)
