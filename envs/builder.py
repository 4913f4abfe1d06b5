"""One build of one virtualenv, from nothing to filled and checked.

Owns the order of the steps and what of a request becomes which installer call. It works in the
directory that it is given and assumes that it is alone there and that it starts empty; locks,
markers and cleaning up after a failure are the store's.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .credentials import apart, write_private
from .errors import EnvError
from .inputs import requirement_words, working_directory
from .installers import Installer, Toolbox, UvInstaller, create_virtualenv, failure
from .interpreters import Interpreter, probe
from .locking import check_lock, python_of_lock
from .model import Environment, EnvironmentRequest, Stage
from .projects import (
    locked_root,
    passed_over,
    pins_of_poetry,
    project_plan,
    required_python,
    requirements_of,
)
from .scripts import lock_of_script, read_script
from .seeds import add_setuptools, site_packages
from .uv_lock import refused_python, unlocked

__all__ = ["build", "python_of_files"]


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
    if request.lock is not None:
        check_lock(request.lock, request, directory, subject)
    if request.project is not None and locked_root(request.project) is not None:
        required = refused_python(request.project, base.version_text)
        if required:
            raise EnvError(
                "interpreter",
                f"{subject} cannot be made: {request.project} takes python {required}",
                hint="change its `python`, or leave that out: one that fits is taken then",
            )
    prefix.parent.mkdir(parents=True, exist_ok=True)
    say(stage, f"creating a virtualenv of {base.executable}")
    create_virtualenv(base, prefix, name, tools)
    python = prefix / "bin" / "python"
    stage = Stage.RESOLVE
    pinned = _pinned(request)
    if pinned:
        say(stage, pinned)
    if _Filling(request, python, installer, tools, subject, directory).fill() and add_setuptools(
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
        script=request.script,
        pinned=pinned,
        installed=_installed(prefix, interpreter),
    )


def python_of_files(request: EnvironmentRequest) -> tuple[Path | None, str | None]:
    """The file or project of ``request`` that says which Python it takes, and what it says; of locked
    requirements, the version that they were locked for. None where ``python`` is written."""
    if request.python is not None:
        return None, None
    if request.script is not None:
        return request.script, read_script(request.script).requires_python
    if request.project is not None:
        return request.project, required_python(request.project)
    return request.lock, None if request.lock is None else python_of_lock(request.lock)


def _pinned(request: EnvironmentRequest) -> str:
    """Which lock pins what is installed, and which is passed over; "" without any."""
    if request.script is not None:
        lock = lock_of_script(request.script)
        return f"versions of {lock}" if lock.is_file() else ""
    if request.lock is not None:
        return f"versions of {request.lock}"
    project = request.project
    if project is None:
        return ""
    root = locked_root(project)
    used, place = ("uv.lock", root) if root is not None else ("poetry.lock", project)
    if root is None and not (project / "poetry.lock").is_file():
        used = ""
    said = [f"versions of {place / used}" if used else "", passed_over(project, used)]
    return "; ".join(filter(None, said))


@dataclass(frozen=True, slots=True)
class _Filling:
    """What is installed into one environment, and in which calls of the installer."""

    request: EnvironmentRequest
    python: Path
    installer: Installer
    tools: Toolbox
    subject: str
    directory: Path

    @property
    def prefix(self) -> Path:
        return self.python.parent.parent

    def fill(self) -> bool:
        """Install what is asked for; False when that is nothing."""
        request = self.request
        if request.script is not None:
            return self._script(request.script)
        if request.lock is not None:
            self._install(["-r", str(request.lock)])
            return True
        words = self._words(request.requirements, self.directory)
        if request.requirements_file is not None:
            words += ["-r", str(request.requirements_file)]
        if request.project is None:
            if words:
                self._install(words)
            return bool(words)
        return self._project(request.project, words)

    def _project(self, project: Path, words: list[str]) -> bool:
        plan = project_plan(project)
        beside = requirements_of(project, self.request.extras, self.request.groups)
        extras = f"[{','.join(self.request.extras)}]" if self.request.extras else ""
        locked = locked_root(project)
        if locked is not None:
            self._fits(project, locked / "uv.lock")
            chosen = [word for name in self.request.extras for word in ("--extra", name)]
            chosen += [word for name in self.request.groups for word in ("--group", name)]
            if "dev" not in self.request.groups:
                chosen.append("--no-dev")
            options = ["--frozen", "--no-emit-project", "--project", str(project), *chosen]
            # Paths in the export (editable members) are relative to where the lock is.
            self._export(options, locked / "uv.lock", cwd=locked)
            if plan == "editable":
                self._install(["--no-deps", "-e", str(project)])
            if words:
                self._install(words)
            return True
        if plan == "requirements":
            words = ["-r", str(project / "requirements.txt"), *words]
        words = [*self._words(beside, project), *words]
        if plan == "editable":
            words = ["-e", f"{project}{extras}", *words]
        pins = pins_of_poetry(project)
        if pins and words:
            file = self.prefix / "poetry-lock-constraints.txt"
            file.write_text("\n".join([*pins, ""]), encoding="utf-8")
            words += ["-c", str(file)]
        if words:
            self._install(words, pinned=project / "poetry.lock" if pins else None)
        return bool(words)

    def _fits(self, project: Path, lock: Path) -> None:
        missing = unlocked(project, lock)
        if missing:
            raise EnvError(
                "resolution",
                f"{self.subject} cannot be installed: {lock} was not made for {', '.join(missing)} "
                f"of {project / 'pyproject.toml'}",
                hint=f"run `uv lock --project {shlex.quote(str(project))}`",
            )

    def _script(self, script: Path) -> bool:
        """What its block lists; from its lock, with hashes, where there is one."""
        block, lock = read_script(script), lock_of_script(script)
        if lock.is_file():
            self._export(["--frozen", "--script", str(script)], lock, block.index)
        elif block.sources and isinstance(self.installer, UvInstaller):
            self._export(["--script", str(script)], script, block.index)
        elif block.dependencies:
            words = self._words(block.dependencies, script.parent)
            self._install([*self._index(block.index), *words])
        return bool(block.dependencies)

    def _index(self, words: Sequence[str]) -> Sequence[str]:
        return words if isinstance(self.installer, UvInstaller) else ()

    def _words(self, lines: Sequence[str], place: Path) -> list[str]:
        return [word for line in lines for word in requirement_words(line, place)]

    def _install(
        self, arguments: Sequence[str], *, cwd: Path | None = None, pinned: Path | None = None
    ) -> None:
        tools = self.tools if cwd is None else replace(self.tools, cwd=cwd)
        shown, variables, lines = apart(arguments, self.installer.variables)
        private = self.prefix / "private-requirements.txt"
        try:
            if lines:
                write_private(private, lines)
                shown += ["-r", str(private)]
            tools = replace(tools, environ={**tools.environ, **variables})
            done = self.installer.install(self.python, shown, tools)
        finally:
            private.unlink(missing_ok=True)
        if done.returncode != 0:
            error = failure(done, self.subject, tools.environ, self.installer, self.prefix)
            if pinned is not None and error.kind == "resolution":
                hint = f"{pinned} does not fit pyproject.toml: write it again with `poetry lock`"
                raise EnvError(error.kind, error.message, hint=hint, detail=error.detail)
            raise error

    def _export(
        self,
        options: Sequence[str],
        lock: Path,
        index: Sequence[str] = (),
        *,
        cwd: Path | None = None,
    ) -> None:
        """Install what uv says that ``lock`` pins, with its hashes; the lock is read, never changed."""
        if not isinstance(self.installer, UvInstaller):
            raise EnvError(
                "install",
                f"{self.subject} cannot be installed: {lock} needs uv, which is not there",
                hint=f"install uv, or remove {lock.name} to resolve without it",
            )
        exported = self.installer.export(options, self.python, replace(self.tools, say=None))
        if exported.returncode != 0:
            raise failure(exported, self.subject, self.tools.environ, self.installer, self.prefix)
        pinned = self.prefix / "uv-lock-requirements.txt"
        pinned.write_text(exported.stdout, encoding="utf-8")
        self._install([*index, "-r", str(pinned)], cwd=cwd)


def _installed(prefix: Path, interpreter: Interpreter) -> dict[str, str]:
    from importlib.metadata import distributions

    folder = site_packages(prefix, interpreter)
    found: dict[str, str] = {}
    for item in distributions(path=[str(folder)]):
        name = item.metadata["Name"]
        if name:
            found[str(name)] = item.version
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))
