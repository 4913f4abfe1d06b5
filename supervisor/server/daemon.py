"""The supervisor itself: puts the parts together and keeps them until told to stop.

Owns the order in which everything is created and ended. ``fleet`` owns the set of locations,
``locations`` the life of each, ``handlers`` the requests of clients. User code never runs in this
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from supervisor import __version__
from supervisor.access.access import Access
from supervisor.conditions import Tell
from supervisor.dagster.face import Face, Place, compare_settings
from supervisor.dagster.home import for_development
from supervisor.dagster.questions import Questions
from supervisor.dagster.servers import Servers
from supervisor.descriptors import raise_descriptor_limit, shortage
from supervisor.face_settings import FaceSettings
from supervisor.fleet.environments import EnvironmentUse
from supervisor.fleet.fleet import Fleet
from supervisor.fleet.routing import Routing
from supervisor.fleet.source import Source
from supervisor.fleet.workspace import WorkspaceFiles
from supervisor.locations.code_servers import NO_SERVERS
from supervisor.locations.environments import Environments
from supervisor.locations.generation import Generation
from supervisor.locations.liveness import LivenessProbe
from supervisor.locations.location import Location
from supervisor.locations.location_log import LocationLog
from supervisor.locations.log_files import LogFiles, LogHandler
from supervisor.locations.prefixes import Prefixes
from supervisor.locations.services import Services
from supervisor.locations.transport import Transport, thrifty_context
from supervisor.locations.verifier import Verifier
from supervisor.presence import Presence
from supervisor.processes import orphans
from supervisor.processes.forkserver_pool import ForkserverPool
from supervisor.processes.launcher import LaunchSpec
from supervisor.processes.limits import Cgroups
from supervisor.processes.preload_profile import PreloadProfile
from supervisor.processes.process import adopt_orphans, reap_orphans
from supervisor.processes.reaper import Reaper
from supervisor.processes.spawn import SpawnLauncher
from supervisor.processes.start_limiter import StartLimiter
from supervisor.runtime_dir import CONTROL, SHIMS, RuntimeDirectory
from supervisor.server.handlers import Handlers
from supervisor.server.places import FleetPlaces
from supervisor.server.preflight import claim, preflight, starting
from supervisor.server.remote_control import RemoteControl
from supervisor.server.rpc import Control
from supervisor.server.sd_notify import Notifier
from supervisor.server.state_directory import StateDirectory
from supervisor.server.upkeep import Kept, Upkeep
from supervisor.server.work import Work
from supervisor.snapshots.rows import STORE
from supervisor.snapshots.snapshot import Snapshot
from supervisor.snapshots.store import SnapshotStore
from supervisor.specs import STATE_DIRECTORY, LocationSpec, WorkspaceSpec
from supervisor.watching.reloading import Disk, FileWatch, Watching
from supervisor.watching.site_packages import Packages, fingerprint
from supervisor.watching.watcher import Watcher
from supervisor.workspace_files import Selection, names

__all__ = ["Daemon"]

_log = logging.getLogger("supervisor")

_WORKSPACE_OWNER = "\0workspace"  # no location can have this name
# A disk that hangs keeps no location that comes back from being loaded (seconds).
_TO_READ = 2.0


class Daemon:
    """Supervises the workspace that ``selection`` names.

    ``once`` loads everything one time: no watching, no restarts, a private state directory. ``idle`` starts
    locations only when that is ordered. ``listen`` (``tcp://host:port``) is an address for clients that have
    keys. ``sources`` say what should run beside the workspace. With ``dagster``, and where it has a ``face``,
    locations that have loaded Dagster have a server for its own client. ``started`` is set when clients can
    connect. ``run`` returns after ``shutdown``.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        cwd: Path,
        environ: Mapping[str, str],
        once: bool = False,
        idle: bool = False,
        listen: str | None = None,
        sources: Sequence[Source] = (),
        dagster: bool = False,
        face: Face | None = None,
    ) -> None:
        self._listen = listen
        self._environ = dict(environ)
        self._notifier = Notifier.from_environ(self._environ)
        self._once = once
        self._fires = not idle
        self._workspace = WorkspaceFiles(selection, cwd=cwd, environ=self._environ)
        self._face_settings = self.spec.face or FaceSettings()
        if face is None and self._face_settings.serves and not (once or idle):
            face = Face()
        self.face = face
        self.fleet = Fleet([self._workspace, *sources], self, idle=idle)
        self.started = asyncio.Event()
        self.started_at = time.time()
        self._stop = asyncio.Event()
        self._at_once = self._leave_runs = False
        self._background: set[asyncio.Task[None]] = set()
        check = f".check-{os.getpid()}" if once else ""
        found = names(selection, cwd=cwd, environ=environ)
        self._names = [(directory, key + check) for directory, key in found]
        directory, key = self._names[0]
        self.state = StateDirectory(directory / STATE_DIRECTORY, key, temporary=once)
        self._loop: asyncio.AbstractEventLoop | None = None
        database = None if once else self.state.path / STORE
        self.store = SnapshotStore(database, self._hear, self.state.ensure)
        self.runtime_directory = RuntimeDirectory.for_workspace(directory, key, self._environ)
        self._presence = Presence(
            lambda: {**self.runtime_directory.base_info, **self.runtime_directory.info}
        )
        self._cgroups = Cgroups()
        self.work = Work(
            self.fleet,
            lambda: self.spec,
            self.state,
            self.runtime_directory,
            self._cgroups,
            self._environ,
            lambda: "" if self.face is None else self.face.instance,
        )
        self.code_servers: Servers | None = None
        if dagster or face is not None:
            questions = Questions(self.work.runs, self.work.placer, self.fleet, self.started)
            moved = (lambda: None) if face is None else face.moved
            self.code_servers = Servers(
                lambda: self.state.path, self.runtime_directory.path, questions,
                self.fleet.changed, self._learned, moved,
            )  # fmt: skip

    async def run(self) -> None:
        """Serve until ``shutdown``; raises before anything is started if it cannot serve."""
        self._descriptors = self.work.limits.descriptors = raise_descriptor_limit()
        preflight()
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(self._presence.close)
            with starting():
                await claim(self.spec.title, self._names, self._presence, self.state, self._environ)
            closing.callback(self.state.close)
            with starting():
                self._logs = LogFiles(self.fleet.conditions.tell("logs_unwritable"))
            closing.push_async_callback(self._logs.close)
            handler = LogHandler(self._logs, self.state.path / "supervisor.log")
            closing.callback(handler.close)
            _log.addHandler(handler)
            closing.callback(_log.removeHandler, handler)
            _log.setLevel(logging.INFO)
            _log.info("%s: pid %d, version %s", self.spec.title, os.getpid(), __version__)
            with starting():
                self.runtime_directory.open()
            closing.callback(self.runtime_directory.close)
            await self._serve()

    def shutdown(self, at_once: bool = False, *, leave_runs: bool = False) -> None:
        """Stop everything; ``at_once`` kills instead of asking. With ``leave_runs`` runs go on, and the
        next supervisor adopts them."""
        self._leave_runs = leave_runs and not at_once
        self.work.automations.suspend()
        self.fleet.refuse()
        if at_once and not self._at_once:
            self._at_once = True
            self.fleet.stop("the supervisor was told to stop at once", at_once=True)
        self._stop.set()

    def reread(self) -> None:
        """Read the workspace's files again, whether or not they are known to have changed."""
        self._notifier.reloading()
        self.fleet.reread()

    @property
    def spec(self) -> WorkspaceSpec:
        """The workspace as it was read last."""
        return self._workspace.spec

    @property
    def stopping(self) -> bool:
        """True once it was told to stop."""
        return self._stop.is_set()

    @property
    def leaves_runs(self) -> bool:
        """True once it was told to stop, and to leave its runs to the next supervisor."""
        return self._leave_runs

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Whatever fails on the way, and whatever fails to close, the rest is closed.
        async with contextlib.AsyncExitStack() as closing:
            controls = self._open(closing)
            self.services.transport.start(self.fleet.conditions.tell("open_files_shims"))
            if not self._once:
                self._watcher.start()
                self._workspace.watch(self.files)
            await self._verifier.open()
            if self.code_servers is not None:
                await self.code_servers.open()
            earlier = await self.store.open(await self.fleet.read())
            if self.face is not None:
                await self.face.open(self._place(earlier))
            await self.fleet.start(earlier)
            earlier.clear()  # each location has its own by now
            await self.work.open(once=self._once, fires=self._fires)
            # Not before it knows its locations: clients of an earlier one connect by themselves.
            for control, key in zip(controls, ("open_files", "open_files_tcp"), strict=False):
                control.start(self.fleet.conditions.tell(key))
            with starting():
                self.runtime_directory.announce(
                    {
                        "workspace": self.spec.title,
                        "files": [str(path) for path in self.spec.files],
                        "once": self._once,
                        "listen": None if self._listen is None else controls[-1].address,
                    }
                )
            self._upkeep.start()
            self.fleet.follow()
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
            transport = Transport(context, self.runtime_directory.shim_address)
        closing.push_async_callback(transport.close)
        elsewhere = self.state.root if self.state.root != self.state.given else None
        environments = Environments(
            self.state.given / "envs",
            for_development(self._environ),
            None if elsewhere is None else elsewhere / "envs",
        )
        closing.callback(environments.close)
        with starting():
            self._disk = Disk()
        closing.callback(self._disk.close)
        routing = Routing(self.fleet.files_of, self._workspace.something_changed)
        tell = self.fleet.conditions.tell
        self._watcher = Watcher(routing.changed, routing.armed, tell("watching"))
        closing.push_async_callback(self._watcher.close)
        self.packages = Packages(self._watcher, self._disk, self._packages_changed)
        closing.callback(self.packages.close)
        self.files = FileWatch(
            _WORKSPACE_OWNER, self._disk, self._watcher.watch, self._workspace.inputs_changed
        )
        routing.owners.update({_WORKSPACE_OWNER: self.files, Packages.OWNER: self.packages})
        methods = Handlers(self).table()
        access = Access(self.state.path, FleetPlaces(self.fleet, self.work.runs), self._telling)
        closing.push_async_callback(access.close)
        with starting():
            control = Control(context, self.runtime_directory.control_address, methods, access)
        closing.push_async_callback(control.close)
        controls: list[Control | RemoteControl] = [control]
        kept = Kept(
            self._names[0], self.state, self.runtime_directory, self._presence, self.store,
            {CONTROL: control.rebind, SHIMS: transport.rebind},
        )  # fmt: skip
        self._upkeep = Upkeep(
            kept, self.fleet.conditions, self._is_back, Prefixes(self.fleet.ordered)
        )
        closing.push_async_callback(self._upkeep.close)
        if self._listen is not None:
            remote = RemoteControl(self._listen, methods, access)
            closing.push_async_callback(remote.close)
            controls.append(remote)
        closing.callback(self._cgroups.close)
        reaper = self._reaper = Reaper()
        closing.callback(reaper.close)
        if self.code_servers is not None:
            closing.push_async_callback(self.code_servers.close)
        adopt_orphans()
        self._spawn(reap_orphans(reaper.sessions, look=self.fleet.look_for_orphans))
        slots = StartLimiter()
        launcher = self._launcher = ForkserverPool(
            SpawnLauncher(reaper, self._descriptors, self._cgroups),
            PreloadProfile(None if self._once else self.state.path / "preload.json"),
            slots,
            lambda name: (
                LocationLog(self._logs, self.state.own_log_path(f"forkserver {name}")).output
            ),
            fingerprint,
            None if self.code_servers is None else self.code_servers.preloaded,
        )
        closing.push_async_callback(launcher.close)
        closing.push_async_callback(self.work.notifying.close)
        closing.push_async_callback(self._end_locations)
        closing.push_async_callback(self._end_runs)
        closing.push_async_callback(self.work.automations.close)
        liveness: LivenessProbe[Generation] = LivenessProbe()
        closing.push_async_callback(liveness.close)
        self.services = Services(
            launcher,
            transport,
            environments,
            slots,
            liveness,
            uses=_not_watched if self._once else self.packages.add,
            code_servers=self.code_servers or NO_SERVERS,
        )
        self._verifier = Verifier(
            self.services, self.state.path, lambda: self.stopping or self.fleet.under_way
        )
        closing.push_async_callback(self._verifier.close)
        self._use = EnvironmentUse(
            self.fleet.all, launcher, self.packages.use, environments.collect
        )
        closing.callback(self._use.close)
        closing.callback(routing.close)
        closing.push_async_callback(self._end_face)
        closing.callback(self._notifier.stopping)
        return controls

    def _place(self, earlier: Mapping[str, Snapshot]) -> Place:
        """For the face: ``earlier`` is what locations served that are not there yet."""

        def locations() -> list[tuple[LocationSpec, Snapshot | None]]:
            fleet = self.fleet
            if not len(fleet):
                return [(one, earlier.get(one.name)) for one in self.spec.locations]
            started = [(one.spec, one.snapshot) for one in fleet.ordered()]
            return [*started, *((one, None) for one in fleet.remotes.values())]

        named = {one.name: one for one in self.spec.environments if one.name}
        log = LocationLog(self._logs, self.state.own_log_path("dagster programs"))
        return Place(
            self.spec.title, self._names[0][0], self.state.path, self.runtime_directory.path,
            self._face_settings, self._environ, named, self.services.environments,
            self.fleet.conditions, self._reaper, log, locations, self.fleet.changed,
        )  # fmt: skip

    def _is_back(self) -> None:
        self.fleet.reread()
        for location in self.fleet.ordered():
            if location.failure is not None:
                location.reload("the workspace's directory is there again")

    def _cancel_background(self) -> None:
        for task in self._background:
            task.cancel()

    async def _end_runs(self) -> None:
        # Not told to stop, something failed: runs go on as after a crash.
        await self.work.end(leave=self._leave_runs or not self.stopping, at_once=self._at_once)

    async def _end_face(self) -> None:
        if self.face is not None:
            await self.face.close(at_once=self._at_once)

    async def _end_locations(self) -> None:
        self.fleet.stop("the supervisor is stopping", at_once=self._at_once)
        await self.fleet.stopped()
        self.fleet.look_for_orphans()  # what goes on is in the logs

    # What the fleet asks and tells.

    def make(self, spec: LocationSpec, earlier: Snapshot | None) -> Location:
        """See ``Host``."""
        log = LocationLog(
            self._logs,
            self.state.log_path(spec.name),
            on_write=self.fleet.news.tell,
            later=asyncio.get_running_loop().call_later,
        )
        return Location(
            spec,
            self.services,
            log,
            self._location_changed,
            watching=None if self._once else Watching(self._disk, self._watcher.watch),
            restarts=not self._once,
            earlier=earlier,
            keep=self.store.save,
            verifier=None if self._once else self._verifier,
        )

    async def last_served(self, name: str) -> Snapshot | None:
        """See ``Host``; None where the disk hangs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TO_READ):
                return await self.store.newest(name)
        return None

    def left(self, name: str) -> None:
        """See ``Host``."""
        self._watcher.forget(name)

    def settled(self) -> None:
        """See ``Host``."""
        compare_settings(self._face_settings, self.spec.face, self.fleet.conditions)
        if self.face is not None:
            self.face.changed()
        self.fleet.conditions.tell("open_files_limit")(shortage(len(self.fleet)))
        self.store.keep_only(self.fleet.locations)
        self._launcher.keep_locations(self.fleet.locations)
        self.work.settled()

    def calm(self) -> None:
        """See ``Host``: the service manager waits for it."""
        if not self.stopping:
            self._notifier.ready(f"supervising {self.spec.title}")

    def find_orphans(self) -> Mapping[str, list[orphans.Orphan]]:
        """See ``Host``."""
        return orphans.look(self._reaper.sessions)

    # What others tell.

    def _location_changed(self) -> None:
        self.fleet.changed()
        self.work.look()
        if self.face is not None:
            self.face.changed()
        self._verifier.look()
        if not self._once:
            self._use.changed()

    def _packages_changed(self, prefix: Path) -> None:
        self._use.packages_changed(prefix)

    def _learned(self, launch: LaunchSpec, report: Mapping[str, Any]) -> None:
        self._launcher.learn(launch, report)

    def _telling(self, key: str) -> Tell:
        return partial(self._hear, key)

    def _hear(self, key: str, text: str | None) -> None:
        """A condition, from a thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its clients with it
                self._loop.call_soon_threadsafe(self.fleet.conditions.tell(key), text)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _not_watched(_prefix: Path) -> None:
    """For one-off checks."""
