"""``supervise env``: the virtualenvs of a workspace, made and looked at without a supervisor.

Owns which environments are meant, the progress that is shown and the form of the lists. How an
environment is made and when it may go is decided in ``envs``. Needs no running supervisor; one that
runs shares what is made here.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner_shim import masking
from supervisor.cli.completion import ENVIRONMENT
from supervisor.cli.options import Listing, json_option, selecting
from supervisor.cli.session import Session
from supervisor.cli.terminal import Terminal
from supervisor.errors import UnknownLocationError
from supervisor.nearest import listed, near
from supervisor.presentation import words
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from envs import EnvError, Environment, EnvironmentInfo, EnvironmentStore
    from supervisor.specs import EnvironmentSpec, WorkspaceSpec

__all__ = ["env_"]

# Installs wait for the network and the disk: a few side by side.
_THREADS = 4


@click.group("env", cls=Listing, short_help="Make, list and remove environments.")
def env_() -> None:
    """Make, list, show and remove the virtualenvs of a workspace."""


@env_.command("sync", short_help="Make environments that are missing or out of date.")
@click.argument("names", nargs=-1, metavar="[NAME]...", **ENVIRONMENT)
@json_option
@selecting
def sync(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Make the environments that are missing or out of date: all, or those NAMEd.

    NAME is that of an environment or of a location. What is up to date costs milliseconds. Exit
    status 1 when one cannot be made.
    """
    from supervisor.workspace_files import resolve

    spec = resolve(session.selection, cwd=session.cwd, environ=os.environ)
    requests = _requests(spec, names)
    store = _store(spec.directory)
    results = _sync_all(session.terminal, store, requests)
    failed = [error for _, error in results if error is not None]
    terminal = session.terminal
    if as_json:
        made = [_made(one) for one, _ in results if one is not None]
        terminal.data({"environments": made, "errors": [_error(one) for one in failed]})
        return 1 if failed else 0
    for request, (one, error) in zip(requests, results, strict=True):
        if one is not None:
            word = "made" if one.created else "up to date" if one.managed else "used as it is"
            terminal.print(f"{one.label}: {word}  {terminal.paint(str(one.prefix), 'dim')}")
            if one.pinned:
                terminal.print(terminal.paint(f"  {clean(one.pinned)}", "dim"))
        if error is not None:
            _explain(terminal, error, request.name)
    return 1 if failed else 0


@env_.command("lock", short_help="Write the versions that every machine gets.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@selecting
def lock(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Resolve the requirements of environments, and write the versions that every machine gets.

    All environments that are made from requirements, or those NAMEd. The lock of each is
    supervise-locks/NAME.txt beside its workspace file: commit it. From then on the environment is made
    from it, and not at all where its requirements are others. A project is locked by uv or poetry,
    a script by `uv lock --script`. Exit status 1 when one cannot be locked.
    """
    import envs
    from supervisor.workspace_files import resolve
    from supervisor.workspace_files.assembly import lock_path

    spec = resolve(session.selection, cwd=session.cwd, environ=os.environ)
    store = _store(spec.directory)
    terminal = session.terminal
    locks: list[dict[str, Any]] = []
    errors: list[EnvError] = []
    for one in _requests(spec, names):
        place = Path(one.origin.file).parent if one.origin else spec.directory
        path = lock_path(one, place)
        if path is None:
            if names:
                errors.append(_unlocked(one))
            continue
        try:
            changed = store.lock(one, path)
        except envs.EnvError as refused:
            errors.append(refused)
            continue
        locks.append({"name": one.name, "path": str(path), "changed": changed})
        if not as_json:
            word = "written" if changed else "up to date"
            terminal.print(f"{one.name}: {word}  {terminal.paint(str(path), 'dim')}")
    if as_json:
        terminal.data({"locks": locks, "errors": [_error(one) for one in errors]})
    else:
        for error in errors:
            _explain(terminal, error)
        if not locks and not errors:
            terminal.say("no environment of this workspace is made from requirements", "dim")
    return 1 if errors else 0


def _unlocked(one: EnvironmentSpec) -> EnvError:
    """Why ``supervise env lock`` has nothing to do for it."""
    from envs import EnvError

    subject = f"environment {one.name}" if one.name else "this environment"
    if one.script is not None:
        script = shlex.quote(str(one.script))
        return EnvError(
            "unknown", f"{subject} is that of a script", hint=f"uv lock --script {script}"
        )
    if one.project is not None:
        hint = f"uv lock --directory {shlex.quote(str(one.project))}"
        return EnvError("unknown", f"{subject} is made from a project", hint=hint)
    if one.requirements or one.requirements_file:
        hint = "move it to `environments`, under a name, and name it in the location"
        return EnvError("unknown", f"{subject} has no name to call a lock by", hint=hint)
    return EnvError("unknown", f"{subject} is not made from requirements")


def _requests(spec: WorkspaceSpec, names: Sequence[str]) -> list[EnvironmentSpec]:
    """What to make, each once, in the order of the workspace. Raises for an unknown name."""
    named = {one.name: one for one in spec.environments if one.name}
    located = {one.name: one.environment for one in spec.locations if one.remote is None}
    if not names:
        chosen = [*spec.environments, *located.values()]
    else:
        chosen = []
        for name in names:
            if name not in named and name not in located:
                meant = near(name, [*named, *located])
                known = list(dict.fromkeys((*named, *located)))
                said = f"did you mean {meant}?" if meant else listed(known)
                nothing = f"no environment or location is named {name!r}"
                raise UnknownLocationError(name, nothing, hint=said)
            chosen.append(named[name] if name in named else located[name])
    return list(dict.fromkeys(chosen))


def _store(directory: Path) -> EnvironmentStore:
    """The environments of the workspace in ``directory``; raises for another user's."""
    from envs import EnvironmentStore
    from supervisor.state_place import own_state

    root = own_state(directory, "envs")
    return EnvironmentStore(root, environ=os.environ, directory=directory)


_Result = tuple["Environment | None", "EnvError | None"]


def _sync_all(
    terminal: Terminal, store: EnvironmentStore, requests: Sequence[EnvironmentSpec]
) -> list[_Result]:
    """Make them side by side; progress, with the name in front, goes to standard error."""
    from concurrent.futures import ThreadPoolExecutor

    import envs

    cancel = threading.Event()
    lock = threading.Lock()
    began = time.monotonic()

    def told(step: envs.Progress) -> None:
        with lock:
            passed = words.seconds(time.monotonic() - began)
            terminal.say(
                clean(f"{passed:>6}  {step.environment}: {step.stage}: {step.text}"), "dim"
            )

    def make(request: EnvironmentSpec) -> _Result:
        try:
            made = store.sync(request, progress=told, cancel=cancel)
            _provide_runtime(made, told, cancel)
        except envs.EnvError as error:
            return None, error
        return made, None

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            return list(pool.map(make, requests))
        except BaseException:
            cancel.set()  # Ctrl-C: what is under way is taken back, not left half-made
            raise


def _provide_runtime(made: Environment, told: Any, cancel: threading.Event) -> None:
    """The shim's own libraries as well, so that the first start needs no network."""
    import envs

    with contextlib.suppress(envs.EnvError):  # the location says so, if it has none of its own
        envs.ensure_overlay(made.interpreter, environ=os.environ, progress=told, cancel=cancel)


def _error(one: EnvError) -> dict[str, Any]:
    return {"kind": one.kind, "message": one.message, "hint": one.hint, "detail": one.detail}


def _explain(terminal: Terminal, error: EnvError, name: str | None = None) -> None:
    """Tell it, with the ``name`` of the environment where the sentence has that not."""
    named = name is None or f"environment {name} " in error.message
    terminal.error(error.message if named else f"environment {name}: {error.message}")
    for line in error.detail.strip().splitlines():
        terminal.say(f"  {clean(line)}")
    if error.hint:
        terminal.say(f"hint: {clean(error.hint)}")


def _made(one: Environment) -> dict[str, Any]:
    return {
        "name": one.name,
        "key": one.key,
        "python": one.interpreter.version_text,
        "executable": str(one.interpreter.executable),
        "prefix": str(one.prefix),
        "managed": one.managed,
        "created": one.created,
        "pinned": one.pinned,
    }


def _existing(session: Session) -> EnvironmentStore:
    """The store of the workspace, whether or not its files can be read."""
    from supervisor.workspace_files import identify

    directory, _ = identify(session.selection, cwd=session.cwd)
    return _store(directory)


@env_.command("list", short_help="List the environments on disk (the default).")
@json_option
@selecting
def list_environments(session: Session, as_json: bool) -> int:
    """List the virtualenvs that were made for this workspace."""
    found = _existing(session).list(sizes=True)
    terminal = session.terminal
    if as_json:
        terminal.data({"environments": [_info(one) for one in found]})
    elif found:
        now = time.time()
        rows = [
            [
                one.name,
                one.python,
                _state(terminal, one),
                words.ago(one.created_at, now),
                words.size(one.size),
                str(one.prefix),
            ]
            for one in found
        ]
        terminal.table(
            ("ENVIRONMENT", "PYTHON", "STATE", "AGE", "SIZE", "PATH"), rows, right=frozenset({3, 4})
        )
    else:
        terminal.say("no environments have been made for this workspace", "dim")
    return 0


def _state(terminal: Terminal, one: EnvironmentInfo) -> str:
    if not one.complete:
        return terminal.paint("incomplete", "yellow")
    return terminal.paint("current", "green") if one.current else terminal.paint("old", "dim")


@env_.command("show", short_help="Show one environment and what is installed in it.")
@click.argument("name", **ENVIRONMENT)
@json_option
@selecting
def show(session: Session, name: str, as_json: bool) -> int:
    """Show the environment NAME (or a key's first six digits) and what is installed in it."""
    from envs import EnvError

    terminal = session.terminal
    try:
        one = _existing(session).show(name)
    except EnvError as error:
        hint = error.hint or "see `supervise env list`"
        if as_json:
            terminal.row({"error": {"code": error.kind, "message": error.message, "hint": hint}})
        else:
            terminal.error(error.message, hint)
        return 4 if error.kind == "unknown" else 1
    if as_json:
        terminal.data(_info(one))
        return 0
    terminal.print(
        f"{terminal.paint(one.name, 'bold')} - python {one.python}, {_state(terminal, one)}"
    )
    wanted = ", ".join(masking.masked_text(text) for text in one.requirements)
    facts: Mapping[str, object] = {
        "Key": one.key,
        "Path": one.prefix,
        "Made": f"{words.moment(one.created_at)}; {words.ago(one.created_at, time.time())} ago",
        "Made from": one.interpreter,
        "Requires": wanted or one.requirements_file or one.project or one.script or "nothing",
        "Pinned": one.pinned,
    }
    terminal.print(*(f"{label:>10}: {clean(str(text))}" for label, text in facts.items() if text))
    terminal.print(f"{'Installed':>10}: {words.plural(len(one.installed), 'distribution')}")
    terminal.print(*(f"{'':12}{name} {version}" for name, version in sorted(one.installed.items())))
    return 0


@env_.command("remove", short_help="Remove environments.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", **ENVIRONMENT)
@json_option
@selecting
def remove(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Remove each environment NAME; one that a process runs in is refused.

    Exit status 0 also for one that is not there.
    """
    from envs import EnvError

    store = _existing(session)
    terminal = session.terminal
    removed: list[EnvironmentInfo] = []
    refused: list[EnvError] = []
    for name in names:
        try:
            removed += store.remove(name)
        except EnvError as error:
            if error.kind == "unknown":
                terminal.say(f"{name}: not there")
            else:
                refused.append(error)
    if as_json:
        terminal.data(
            {
                "removed": [_info(one) for one in removed],
                "errors": [{"kind": e.kind, "message": e.message, "hint": e.hint} for e in refused],
            }
        )
    else:
        terminal.print(*(f"{one.name}: removed {one.prefix}" for one in removed))
        for one in refused:
            terminal.error(one.message, one.hint)
    return 1 if refused else 0


def _info(one: EnvironmentInfo) -> dict[str, Any]:
    return {
        "name": one.name,
        "key": one.key,
        "prefix": str(one.prefix),
        "python": one.python,
        "interpreter": str(one.interpreter) if one.interpreter else None,
        "current": one.current,
        "complete": one.complete,
        "created_at": one.created_at,
        "size": one.size,
        "requirements": masking.masked(list(one.requirements)),
        "requirements_file": str(one.requirements_file) if one.requirements_file else None,
        "project": str(one.project) if one.project else None,
        "script": str(one.script) if one.script else None,
        "pinned": one.pinned,
        "installed": dict(one.installed),
    }
