"""What ``--dagster`` adds to a supervisor: the written workspace file, and under ``supervise dagster`` the
webserver and the daemon.

Owns when the file is written: before anything is loaded, and again whenever the set of locations is another
or one turns out to define nothing of Dagster. What stands in it is ``workspace_document``'s to say, where a
location is served ``sockets``'.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.conditions import Conditions
from supervisor.dagster.host import Host, HostOptions, Surroundings
from supervisor.dagster.ports import FILE, TCP_NAME, assigned, remembered
from supervisor.dagster.sockets import stable_socket
from supervisor.dagster.tool import Program, Tool
from supervisor.dagster.workspace_document import NAME, Listed, workspace_document
from supervisor.face_settings import FaceSettings, Listen
from supervisor.locations.environments import Environments
from supervisor.locations.location_log import LocationLog
from supervisor.processes.reaper import Reaper
from supervisor.snapshots.snapshot import Snapshot
from supervisor.specs import EnvironmentSpec, LocationSpec

if TYPE_CHECKING:
    from supervisor.protocol.face_documents import FaceStatus

__all__ = ["Face", "Place", "compare_settings"]

_QUIET = 0.05  # several changes at once are one (seconds)
_LOOK = 5.0  # so often it is looked whether the file is there still
_RELAY = Path(__file__).with_name("relay.py")
_ROUTES = "dagster-relay.json"
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Place:
    """What a face needs of the supervisor that it belongs to.

    ``locations()`` gives every location, in order, with what it last served; ``title`` is the workspace as
    people name it, ``directory`` its own, ``state`` and ``runtime`` where things and sockets are kept;
    ``settings`` are what the workspace says, over which lies what the face was made with.
    """

    title: str
    directory: Path
    state: Path
    runtime: Path
    settings: FaceSettings
    environ: Mapping[str, str]
    named_environments: Mapping[str, EnvironmentSpec]
    environments: Environments
    conditions: Conditions
    reaper: Reaper
    log: LocationLog
    locations: Callable[[], Iterable[tuple[LocationSpec, Snapshot | None]]]
    changed: Callable[[], None]


class Face:
    """The Dagster side of a supervisor. ``host`` None: a team's own webserver and daemon read the file.
    ``listen`` is where locations are served over TCP, too.

    ``show(name, lines)`` shows lines to the operator: of the program that is named, "" for our own.
    """

    def __init__(self, host: HostOptions | None = None, listen: Listen | None = None) -> None:
        self.host: Host | None = None
        self.show: Callable[[str, list[str]], None] = lambda name, lines: None
        self._options = host
        self._listen = listen
        self._relay: Tool | None = None
        self._partial: dict[tuple[str, str], bytes] = {}
        self._place: Place | None = None
        self._written = ""
        self._moved = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self, place: Place) -> None:
        """Write the file and start the programs; before any location is started."""
        self._place = place
        self._listen = self._listen or place.settings.listen
        if self._options is not None:
            if self._options.home is None:
                self._options = replace(self._options, instance=place.settings.instance)
            self.host = Host(
                self._options,
                Surroundings(
                    place.directory, place.state, place.environments, place.named_environments,
                    self.document, place.log.path, place.environ, place.conditions, place.reaper,
                    lambda line: self.show("", [line]), self._output, place.changed,
                ),
            )  # fmt: skip
        if self._listen is not None:
            self._relay = Tool(
                "relay", self._relay_program, reaper=place.reaper,
                output=partial(self._output, "relay"), changed=place.changed,
            )  # fmt: skip
        await self._write()
        if self._relay is not None:
            self._relay.start()
        self._task = asyncio.create_task(self._follow(), name="dagster workspace file")
        if self.host is not None:
            self.host.start()
        else:
            self.show("", [f"dagster: the workspace file is {self.document}"])
        if self._listen is not None:
            self.show("", [f"dagster: the one for other machines is {place.state / TCP_NAME}"])

    def changed(self) -> None:
        """The set of locations may be another, or what one of them serves."""
        self._news.set()

    def moved(self) -> None:
        """A location has another server: the programs need not wait for their polls."""
        self._moved = True
        self._news.set()

    async def close(self, *, at_once: bool = False) -> None:
        """End the programs; the locations end afterwards."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.host is not None:
            await self.host.stop(at_once=at_once)
        if self._relay is not None:
            await self._relay.stop(at_once=True)

    def as_data(self) -> FaceStatus:
        """As the status document has it."""
        host = self.host
        return {
            "framework": "Dagster",
            "workspace_file": str(self.document),
            "url": self.url,
            "usable": host is not None and host.usable,
            "pages": {"location": "/locations/{}", "run": "/runs/{}"},
            "instance": self.instance,
            "programs": [one.as_data() for one in host.tools] if host else [],
        }

    @property
    def url(self) -> str:
        """Where the page is that runs here; "" without one."""
        return self.host.url if self.host else ""

    @property
    def instance(self) -> str:
        """The directory of the instance of the page and daemon that run here; "" without them."""
        return str(self.host.home.path) if self.host else ""

    @property
    def document(self) -> Path:
        """The written workspace file."""
        assert self._place is not None
        return self._place.state / NAME

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._news.wait()
                    await asyncio.sleep(_QUIET)
            self._news.clear()
            moved, self._moved = self._moved, False
            written = await self._write()
            if written and self._relay is not None:
                self._relay.read_again()
            if (written or moved) and self.host is not None:
                self.host.read_again()

    async def _write(self) -> bool:
        """Write the files where they say something else now; whether they did."""
        place = self._place
        assert place is not None
        locations = list(place.locations())
        listed = [
            Listed(spec.name, spec.remote or stable_socket(place.state, place.runtime, spec.name), _about(spec))
            for spec, snapshot in locations
            if _may_be_served(spec, snapshot)
        ]  # fmt: skip
        if self.host is not None:
            found = {spec.name: _version(snapshot) for spec, snapshot in locations}
            self.host.compare({name: version for name, version in found.items() if version})
        text = workspace_document(place.title, self.document, listed)
        if text == self._written and await asyncio.to_thread(self.document.exists):
            return False
        try:
            await asyncio.to_thread(_replace, self.document, text)
            if self._listen is not None:
                await asyncio.to_thread(_write_tcp, place, self._listen, listed)
        except OSError as error:
            place.conditions.set(
                "dagster_workspace_file",
                f"dagster's workspace file {self.document} cannot be written: {(error.strerror or '').lower()}",
                "make room there, or make it writable for this user",
            )
            return False
        place.conditions.clear("dagster_workspace_file")
        self._written = text
        return True

    def _relay_program(self) -> Program:
        place = self._place
        assert place is not None
        command = [sys.executable, "-I", "-S", str(_RELAY), str(place.state / _ROUTES)]
        return Program(command, place.environ, place.state)

    def _output(self, name: str, stream: str, data: bytes) -> None:
        """Take what a program printed: whole lines go on, marked with its name."""
        assert self._place is not None
        key = name, stream
        data = _COLOURS.sub(b"", self._partial.pop(key, b"") + data)
        *lines, rest = data.split(b"\n")
        if rest:
            self._partial[key] = rest
        if lines:
            mark = f"{name}: ".encode()
            self._place.log.output(stream, b"".join(mark + line + b"\n" for line in lines))
            if stream == "sup":
                return
            self.show(name, [line.decode("utf-8", "replace") for line in lines if line.strip()])


def compare_settings(
    started: FaceSettings, said: FaceSettings | None, conditions: Conditions
) -> None:
    """Tell where the workspace file says something else now than when the supervisor was started."""
    key = "dagster_settings"
    if said is None or said == started:
        conditions.clear(key)
        return
    conditions.set(
        key,
        "what the workspace file says under `dagster` has changed, and does not count yet",
        "restart the supervisor",
    )


def _version(snapshot: Snapshot | None) -> str:
    """Of the Dagster that a location has loaded; "" where it has not."""
    frameworks = () if snapshot is None else snapshot.report.get("frameworks", ())
    return next((one.get("version", "") for one in frameworks if one.get("name") == "dagster"), "")


def _may_be_served(spec: LocationSpec, snapshot: Snapshot | None) -> bool:
    """False for a location that is known to define nothing of Dagster."""
    if spec.remote is not None or snapshot is None:
        return True
    frameworks = snapshot.report.get("frameworks", ())
    return not frameworks or any(one.get("name") == "dagster" for one in frameworks)


def _about(spec: LocationSpec) -> Mapping[str, Any]:
    if spec.remote is not None:
        return spec.metadata
    return {}


def _write_tcp(place: Place, listen: Listen, listed: Sequence[Listed]) -> None:
    """What the relay reads, and the workspace file for other machines. Blocks; raises ``OSError``."""
    file = place.state / FILE
    known: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        known = remembered(json.loads(file.read_text()), listen)
    ours = [one for one in listed if isinstance(one.served, Path)]
    ports = assigned(listen, known, (one.name for one in ours))
    _replace(file, json.dumps({"first": listen.port, "ports": ports}))
    routes = {
        str(ports[one.name]): [one.name, str(one.served)] for one in ours if one.name in ports
    }
    _replace(place.state / _ROUTES, json.dumps({"host": listen.host, "routes": routes}))
    # Whoever reads it is elsewhere: an address that means every one here means none there.
    host = socket.gethostname() if listen.host in _EVERY_ADDRESS else listen.host
    there = [
        replace(one, served=(host, ports[one.name])) if one.name in ports else one for one in listed
    ]
    path = place.state / TCP_NAME
    _replace(path, workspace_document(place.title, path, there))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
