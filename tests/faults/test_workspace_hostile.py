"""Workspace files that are meant to hurt: located errors in bounded time and memory (promise 7).

Each is read in a process of its own that may have one gigabyte and a minute of processor time. The
thousand malformed ones that hypothesis makes are in tests/test_workspace_fuzz.py.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MEMORY = 1024**3
SECONDS = 60
MIB = 1024 * 1024

READER = """\
import json, sys
from pathlib import Path
from supervisor.errors import ConfigurationError
from supervisor.workspace_files import Selection, resolve
path = Path(sys.argv[1])
try:
    spec = resolve(Selection(files=(path,)), cwd=path.parent, environ={})
except ConfigurationError as error:
    print(json.dumps([[one.position.file, one.position.line, str(one)] for one in error.problems]))
else:
    print(json.dumps(len(spec.locations)))
"""

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MODULE = "- python_module: {{module_name: m{n}, location_name: l{n}}}\n"

FILES: dict[str, bytes] = {
    "text of 10 MB": b'load_from: "' + b"x" * (10 * MIB) + b'"\n',
    "name of 10 MB": b"load_from: [python_module: " + b"m" * (10 * MIB) + b"]\n",
    "key of 10 MB": b"x" * (10 * MIB) + b": 1\n",
    "comment of 10 MB": b"#" + b"x" * (10 * MIB) + b"\nload_from: 7\n",
    "line of 10 MB of brackets": b"load_from: " + b"[" * (10 * MIB),
    "brackets that close": b"load_from: " + b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "braces": b"{" * 100_000,
    "questions": b"? " * 50_000 + b"\n",
    "dashes": b"- " * 50_000 + b"\n",
    "indentation": "".join(" " * n + "a:\n" for n in range(3000)).encode(),
    "alias bomb": (BOMB + "load_from: *a11\n").encode(),
    "merge bomb": (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
        + "load_from: [{<<: *a11}]\n"
    ).encode(),
    "a cycle": b"load_from: &a [*a, *a]\n",
    "a cycle of keys": b"&a {? *a : 1}\n",
    "anchors": ("".join(f"- &a{n} x\n" for n in range(50_000))).encode(),
    "a number of a million digits": b"load_from: " + b"9" * 1_000_000 + b"\n",
    "a number in base 60": b"load_from: " + b"59:" * 100_000 + b"59\n",
    "a float that overflows": b"load_from: 1e999999999\n",
    "a thousand documents": b"load_from: []\n---\n" * 1000,
    "NULs": b"\0" * MIB,
    "a NUL in a text": b'load_from: ["a\0b"]\n',
    "bytes that are not UTF-8": b"load_from: \xff\xfe\xfa\n" * 1000,
    "UTF-16": "load_from: []\n".encode("utf-16"),
    "half a surrogate": b'load_from: "\\ud800"\n',
    "tags": b"load_from: !!python/object/apply:os.system ['touch hurt']\n",
    "a tag of a class": b"!!python/object:supervisor.server.daemon.Daemon {}\n",
    "binary": b"load_from: !!binary " + b"A" * MIB + b"\n",
    "duplicate keys": b"load_from: []\n" * 20_000,
    "carriage returns": b"load_from:\r" * 10_000,
    "a directive": b"%YAML 9.9\n---\nload_from: []\n",
    "escape sequences": b"load_from: ['\x1b]0;owned\x07']\n",
    "errors without end": ("load_from:\n" + "- nonsense: {a: 1}\n" * 20_000).encode(),
    "many locations of one name": ("load_from:\n" + "- python_module: m\n" * 5000).encode(),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


@pytest.mark.parametrize("what", FILES)
def test_it_costs_a_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "workspace.yaml"
    path.write_bytes(FILES[what])
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=limited,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    problems = json.loads(done.stdout)
    assert isinstance(problems, list) and problems, "there is something wrong with it"
    assert len(problems) <= 1000
    for file, line, text in problems:
        assert file == str(path)
        assert line >= 0
        assert len(text) < 2000 and text.isprintable(), text[:200]
    assert not (tmp_path / "hurt").exists()
