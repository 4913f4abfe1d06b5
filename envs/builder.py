"""One build of one virtualenv, from nothing to filled and checked.

Owns the order of the steps and what of a request becomes which installer call. It works in the
directory that it is given and assumes that it is alone there and that it starts empty; locks,
markers and cleaning up after a failure are the store's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from .errors import EnvError
from .inputs import locked_root, project_plan, requirement_words, working_directory
from .installers import Installer, Toolbox, UvInstaller, create_virtualenv, failure
from .interpreters import Interpreter, probe
from .model import Environment, EnvironmentRequest, Stage
from .seeds import add_setuptools, site_packages

__all__ = ["build"]


def build(
    request: EnvironmentRequest,
    base: Interpreter,
    *,
    name: str,
    key: str,
    prefix: Path,
    installer: Installer,
    environ: Mapping[str, str],
    directory: Path,
    say: Callable[[Stage, str], None],
    cancel: threading.Event | None,
) -> Environment:
    """Make the virtualenv at ``prefix`` and fill it. Raises ``EnvError``, or ``OSError`` when the
    disk will not have it."""
    stage = Stage.CREATE

    def line(text: str) -> None:
        nonlocal stage
        # uv's and pip's words for having decided: what follows is fetching and unpacking.
        if text.startswith(("Resolved ", "Installing collected packages")):
            say(stage, text)
            stage = Stage.INSTALL
        else:
            say(stage, text)

    where = working_directory(request, directory)
    tools = Toolbox(environ, where if where.is_dir() else None, line, cancel)
    subject = f"environment {name} (python {base.version_text})"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    say(stage, f"creating a virtualenv of {base.executable}")
    create_virtualenv(base, prefix, name, tools)
    python = prefix / "bin" / "python"
    stage = Stage.RESOLVE
    words = [word for line in request.requirements for word in requirement_words(line, directory)]
    if request.requirements_file is not None:
        words += ["-r", str(request.requirements_file)]
    if _fill(request.project, words, python, installer, tools, subject) and add_setuptools(
        base, prefix
    ):
        say(stage, "added the setuptools that came with its python")
    # Its own word that it starts; the rest of the answer is what the base said already.
    answer = probe(python, environ=environ)
    interpreter = replace(answer, base_prefix=base.base_prefix)
    return Environment(
        name=name,
        key=key,
        interpreter=interpreter,
        prefix=prefix,
        managed=True,
        created=True,
        anonymous=request.name is None,
        requirements=request.requirements,
        requirements_file=request.requirements_file,
        project=request.project,
        installed=_installed(prefix, interpreter),
    )


def _fill(
    project: Path | None,
    words: list[str],
    python: Path,
    installer: Installer,
    tools: Toolbox,
    subject: str,
) -> bool:
    """Install what is asked for; False when that is nothing."""

    def install(arguments: list[str]) -> None:
        done = installer.install(python, arguments, tools)
        if done.returncode != 0:
            raise failure(done, subject, tools.environ, installer, python.parent.parent)

    if project is None:
        if words:
            install(words)
        return bool(words)
    plan = project_plan(project)
    locked = locked_root(project)
    if locked is not None:
        _install_locked(project, locked, python, installer, tools, subject)
        if plan == "editable":
            install(["--no-deps", "-e", str(project)])
        if words:
            install(words)
    elif plan == "editable":
        install(["-e", str(project), *words])
    elif plan == "requirements":
        install(["-r", str(project / "requirements.txt"), *words])
    else:
        listed = _dependencies(project / "pyproject.toml")
        if listed or words:
            install([*listed, *words])
        return bool(listed or words)
    return True


def _install_locked(
    project: Path,
    root: Path,
    python: Path,
    installer: Installer,
    tools: Toolbox,
    subject: str,
) -> None:
    """Install what the lock pins, with its hashes; the lock is read, never changed."""
    if not isinstance(installer, UvInstaller):
        raise EnvError(
            "install",
            f"{subject} cannot be installed: {root / 'uv.lock'} needs uv, which is not there",
            hint="install uv, or remove uv.lock to resolve without it",
        )
    exported = installer.export(project, python, replace(tools, say=None))
    if exported.returncode != 0:
        raise failure(exported, subject, tools.environ, installer, python.parent.parent)
    pinned = python.parent.parent / "uv-lock-requirements.txt"
    pinned.write_text(exported.stdout, encoding="utf-8")
    # Paths in the export (editable members) are relative to where the lock is.
    done = installer.install(python, ["-r", str(pinned)], replace(tools, cwd=root))
    if done.returncode != 0:
        raise failure(done, subject, tools.environ, installer, python.parent.parent)


def _dependencies(declaration: Path) -> list[str]:
    import tomllib

    table = tomllib.loads(declaration.read_text(encoding="utf-8"))
    listed = table.get("project", {}).get("dependencies", [])
    return [str(item) for item in listed]


def _installed(prefix: Path, interpreter: Interpreter) -> dict[str, str]:
    from importlib.metadata import distributions

    folder = site_packages(prefix, interpreter)
    found: dict[str, str] = {}
    for item in distributions(path=[str(folder)]):
        name = item.metadata["Name"]
        if name:
            found[str(name)] = item.version
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))
