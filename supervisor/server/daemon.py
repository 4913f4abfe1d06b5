"""The supervisor itself: puts the parts together and keeps them until told to stop.

Owns the lock on the workspace, the sockets, the set of locations and its changing with the
workspace's files. Everything is created here and ended here. How a location lives is ``location``,
what clients may ask is ``methods``; user code never runs in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from supervisor import __version__
from supervisor.change_signal import ChangeSignal
from supervisor.conditions import Conditions
from supervisor.curve_keys import KeyDirectory
from supervisor.descriptors import raise_descriptor_limit, shortage
from supervisor.errors import (
    ConfigurationError,
    ConfigurationProblem,
    RequestError,
    UnknownLocationError,
)
from supervisor.locations.attempt import Services
from supervisor.locations.environments import Environments
from supervisor.locations.liveness import LivenessProbe
from supervisor.locations.location import Location, Watching
from supervisor.locations.location_log import LocationLog
from supervisor.locations.log_files import LogFiles, LogHandler
from supervisor.locations.prefixes import Prefixes
from supervisor.locations.transport import Transport, thrifty_context
from supervisor.locations.verifier import Verifier
from supervisor.nearest import nearest
from supervisor.presence import Presence
from supervisor.processes import orphans
from supervisor.processes.forkserver_pool import ForkserverPool
from supervisor.processes.launcher import SpawnLauncher
from supervisor.processes.limits import Cgroups
from supervisor.processes.preload_profile import PreloadProfile
from supervisor.processes.process import adopt_orphans, reap_orphans
from supervisor.processes.reaper import Reaper
from supervisor.processes.start_limiter import StartLimiter
from supervisor.runs.store import Runs
from supervisor.runtime_dir import CONTROL, SHIMS, Rendezvous
from supervisor.server.handlers import Handlers
from supervisor.server.placing import Placer
from supervisor.server.preflight import claim, preflight, starting
from supervisor.server.rereading import Rereading
from supervisor.server.rpc import Control, RemoteControl
from supervisor.server.sd_notify import Notifier
from supervisor.server.state_directory import StateDirectory
from supervisor.server.upkeep import Kept, Upkeep
from supervisor.snapshots.snapshot import Snapshot
from supervisor.snapshots.store import SnapshotStore
from supervisor.specs import LocationSpec, WorkspaceSpec
from supervisor.watching.dependencies import Looked
from supervisor.watching.file_watch import Disk, FileWatch
from supervisor.watching.site_packages import Packages, fingerprint
from supervisor.watching.watcher import Watcher
from supervisor.workspace_files import Selection, names, resolve

__all__ = ["Daemon"]

_log = logging.getLogger("supervisor")

_WORKSPACE_OWNER = "\0workspace"  # no location can have this name
_COLLECT_DELAY = 5.0
# How long runs go on by themselves when the supervisor is told to stop (seconds).
_RUN_GRACE = 5.0


class Daemon:
    """Supervises the workspace that ``selection`` names.

    ``once`` loads everything one time: no watching, no restarts, a private state directory.
    ``listen`` (``tcp://host:port``) is where clients that have keys are answered, too. ``started`` is set when clients can connect. ``run`` returns after
    ``shutdown``.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        cwd: Path,
        environ: Mapping[str, str],
        once: bool = False,
        listen: str | None = None,
    ) -> None:
        self._listen = listen
        self._selection = selection
        self._cwd = cwd
        self._environ = dict(environ)
        self._notifier = Notifier.from_environ(self._environ)
        self._once = once
        self._read_ns = time.time_ns()
        self.spec: WorkspaceSpec = self.read()
        self.started = asyncio.Event()
        self.started_at = time.time()
        self.revision = 0
        self.locations: dict[str, Location] = {}
        self.remotes: dict[str, LocationSpec] = {}
        self.problems: tuple[ConfigurationProblem, ...] = ()
        self.conditions = Conditions(self.changed, time.time)
        self.news = ChangeSignal()
        self._stop = asyncio.Event()
        self._at_once = self._leave_runs = False
        self._background: set[asyncio.Task[None]] = set()
        self._collecting: asyncio.TimerHandle | None = None
        self._leaving: dict[str, Location] = {}
        check = f".check-{os.getpid()}" if once else ""
        found = names(selection, cwd=cwd, environ=environ)
        self._names = [(directory, key + check) for directory, key in found]
        directory, key = self._names[0]
        self.state = StateDirectory(directory / ".supervise", key, temporary=once)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._earlier: dict[str, Snapshot] = {}
        database = None if once else self.state.path / "snapshots.db"
        self.store = SnapshotStore(database, self._hear, self.state.ensure)
        self.runs: Runs
        self.rendezvous = Rendezvous.for_workspace(directory, key, self._environ)
        self._rereading = Rereading(self, self.started, self._stop.is_set, self._spawn)
        self._presence = Presence(lambda: {**self.rendezvous.base_info, **self.rendezvous.info})

    async def run(self) -> None:
        """Serve until ``shutdown``; raises before anything is started if it cannot serve."""
        self._descriptors = raise_descriptor_limit()
        preflight()
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(self._presence.close)
            with starting():
                await claim(self.spec.title, self._names, self._presence, self.state, self._environ)
            closing.callback(self.state.close)
            with starting():
                self._logs = LogFiles(self.conditions.tell("logs_unwritable"))
            closing.push_async_callback(self._logs.close)
            handler = LogHandler(self._logs, self.state.path / "supervisor.log")
            closing.callback(handler.close)
            _log.addHandler(handler)
            closing.callback(_log.removeHandler, handler)
            _log.setLevel(logging.INFO)
            _log.info("%s: pid %d, version %s", self.spec.title, os.getpid(), __version__)
            with starting():
                self.rendezvous.open()
            closing.callback(self.rendezvous.close)
            await self._serve()

    def shutdown(self, at_once: bool = False, *, leave_runs: bool = False) -> None:
        """Stop everything; ``at_once`` kills instead of asking. ``leave_runs``: but runs, which the
        next supervisor adopts."""
        self._leave_runs = leave_runs and not at_once
        if at_once and not self._at_once:
            self._at_once = True
            for location in self._all_locations():
                location.stop("the supervisor was told to stop at once", at_once=True)
        self._stop.set()

    def reread(self) -> None:
        """Read the workspace's files again, whether or not they are known to have changed."""
        self._notifier.reloading()
        self._rereading.ask(set())

    def changed(self) -> None:
        """Something that clients can see has changed."""
        self.revision += 1
        self.news.tell()

    @property
    def stopping(self) -> bool:
        """True once it was told to stop."""
        return self._stop.is_set()

    def ordered(self) -> list[Location]:
        """The locations in the workspace's order."""
        return list(self.locations.values())

    def location(self, name: str) -> Location:
        """The location of that name; raises ``UnknownLocationError`` or ``RequestError``."""
        if name in self.remotes:
            raise RequestError(f"{name} is served elsewhere: it has no process here")
        found = self.locations.get(name)
        if found is None:
            raise UnknownLocationError(name, hint=nearest(name, [*self.locations, *self.remotes]))
        return found

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as closing:
            controls = self._open(closing)
            self._services.transport.start(self.conditions.tell("open_files_shims"))
            if not self._once:
                self._watcher.start()
                self.reading_began(self._read_ns)
            await self._verifier.open()
            self._earlier = await self.store.open({one.name for one in self.spec.locations})
            self.conditions.tell("open_files_limit")(shortage(len(self.spec.locations)))
            for spec in self.spec.locations:
                self._add(spec, "the supervisor started")
                await asyncio.sleep(0)  # the first go on
            await self.runs.open()
            for control, key in zip(controls, ("open_files", "open_files_tcp"), strict=False):
                control.start(self.conditions.tell(key))
            with starting():
                self.rendezvous.announce(
                    {
                        "workspace": self.spec.title,
                        "files": [str(path) for path in self.spec.files],
                        "once": self._once,
                        "listen": None if self._listen is None else controls[-1].address,
                    }
                )
            self._upkeep.start()
            self.started.set()
            self._notifier.ready(f"supervising {self.spec.title}")
            self._spawn(self._notifier.keep_alive())
            await self._stop.wait()

    def _open(self, closing: contextlib.AsyncExitStack) -> list[Control | RemoteControl]:
        """Make what locations share; ``closing`` is told the way back, last things first."""
        context = thrifty_context()
        closing.callback(context.destroy, 0)
        closing.callback(self.store.close)
        closing.callback(self._cancel_background)
        with starting():
            transport = Transport(context, self.rendezvous.shim_address)
        closing.push_async_callback(transport.close)
        environments = Environments(self.state.root / "envs", self._environ)
        closing.callback(environments.close)
        with starting():
            self._disk = Disk()
        closing.callback(self._disk.close)
        self._watcher = Watcher(self._paths_changed, self._armed, self.conditions.tell("watching"))
        closing.push_async_callback(self._watcher.close)
        self._packages = Packages(self._watcher, self._disk, self._packages_changed)
        closing.callback(self._packages.close)
        self._files = FileWatch(
            _WORKSPACE_OWNER, self._disk, self._watcher.watch, self._inputs_changed
        )
        methods = Handlers(self).table()
        with starting():
            control = Control(context, self.rendezvous.control_address, methods)
        closing.push_async_callback(control.close)
        controls: list[Control | RemoteControl] = [control]
        kept = Kept(
            self._names[0], self.state, self.rendezvous, self._presence, self.store,
            {CONTROL: control.rebind, SHIMS: transport.rebind},
        )  # fmt: skip
        self._upkeep = Upkeep(kept, self.conditions, self._is_back, Prefixes(self.ordered))
        closing.push_async_callback(self._upkeep.close)
        if self._listen is not None:
            remote = RemoteControl(self._listen, methods, KeyDirectory(self.state.path))
            closing.push_async_callback(remote.close)
            controls.append(remote)
        cgroups = Cgroups()
        closing.callback(cgroups.close)
        reaper = self._reaper = Reaper()
        closing.callback(reaper.close)
        adopt_orphans()
        self._spawn(reap_orphans(reaper.sessions, look=self.look_for_strays))
        slots = StartLimiter()
        launcher = self._launcher = ForkserverPool(
            SpawnLauncher(reaper, self._descriptors, cgroups),
            PreloadProfile(None if self._once else self.state.path / "preload.json"),
            slots,
            lambda name: LocationLog(self._logs, self.state.log_path(f"forkserver {name}")).output,
            fingerprint,
        )
        closing.push_async_callback(launcher.close)
        closing.push_async_callback(self._end_locations)
        placer, runtime = (
            Placer(lambda: self.locations, self.news),
            self.rendezvous.runtime_directory,
        )
        self.runs = Runs(self.state.path / "runs", runtime / "runs.sock", placer, self.changed)
        closing.push_async_callback(self._end_runs)
        liveness = LivenessProbe()
        closing.push_async_callback(liveness.close)
        uses = _not_watched if self._once else self._packages.add
        self._services = Services(launcher, transport, environments, slots, liveness, uses)
        self._verifier = Verifier(self._services, self.state.path, self._under_way)
        closing.push_async_callback(self._verifier.close)
        closing.callback(self._collect_no_more)
        closing.callback(self._notifier.stopping)
        return controls

    def _is_back(self) -> None:
        self._rereading.ask(set())
        for location in [one for one in self.locations.values() if one.failure is not None]:
            location.reload("the workspace's directory is there again")

    def _cancel_background(self) -> None:
        for task in self._background:
            task.cancel()

    def _collect_no_more(self) -> None:
        if self._collecting is not None:
            self._collecting.cancel()

    async def _end_runs(self) -> None:
        if not self._leave_runs:
            await self.runs.end(0.0 if self._at_once else _RUN_GRACE, at_once=self._at_once)
        await self.runs.close()

    async def _end_locations(self) -> None:
        for location in self._all_locations():
            location.stop("the supervisor is stopping", at_once=self._at_once)
        for location in self._all_locations():
            await location.stopped()
        self.look_for_strays()  # what goes on is in the logs

    def look_for_strays(self) -> None:
        """Have every location know which of its processes left their session."""
        found = orphans.look(self._reaper.sessions)
        for name, location in self.locations.items():
            if found or location.strays:
                location.strays_seen(found.get(orphans.location_of(name), []))

    def _all_locations(self) -> list[Location]:
        return [*self.locations.values(), *self._leaving.values()]

    # The workspace and its changing.

    def _add(self, spec: LocationSpec, reason: str) -> None:
        if spec.remote is not None:
            self.remotes[spec.name] = spec
            return
        later = asyncio.get_running_loop().call_later
        path = self.state.log_path(spec.name)
        log = LocationLog(self._logs, path, on_write=self.news.tell, later=later)
        watching = None if self._once else Watching(self._disk, self._watcher.watch)
        location = Location(
            spec,
            self._services,
            log,
            self._location_changed,
            watching=watching,
            restarts=not self._once,
            earlier=self._earlier.pop(spec.name, None),
            keep=self.store.save,
            verifier=None if self._once else self._verifier,
        )
        self.locations[spec.name] = location
        location.start(reason)

    def _remove(self, name: str) -> None:
        self.remotes.pop(name, None)
        location = self.locations.pop(name, None)
        if location is None:
            return
        self._watcher.forget(name)
        if location.files is not None:
            location.files.close()
        if location.snapshot is not None:
            self._earlier[name] = location.snapshot  # it may come back
        self._leaving[name] = location
        location.stop("it is no longer in the workspace")
        self._spawn(self._see_off(name, location))

    async def _see_off(self, name: str, location: Location) -> None:
        await location.stopped()
        if self._leaving.get(name) is location:
            del self._leaving[name]

    def reading_began(self, wall_ns: int) -> None:
        """Watch the workspace's files, which were read after ``wall_ns``, by whatever links."""
        named = (self._cwd / path for path in self._selection.files)
        files = (*self.spec.files, *named)
        self._files.take(Looked(tuple(os.path.normpath(path) for path in files)), wall_ns)

    def _inputs_changed(self, paths: set[str], _late: bool) -> None:
        self._rereading.ask(paths)

    def _paths_changed(self, owner: str, paths: set[str]) -> None:
        if self._stop.is_set():
            return
        if self.problems:
            self._rereading.ask(set())
        if owner == Packages.OWNER:
            self._packages.hear(paths)
        elif (files := self._files_of(owner)) is not None:
            files.hear(paths)

    def _armed(self, owner: str) -> None:
        if self._stop.is_set():
            return
        if owner == Packages.OWNER:
            self._packages.look()
        elif (files := self._files_of(owner)) is not None:
            files.look()

    def _files_of(self, owner: str) -> FileWatch | None:
        if owner == _WORKSPACE_OWNER:
            return self._files
        location = self.locations.get(owner)
        return None if location is None else location.files

    # What ``Rereading`` asks and tells.

    def read(self) -> WorkspaceSpec:
        """Read the workspace's files; blocks. Raises ``ConfigurationError``."""
        return resolve(self._selection, cwd=self._cwd, environ=self._environ)

    def is_broken(self, error: ConfigurationError) -> None:
        """A broken edit changes nothing."""
        self.problems = error.problems
        self.changed()

    def is_calm(self) -> None:
        """The service manager waits for it."""
        self._notifier.ready(f"supervising {self.spec.title}")

    def was_read(self, spec: WorkspaceSpec, touched: set[str]) -> None:
        """Make the set of locations what ``spec`` says."""
        self.problems = ()
        old = {one.name: one for one in self.spec.locations}
        new = {one.name: one for one in spec.locations}
        self.spec = spec
        for name in old.keys() - new.keys():
            self._remove(name)
        for name, one in new.items():
            before = old.get(name)
            if before is None:
                self._add(one, "it was added to the workspace")
            elif (before.remote is None) != (one.remote is None):
                self._remove(name)
                self._add(one, "it was changed in the workspace")
            elif one.remote is not None:
                self.remotes[name] = one
            else:
                location = self.locations[name]
                location.update(one, "its entry in the workspace changed")
                inputs = {str(path) for path in one.environment.inputs} & touched
                if before == one and inputs:
                    names = ", ".join(sorted(Path(path).name for path in inputs))
                    location.reload(f"{names} changed")
        order = {name: position for position, name in enumerate(new)}
        self.locations = dict(sorted(self.locations.items(), key=lambda item: order[item[0]]))
        self.conditions.tell("open_files_limit")(shortage(len(self.spec.locations)))
        self.changed()

    # What others tell.

    def _under_way(self) -> bool:
        return self.stopping or any(one.under_way for one in self._all_locations())

    def _location_changed(self) -> None:
        self.changed()
        self._verifier.look()
        if self._collecting is None and not self._once:
            loop = asyncio.get_running_loop()
            self._collecting = loop.call_later(_COLLECT_DELAY, self._collect)

    def _collect(self) -> None:
        """Remove virtualenvs that nothing uses any more, once things have calmed down."""
        self._collecting = None
        if any(location.under_way for location in self.locations.values()):
            self._location_changed()
            return
        pairs = [(one.newest, one.serving) for one in self._all_locations()]
        attempts = [attempt for pair in pairs for attempt in pair if attempt is not None]
        requests = [one.request for one in attempts if one.request is not None]
        self._launcher.keep_only(requests)
        for request in requests:
            self._launcher.warm(request)
        prepared = [one.prepared for one in attempts if one.prepared is not None]
        used = {one.environment.prefix for one in prepared}
        self._packages.use(used)
        self._spawn(self._services.environments.collect(used))

    def _hear(self, key: str, text: str | None) -> None:
        """A condition of the store, from its thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its clients with it
                self._loop.call_soon_threadsafe(self.conditions.tell(key), text)

    def _packages_changed(self, prefix: Path) -> None:
        for location in self.locations.values():
            attempt = location.newest or location.serving
            if attempt is None or attempt.prepared is None:
                continue
            environment = attempt.prepared.environment
            if environment.prefix == prefix:
                self._launcher.replace(environment.interpreter.executable)
                location.reload(f"other packages were installed into {environment.name}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _not_watched(_prefix: Path) -> None:
    """For one-off checks."""
