"""The tools that make and fill environments: virtualenv, uv, and pip where uv is absent.

Owns their command lines and how their failures become an ``EnvError`` whose ``detail`` is the unaltered output of
the tool. Does not know about keys, locks and directories: the store does.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from . import disk
from .children import Completed, run, tool_environ
from .errors import EnvError
from .interpreters import Interpreter, cache_directory
from .locks import exclusive
from .seeds import bundled_wheel, site_packages, wheel_version

__all__ = ["Installer", "PipInstaller", "Toolbox", "UvInstaller", "find_installer"]

Choice = Literal["auto", "uv", "pip"]

_OLDEST_PIP: Final = (20, 3)  # the first that takes every manylinux_x_y wheel for what it is

_FINDING_UV: Final = threading.Lock()

_VARIABLES_OF_UV: Final = {
    "--index": "UV_INDEX",
    "--default-index": "UV_DEFAULT_INDEX",
    "-i": "UV_INDEX_URL",
    "--index-url": "UV_INDEX_URL",
    "--extra-index-url": "UV_EXTRA_INDEX_URL",
}

_RESOLUTION_WORDS: Final = (
    "No solution found",
    "ResolutionImpossible",
    "No matching distribution found",
    "no matching distribution",
    "could not find a version that satisfies",
    "not found in the package registry",
)
# Operators that are not there, and what they are meant to be.
_MEANT: Final = {"=>": ">=", "=<": "<=", "=": "=="}
# How uv and pip begin to say why they failed.
_ERRORS: Final = ("error", "\N{MULTIPLICATION SIGN}", "hint:")
# A requirement that cannot be read, as pip and uv name it.
_UNREADABLE: Final = re.compile(
    r"Invalid requirement: '([^'\n]+)'|Failed to parse: `([^`\n]+)`"
    r"|Couldn't parse requirement in .*\n *cause: .*\n *(\S.*)\n *\^"
)
_NETWORK_WORDS: Final = (
    "dns error",
    "error sending request",
    "Connection refused",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Failed to establish a new connection",
    "network was disabled",
    "ConnectTimeoutError",
    "operation timed out",
)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What every tool run needs of its caller."""

    environ: Mapping[str, str]
    cwd: Path | None = None
    say: Callable[[str], None] | None = None
    cancel: threading.Event | None = None

    def run(self, command: Sequence[str | Path], **extra: str) -> Completed:
        """Run a tool behind a lifeline; ``extra`` are environment variables."""
        environ = tool_environ(self.environ) | extra
        say = None if self.say is None else _Progress(self.say)
        return run(command, environ=environ, cwd=self.cwd, on_line=say, cancel=self.cancel)


class _Progress:
    """Hands on what a tool says until it says an error: that comes with the failure, whole."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failed = False

    def __call__(self, line: str) -> None:
        self._failed = self._failed or line.lower().startswith(_ERRORS)
        if not self._failed:
            self._say(line)


class Installer(Protocol):
    """Something that fills an environment."""

    @property
    def name(self) -> str:
        """``uv`` or ``pip``, with its version where that is known cheaply."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """Of options that it takes from the environment, too, the variables (see ``credentials``)."""
        ...

    def install(self, python: Path, arguments: Sequence[str], tools: Toolbox) -> Completed:
        """Install ``arguments`` (requirements, ``-r FILE``, ``-e DIR``) into ``python``'s own."""
        ...

    def install_target(
        self, python: Path, target: Path, requirements: Sequence[str], tools: Toolbox
    ) -> Completed:
        """Install wheels of ``requirements`` that fit ``python`` into the directory ``target``."""
        ...


@dataclass(frozen=True, slots=True)
class UvInstaller:
    """uv, at ``path``. ``precompile`` is off where uv's compiler does not run (Python 3.6)."""

    path: Path
    precompile: bool = True
    name: str = "uv"

    @property
    def variables(self) -> Mapping[str, str]:
        return _VARIABLES_OF_UV

    def install(self, python: Path, arguments: Sequence[str], tools: Toolbox) -> Completed:
        # Precompiling costs now what the first import would cost, but the cost is paid once and
        # beside the old generation instead of while a location loads.
        return tools.run(
            [
                *(self.path, "pip", "install", "--python", python, "--no-python-downloads"),
                *(["--compile-bytecode"] if self.precompile else []),
                *arguments,
            ],
            UV_NO_PROGRESS="1",
        )

    def install_target(
        self, python: Path, target: Path, requirements: Sequence[str], tools: Toolbox
    ) -> Completed:
        return tools.run(
            [
                *(self.path, "pip", "install", "--python", python, "--no-python-downloads"),
                *("--target", target, "--only-binary", ":all:", "--link-mode", "copy"),
                *requirements,
            ],
            UV_NO_PROGRESS="1",
        )

    def export(self, options: Sequence[str], python: Path, tools: Toolbox) -> Completed:
        """The pinned requirements of a project or script, on standard output. Changes no lock."""
        return tools.run(
            [
                *(self.path, "export", "--quiet", "--no-header", "--no-annotate"),
                *("--no-python-downloads", "--python", python),
                *options,
            ],
            UV_NO_PROGRESS="1",
        )

    def compile(self, requirements: Path, version: str, tools: Toolbox) -> Completed:
        """What ``requirements`` resolve to for every platform, with hashes, on standard output."""
        return tools.run(
            [
                *(self.path, "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
                *("--no-header", "--no-python-downloads", "--python-version", version),
                requirements,
            ],
            UV_NO_PROGRESS="1",
        )


@dataclass(frozen=True, slots=True)
class PipInstaller:
    """pip, run out of a wheel or an installation in the target interpreter itself."""

    base: Interpreter
    name: str = "pip"

    @property
    def variables(self) -> Mapping[str, str]:
        return {}  # a file can have its options

    def install(self, python: Path, arguments: Sequence[str], tools: Toolbox) -> Completed:
        return tools.run([python, *self._pip(python, tools), "install", *arguments])

    def install_target(
        self, python: Path, target: Path, requirements: Sequence[str], tools: Toolbox
    ) -> Completed:
        return tools.run(
            [
                python,
                *self._pip(python, tools),
                *("install", "--target", str(target), "--only-binary", ":all:", *requirements),
            ]
        )

    def _pip(self, python: Path, tools: Toolbox) -> list[str]:
        """How ``python`` runs a pip that fits it, without one being installed into its environment.

        ensurepip's own wheel is of the interpreter's age, so it always fits; distributions that
        strip it leave virtualenv's embedded wheels, and at last a pip in the base installation.
        """
        bundled = bundled_wheel(self.base, "pip") or self._virtualenv_wheel()
        if bundled is not None:
            if wheel_version(bundled) < _OLDEST_PIP:
                return [str(self._newer_pip(python, bundled, tools))]
            return [f"{bundled}/pip"]
        quiet = Toolbox(tools.environ, tools.cwd, None, tools.cancel)
        if quiet.run([python, "-I", "-m", "pip", "--version"]).returncode == 0:
            return ["-m", "pip"]
        # pip 22.3 and later can install into another interpreter's environment.
        base = str(self.base.real_executable)
        if (
            quiet.run([base, "-I", "-m", "pip", "--python", str(python), "--version"]).returncode
            == 0
        ):
            pip = quiet.run([base, "-I", "-c", "import pip; print(pip.__path__[0])"]).stdout.strip()
            return [pip]
        raise EnvError(
            "install",
            f"neither uv nor a pip for python {self.base.version_text} was found",
            hint="install uv, or python's ensurepip (on Debian: the python3-venv package)",
        )

    def _newer_pip(self, python: Path, bundled: Path, tools: Toolbox) -> Path:
        """A newer pip, in our cache: Python 3.6 brings 18.1, which takes no manylinux2014 wheel for
        one that fits. 21.3 is the last for 3.6; an index without requires-python data would offer
        later ones too. Without an index, the bundled one."""
        major, minor, _ = self.base.version
        home = cache_directory(tools.environ) / "pip"
        target = home / f"python{major}.{minor}"
        with exclusive(home / f"{target.name}.lock", cancel=tools.cancel):
            if not (target / "pip").is_dir():
                shutil.rmtree(target, ignore_errors=True)
                fresh = home / f".{target.name}"
                shutil.rmtree(fresh, ignore_errors=True)
                words = ["install", "--quiet", "--target", str(fresh), "pip>=20.3,<22"]
                if tools.run([python, f"{bundled}/pip", *words]).returncode != 0:
                    return bundled / "pip"
                fresh.rename(target)
        return target / "pip"

    def _virtualenv_wheel(self) -> Path | None:
        from virtualenv.seed.wheels.embed import BUNDLE_FOLDER, BUNDLE_SUPPORT

        major, minor, _ = self.base.version
        wheel = BUNDLE_SUPPORT.get(f"{major}.{minor}", {}).get("pip")
        return None if wheel is None else Path(BUNDLE_FOLDER) / wheel


def find_installer(
    environ: Mapping[str, str], base: Interpreter, choice: Choice = "auto"
) -> Installer:
    """uv (the ``uv`` package's own, else on PATH), else pip. Raises ``EnvError`` for a ``choice``
    that is not there."""
    if choice != "pip":
        found = _find_uv(environ)
        if found is not None:
            return UvInstaller(found, precompile=base.version >= (3, 7))
        if choice == "uv":
            raise EnvError("install", "uv is not installed", hint="install it: pip install uv")
    return PipInstaller(base)


def _find_uv(environ: Mapping[str, str]) -> Path | None:
    # It asks sysconfig, whose first answer is not yet whole for a thread that comes second.
    with _FINDING_UV, suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return Path(os.fsdecode(find_uv_bin()))
    found = shutil.which("uv", path=environ.get("PATH"))
    return None if found is None else Path(found)


def create_virtualenv(base: Interpreter, prefix: Path, prompt: str, tools: Toolbox) -> None:
    """Make an empty virtualenv of ``base`` at ``prefix``: no pip, no setuptools, nothing of ours.

    Raises ``EnvError`` (``install``) with virtualenv's own words.
    """
    done = tools.run(
        [
            *(sys.executable, "-P", "-m", "virtualenv", "--no-seed", "--no-vcs-ignore", "--quiet"),
            *("--no-periodic-update", "--activators", "bash,fish,cshell", "--prompt", prompt),
            *("--python", base.real_executable, prefix),
        ]
    )
    if done.returncode == 0 and (prefix / "bin" / "python").exists():
        _drop_unreadable_patches(base, prefix)
        return
    # virtualenv drops old interpreters with time (since 20.27 it says that it cannot make 3.6 ones,
    # and newer ones refuse more); venv is of the interpreter's own age.
    fallback = tools.run([base.real_executable, "-I", "-m", "venv", "--without-pip", prefix])
    if fallback.returncode == 0 and (prefix / "bin" / "python").exists():
        return
    said = f"{done.output}\n{fallback.output}".strip()
    subject = f"the virtualenv of {base.executable}"
    full = disk.refused_in(said, subject, disk.working_places(tools.environ, prefix))
    if full is not None:
        raise full
    lacks_venv = "No module named" in fallback.output or "ensurepip" in fallback.output
    raise EnvError(
        "install",
        f"no virtualenv can be made of {base.executable} (python {base.version_text})",
        hint="on Debian, the interpreter's venv module is a package of its own (python3-venv)"
        if lacks_venv
        else "virtualenv and the interpreter's own venv say why",
        detail=said,
    )


def _drop_unreadable_patches(base: Interpreter, prefix: Path) -> None:
    """virtualenv 21 still makes 3.6 and 3.7 environments, but puts a start-up module into them
    that they cannot parse: every start of their Python would print a traceback. It only guards
    distutils against a machine-wide distutils.cfg."""
    if base.version < (3, 8):
        folder = site_packages(prefix, base)
        for name in ("_virtualenv.pth", "_virtualenv.py"):
            (folder / name).unlink(missing_ok=True)


def failure(
    done: Completed, subject: str, environ: Mapping[str, str], installer: Installer, place: Path
) -> EnvError:
    """The error for an install into ``place`` that did not succeed; ``subject`` names environment and
    python."""
    said = done.output
    full = disk.refused_in(said, subject, disk.working_places(environ, place))
    if full is not None:
        return full
    lowered = said.lower()
    index = _index_hint(environ) if isinstance(installer, UvInstaller) else None
    if any(word.lower() in lowered for word in _NETWORK_WORDS):
        return EnvError(
            "install",
            f"{subject} cannot be installed: the package index cannot be reached",
            hint=index or "check the network and the index settings (UV_DEFAULT_INDEX)",
            detail=said,
        )
    if any(word.lower() in lowered for word in _RESOLUTION_WORDS):
        return EnvError(
            "resolution",
            f"{subject} cannot be resolved",
            hint=index or "change its requirements, or its python",
            detail=said,
        )
    unreadable = _UNREADABLE.search(said)
    if unreadable is not None:
        requirement = next(filter(None, unreadable.groups()))
        return EnvError(
            "install",
            f"{subject} cannot be installed: {requirement!r} is no requirement",
            hint=_requirement_hint(requirement),
            detail=said,
        )
    return EnvError(
        "install", f"{subject} cannot be installed", hint=index or _build_hint(said), detail=said
    )


def _requirement_hint(text: str) -> str:
    meant = re.sub(r"(?<![=<>!~])(=[<>]|=)(?!=)", lambda one: _MEANT[one[1]], text)
    return f"did you mean {meant}?" if meant != text else "write it as name==1.2, or name>=1.2,<2"


def _build_hint(said: str) -> str | None:
    """What to do where a release of a package, not a directory of the team's, could not be built."""
    match = re.search(
        r"Failed to build `([\w.-]+==[\w.+!-]+)`|Failed building wheel for ([\w.-]+)", said
    )
    if match is None:
        return None
    return (
        f"{match[1] or match[2]} has no wheel for this python, and cannot be built here: another python may have "
        "one (`python` of the environment), or another release of it"
    )


def _index_hint(environ: Mapping[str, str]) -> str | None:
    """uv does not read pip's settings: the failure of an install says so."""
    ours = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    pips = [name for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL") if name in environ]
    if not pips or any(name in environ for name in ours):
        return None
    return f"uv does not read {pips[0]}: set UV_DEFAULT_INDEX or UV_INDEX as well"
