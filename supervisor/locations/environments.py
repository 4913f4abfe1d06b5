"""Environments for locations: the asynchronous side of ``envs``.

Owns the worker threads in which environments are made, so that a slow install blocks no other location,
and sees to it that locations which need the same environment wait for one making of it. Turns a
spec into a ``PreparedEnvironment``: what to launch and with which variables. Decides nothing about locations.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import envs
from envs.children import run
from supervisor.processes.launcher import PreparedEnvironment
from supervisor.specs import EnvironmentSpec

__all__ = ["Environments", "request_of"]

# Installs wait for the network and the disk, probes for a process: a few of each side by side.
_THREADS = 4
# For two imports (seconds).
_LOOK_TIMEOUT = 20.0

Told = Callable[[str], None]


def request_of(spec: EnvironmentSpec) -> envs.EnvironmentRequest:
    """The spec as ``envs`` takes it."""
    return envs.EnvironmentRequest(
        name=spec.name,
        python=spec.python,
        executable_path=spec.executable_path,
        requirements=spec.requirements,
        requirements_file=spec.requirements_file,
        project=spec.project,
        extras=spec.extras,
        groups=spec.groups,
        script=spec.script,
        lock=spec.lock,
    )


class _Making:
    """One making of an environment; ``listeners`` get its progress. ``reading`` once files may be read."""

    task: asyncio.Task[PreparedEnvironment]

    def __init__(self) -> None:
        self.listeners: list[Told] = []
        self.reading = False


class Environments:
    """Prepares environments under ``root`` (``.supervise/envs``).

    With ``elsewhere`` nothing is written to ``root``: what is not made there yet is made elsewhere.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str], elsewhere: Path | None = None
    ) -> None:
        self._environ = environ
        self._root = root
        self._elsewhere = elsewhere
        # Its first use fills a cache without a lock: two threads at once would see it half full.
        sysconfig.get_config_vars()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="environment")
        self._cancel = threading.Event()
        self._under_way: dict[EnvironmentSpec, _Making] = {}
        self._known: WeakValueDictionary[EnvironmentSpec, PreparedEnvironment]
        self._known = WeakValueDictionary()

    async def prepare(self, spec: EnvironmentSpec, told: Told) -> PreparedEnvironment:
        """Make sure that ``spec`` exists; ``told`` gets the progress, as texts. Raises ``envs.EnvError``.

        Callers that come together share one making. One that comes later waits for it and has it
        looked at once more: the files that it is made from may have changed since they were read.
        A caller that is cancelled leaves it running: another may need it, and what is made is kept.
        """
        while (making := self._under_way.get(spec)) is not None and making.reading:
            making.listeners.append(told)
            await asyncio.wait([making.task])
        if making is None:
            making = self._under_way[spec] = _Making()
            making.task = asyncio.create_task(self._make(spec, making))
            making.task.add_done_callback(lambda done: self._done(spec, done))
        making.listeners.append(told)
        return await asyncio.shield(making.task)

    async def make(self, request: envs.EnvironmentRequest, told: Told) -> envs.Environment:
        """An environment for something else than a location; ``told`` gets the progress, in the loop.

        Raises ``envs.EnvError``. A caller that is cancelled leaves it running.
        """
        loop = asyncio.get_running_loop()

        def progress(step: envs.Progress) -> None:
            loop.call_soon_threadsafe(told, f"{step.stage}: {step.text}")

        def make() -> envs.Environment:
            return self._store().sync(request, progress=progress, cancel=self._cancel)

        return await loop.run_in_executor(self._pool, make)

    async def collect(self, in_use: Iterable[Path]) -> None:
        """Remove old virtualenvs that no process uses."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, lambda: self._store().collect(list(in_use)))

    def close(self) -> None:
        """Abandon what is under way; half-made environments are rebuilt another time."""
        self._cancel.set()
        for making in self._under_way.values():
            making.task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, spec: EnvironmentSpec, task: asyncio.Task[PreparedEnvironment]) -> None:
        del self._under_way[spec]
        if not task.cancelled():
            task.exception()  # it was delivered to those that still wait

    async def _make(self, spec: EnvironmentSpec, making: _Making) -> PreparedEnvironment:
        loop = asyncio.get_running_loop()
        making.reading = True

        def progress(step: envs.Progress) -> None:
            text = f"{step.stage}: {step.text}" if step.text else str(step.stage)
            loop.call_soon_threadsafe(self._tell, making.listeners, text)

        made = await loop.run_in_executor(self._pool, partial(self._make_now, spec, progress))
        known = self._known.get(spec)
        if known == made:  # one object for all who use it: its variables take some room
            return known
        self._known[spec] = made
        return made

    @staticmethod
    def _tell(listeners: list[Told], text: str) -> None:
        for told in listeners:
            told(text)

    def _store(self) -> envs.EnvironmentStore:
        # By the workspace's real place: a link to it may lead elsewhere one day, and what runs in an
        # environment must find it where it was.
        state = self._root.parent
        workspace = Path(os.path.realpath(state.parent))
        root = workspace / state.name / self._root.name
        if self._elsewhere is None:
            return envs.EnvironmentStore(root, environ=self._environ)
        return envs.EnvironmentStore(
            self._elsewhere, environ=self._environ, directory=workspace, made=root
        )

    def _make_now(
        self, spec: EnvironmentSpec, progress: Callable[[envs.Progress], None]
    ) -> PreparedEnvironment:
        workspace = self._root.parent.parent
        if spec.managed and not workspace.is_dir():
            raise envs.EnvError(
                "storage",
                f"{workspace} is gone: no environment is made in it",
                hint="move the workspace's directory back, or supervise it where it is now",
            )
        environment = self._store().sync(spec, progress=progress, cancel=self._cancel)
        overlay: Path | None
        try:
            overlay = envs.ensure_overlay(
                environment.interpreter,
                environ=self._environ,
                progress=progress,
                cancel=self._cancel,
            )
        except envs.EnvError:
            # No index to be reached, say: the team may have installed both itself.
            if not _has_own_runtime(environment.interpreter.executable):
                raise
            overlay = None
        executable = environment.interpreter.executable
        if spec.lacks is not None:
            adding = envs.making_command(spec.lacks)
        elif environment.managed or environment.prefix.resolve() == Path(sys.prefix).resolve():
            adding = ""  # what is added to the supervisor's own is lost when that is upgraded
        else:
            adding = envs.adding_command(executable, environment.prefix)
        return PreparedEnvironment(
            environment,
            overlay,
            envs.activate(environment, self._environ),
            _place(executable),
            adding,
        )


def _has_own_runtime(executable: Path) -> bool:
    """True when the team's own environment holds pyzmq and msgpack."""
    command = [str(executable), "-c", "import zmq, msgpack"]
    try:
        done = run(command, environ=os.environ, timeout=_LOOK_TIMEOUT)
    except OSError:
        return False
    return done.returncode == 0 and not done.timed_out


def _place(executable: Path) -> str:
    # A virtualenv's interpreter is a link, most often to one that others share.
    return f"{os.path.realpath(executable.parent)}:{os.path.realpath(executable)}"
