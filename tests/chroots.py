"""A minimal Debian in a directory, and the steps of a Dockerfile in it.

Not Docker: no layers, no cache, the machine's own network. Each command runs in a mount and a process namespace
of its own, which end with it. Needs root and debootstrap. The chroot uses this machine's package settings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["Chroot", "steps_of"]

_MINUTES = 10 * 60.0
_CERTIFICATES = "/run/machine-certificates.crt"


def steps_of(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) of each step of a Dockerfile."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    found = (line.partition(" ") for line in lines if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in found]


class Chroot:
    """The root of a Debian ``suite`` below ``folder``."""

    def __init__(self, folder: Path, suite: str) -> None:
        self.root = folder / "root"
        self.directory = "/"
        self.variables = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root"}
        self.command: list[str] = []
        sites = _output(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"])
        site = next(one for one in sites.splitlines() if "security" not in one)
        with (folder / "debootstrap.log").open("w") as log:
            subprocess.run(
                ["debootstrap", "--variant=minbase", suite, self.root, site],
                check=True, stdout=log, stderr=log, timeout=_MINUTES,
            )  # fmt: skip
        self._mounts = [Path("/dev"), *_package_places()]
        self._take_settings()

    def _take_settings(self) -> None:
        """The package settings of this machine, which an image is built with elsewhere, too."""
        for path in ("/etc/resolv.conf", "/etc/pip.conf", "/etc/xdg/pip"):
            if Path(path).is_dir():
                shutil.copytree(path, f"{self.root}{path}")
            elif Path(path).exists():
                shutil.copy(path, f"{self.root}{path}")
        own = Path.home() / ".config" / "pip"
        if own.is_dir():
            shutil.copytree(own, self.root / "root" / ".config" / "pip")
        self.variables |= {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_"))}
        certificates = os.environ.get("SSL_CERT_FILE")
        if certificates:
            shutil.copy(certificates, f"{self.root}{_CERTIFICATES}")
            names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
            self.variables |= dict.fromkeys(names, _CERTIFICATES)

    def words(self, command: list[str]) -> list[str]:
        """``command`` in it, as process 1 of its own namespace."""
        mounts = "".join(
            f"mkdir -p {self.root}{one} && mount --rbind {one} {self.root}{one} && "
            for one in self._mounts
        )
        script = (
            f"mount --make-rprivate / && {mounts}mount -t proc proc {self.root}/proc && "
            f'exec chroot {self.root} /usr/bin/env -i -C {self.directory} "$@"'
        )
        pairs = [f"{name}={value}" for name, value in self.variables.items()]
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*namespaces, "sh", "-ec", script, "sh", *pairs, *command]

    def run(self, command: list[str]) -> str:
        """Run ``command`` to its end; its output."""
        return _output(self.words(command))

    def step(self, word: str, rest: str, context: Path) -> None:
        """One instruction of a Dockerfile whose context is ``context``."""
        match word:
            case "FROM":
                pass
            case "ENV":
                for name, value in re.findall(r"(\w+)=(\S*)", rest):
                    self.variables[name] = value.replace("$PATH", self.variables["PATH"])
            case "WORKDIR":
                self.directory = rest
                Path(f"{self.root}{rest}").mkdir(parents=True, exist_ok=True)
            case "COPY":
                source, target = rest.split()
                ignored = shutil.ignore_patterns(".git", ".venv", ".supervise", "__pycache__")
                shutil.copytree(context / source, f"{self.root}{target}", ignore=ignored)
            case "RUN":
                self.run(["sh", "-c", rest])
            case "CMD":
                self.command = json.loads(rest)
            case _:
                raise AssertionError(f"{word} is not known here")


def _package_places() -> list[Path]:
    """The directories that pip's settings name: where packages of this machine come from."""
    settings = _output([sys.executable, "-m", "pip", "config", "list"])
    named = re.findall(r"(?<![\w/])/[\w/.+-]+", settings.replace("file://", ""))
    places = (Path(one) for one in dict.fromkeys(named))
    # The pages of an index name files beside its directory.
    places = (path.parent if path.name == "simple" else path for path in places)
    return [path for path in places if path.is_dir()]


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=_MINUTES,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[-1]}:\n{done.stdout[-5000:]}"
    return done.stdout
