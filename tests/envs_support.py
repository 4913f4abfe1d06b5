"""What the tests of ``envs`` share: interpreters of this machine, wheels made on the spot."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from envs import Environment, EnvironmentRequest, EnvironmentStore

VERSIONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")

# Says which ``lemon`` is installed, and where.
LEMON = "import lemon, sys; print(lemon.VERSION, sys.prefix)"


def interpreter_path(version: str) -> Path:
    """The machine's own Python of that version, or a skip."""
    home = Path.home() / ".pyenv" / "versions"
    for folder in sorted(home.glob(f"{version}.*"), reverse=True):
        if (folder / "bin" / "python").exists():
            return folder / "bin" / "python"
    found = shutil.which(f"python{version}")
    if found and "shims" not in found:
        return Path(found)
    pytest.skip(f"no python {version} on this machine")


def private_environ(home: Path, **extra: str) -> dict[str, str]:
    """Variables of a user who has nothing: an empty home, no version manager, only system PATH."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(home / "cache"),
        **extra,
    }


def online_environ(home: Path, **extra: str) -> dict[str, str]:
    """``private_environ`` with this machine's package index settings and installer caches."""
    environ = private_environ(home)
    kept = ("UV_", "PIP_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy", "REQUESTS_")
    environ.update({key: value for key, value in os.environ.items() if key.startswith(kept)})
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environ.setdefault("UV_CACHE_DIR", str(cache / "uv"))
    environ.setdefault("PIP_CACHE_DIR", str(cache / "pip"))
    environ.setdefault("PIP_CONFIG_FILE", str(Path.home() / ".config" / "pip" / "pip.conf"))
    environ.update(extra)
    return environ


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    source: str = "",
) -> Path:
    """A pure wheel with one module ``name`` whose ``VERSION`` is ``version``."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {item}\n" for item in requires)
    files = {
        f"{name}.py": source or f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def python_says(python: Path, code: str, *arguments: str) -> str:
    """Standard output of ``code`` in ``python``; fails when it writes to standard error."""
    done = subprocess.run(
        [str(python), "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def script(path: Path, text: str) -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fruit_wheels(tmp_path: Path) -> Path:
    """A fixture's function: a folder of wheels, two versions of ``lemon`` and a ``tree`` that needs the old one."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "lemon", "1.0")
    make_wheel(folder, "lemon", "2.0")
    make_wheel(folder, "tree", "1.0", requires=("lemon<2",))
    return folder


def fruit_environ(tmp_path: Path, wheels: Path) -> dict[str, str]:
    """A fixture's function: variables of a user whose only index is ``wheels``."""
    config = tmp_path / "home" / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"no-index = true\nfind-links = [{str(wheels)!r}]\n")
    return private_environ(tmp_path / "home", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))


def empty_store(tmp_path: Path, environ: dict[str, str]) -> EnvironmentStore:
    """A fixture's function: the store of a workspace in ``ws``."""
    return EnvironmentStore(tmp_path / "ws" / ".supervise" / "envs", environ)


def request(version: str = "3.11", *requirements: str, **other: object) -> EnvironmentRequest:
    """For a virtualenv of this machine's Python ``version``."""
    return EnvironmentRequest(
        python=str(interpreter_path(version)),
        requirements=requirements,
        **other,  # type: ignore[arg-type]
    )


def installed(made: Environment) -> dict[str, str]:
    """Without the setuptools that came with an older Python."""
    return {name: version for name, version in made.installed.items() if name != "setuptools"}
