"""Dagster's webserver and daemon, unmodified, on the locations that are supervised here.

Owns the two programs, their environment and their instance, the port, their messages for the operator
and the order in which they end. They are started at once, before any location is loaded: the page shows
what is there. What they ask is answered by the servers of the locations, at the sockets that the written
workspace file names. Every error here is a condition, and affects no location.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from envs import EnvError, Environment, EnvironmentRequest, activate
from envs.installed import distributions
from supervisor.conditions import Conditions
from supervisor.dagster.home import Home, choose_home, prepare_home
from supervisor.dagster.tool import Program, Tool
from supervisor.locations.environments import Environments, request_of
from supervisor.processes.reaper import Reaper
from supervisor.specs import EnvironmentSpec

__all__ = ["DEFAULT_PORT", "ENVIRONMENT", "Host", "HostOptions", "Surroundings", "release_of"]

DEFAULT_PORT = 3000
ENVIRONMENT = "dagster-webserver"
"""The environment that is used: of this name in the workspace file, else made by us under this name."""

_HOSTED = Path(__file__).with_name("hosted.py")
_PACKAGES = ("dagster", "dagster-webserver")
# Seconds: between looks at a page that does not answer, and at one that does; how long one may take.
_LOOK, _LOOK_AGAIN, _LOOK_TIMEOUT = 0.25, 10.0, 15.0
# After an instance, an environment, a port could not be had.
_HOME_AGAIN, _ENVIRONMENT_AGAIN, _PORT_AGAIN = 2.0, 15.0, 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What the command line says. ``port`` None takes ``DEFAULT_PORT``, or a free one where it is taken.

    ``home`` is the instance that is asked for, ``instance`` the one that the workspace names.
    ``environment`` is a virtualenv's directory or an interpreter, of the operator's own. A page that was
    usable and has not answered for ``patience`` seconds is replaced.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    home: Path | None = None
    instance: Path | None = None
    environment: Path | None = None
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the host needs of the supervisor around it.

    ``directory`` is the workspace's, ``state`` where it keeps things; ``environments`` makes virtualenvs, and
    ``named`` are those of the workspace file. ``document`` is the written workspace file, ``log`` the file
    that output goes to. ``tell`` shows the operator a line, ``output(name, stream, data)`` takes what a
    program prints, ``changed()`` is called when the state of one is another.
    """

    directory: Path
    state: Path
    environments: Environments
    named: Mapping[str, EnvironmentSpec]
    document: Path
    log: Path
    environ: Mapping[str, str]
    conditions: Conditions
    reaper: Reaper
    tell: Tell
    output: Callable[[str, str, bytes], None]
    changed: Callable[[], None]


class Host:
    """The webserver and the daemon; ``start``, and ``stop`` before the locations end.

    ``url`` is where the page is, "" until its port is known; ``usable`` while it answers.
    """

    def __init__(self, options: HostOptions, around: Surroundings) -> None:
        self.url = ""
        self.usable = False
        self.home: Home = choose_home(options.home, options.instance, around.environ, around.state)
        self._options = options
        self._around = around
        self._port = options.port or 0
        self._python: Path | None = None
        self._version = ""
        self._teams: Mapping[str, str] = {}
        self._environ: Mapping[str, str] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._webserver = self._tool("webserver", self._webserver_program)
        self._daemon = self._tool("daemon", self._daemon_program)

    @property
    def tools(self) -> tuple[Tool, Tool]:
        """Webserver and daemon."""
        return self._webserver, self._daemon

    def start(self) -> None:
        """Start both, as soon as they can be."""
        self._around.tell(f"dagster: the instance is {self.home.path} ({self.home.why})")
        self._task = asyncio.create_task(self._run(), name="dagster host")

    def read_again(self) -> None:
        """The written workspace file has changed, or what serves a location."""
        for tool in self.tools:
            tool.read_again()

    def compare(self, teams: Mapping[str, str]) -> None:
        """``teams`` are the versions of Dagster that locations have, by name."""
        self._teams = teams
        names, key = self._outdated(), "dagster_version"
        if not names:
            self._around.conditions.clear(key)
            return
        newer = f"{names[0]} has {teams[names[0]]}"
        if len(names) > 1:
            newer += f", and {len(names) - 1} more are newer"
        self._around.conditions.set(
            key,
            f"dagster's page and daemon are {self._version}, and {newer}: they may not understand all of it",
            "restart the supervisor, which takes a newer one where there is one, or name it: see "
            "docs/dagster.md",
        )

    async def stop(self, *, at_once: bool = False) -> None:
        """End the daemon, then the webserver."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._daemon.stop(at_once=at_once)
        await self._webserver.stop(at_once=at_once)

    # How they come to life.

    async def _run(self) -> None:
        await self._until(self._prepare_home, _HOME_AGAIN)
        await self._until(self._prepare_environment, _ENVIRONMENT_AGAIN)
        self._daemon.start()
        await self._until(self._choose_port, _PORT_AGAIN)
        self.url = f"http://{_shown(self._options.host)}:{self._port}{self._prefix}"
        self._webserver.start()
        await self._look()

    async def _until(self, attempt: Callable[[], Awaitable[bool]], every: float) -> None:
        while True:
            if await attempt():
                return
            await asyncio.sleep(every)

    async def _prepare_home(self) -> bool:
        key = "dagster_home"
        try:
            notes = await asyncio.to_thread(prepare_home, self.home, self._around.directory)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._around.conditions.set(
                key,
                f"dagster's page and daemon wait: the instance {self.home.path} cannot be used: {reason}",
                "make that directory writable for this user, or name another with --home",
            )
            return False
        self._around.conditions.clear(key)
        for note in notes:
            self._around.tell(f"dagster: {note}")
        return True

    async def _prepare_environment(self) -> bool:
        key = "dagster_environment"
        own = self._options.environment
        spec = self._around.named.get(ENVIRONMENT)
        if own is not None:
            request = EnvironmentRequest(executable_path=str(own))
        elif spec is not None:
            request = request_of(spec)
        else:
            request = EnvironmentRequest(name=ENVIRONMENT, requirements=_PACKAGES)
        try:
            made = await self._make(request)
            if own is None and spec is None and self._outdated():
                least = f">={max(self._teams.values(), key=release_of)}"
                needed = tuple(f"{one}{least}" for one in _PACKAGES)
                # Where it cannot be had, the one that is there still does most of what is asked.
                with contextlib.suppress(EnvError):
                    made = await self._make(replace(request, requirements=needed))
        except EnvError as error:
            self._around.conditions.set(
                key,
                f"dagster's page and daemon wait for their environment: {error}",
                error.hint
                or f"name one that has dagster-webserver with --dagster-environment, or as "
                f"{ENVIRONMENT!r} under `environments`",
            )
            return False
        self._around.conditions.clear(key)
        self._python = made.interpreter.executable
        self._environ = {
            **activate(made, self._around.environ),
            "DAGSTER_HOME": str(self.home.path),
        }
        self.compare(self._teams)
        return True

    async def _make(self, request: EnvironmentRequest) -> Environment:
        made = await self._around.environments.make(request, self._progress)
        found = await asyncio.to_thread(distributions, made.prefix, made.interpreter.version_text)
        self._version = next((one["version"] for one in found if one["name"] == "dagster"), "")
        return made

    def _outdated(self) -> list[str]:
        """The locations whose Dagster is newer than that of the page; [] where that is not known."""
        ours = release_of(self._version)
        return [name for name, one in self._teams.items() if ours and release_of(one) > ours]

    def _progress(self, text: str) -> None:
        if text.startswith("create"):
            self._around.tell("dagster: making the environment of its page and daemon, once")
        self._around.output("environment", "sup", text.encode() + b"\n")

    async def _choose_port(self) -> bool:
        key, host = "dagster_port", self._options.host
        wanted = self._port or DEFAULT_PORT
        refusal = await asyncio.to_thread(_refusal, host, wanted)
        if refusal == errno.EADDRINUSE and not self._port:
            free = await asyncio.to_thread(_free_port, host)
            self._around.tell(f"dagster: port {wanted} is taken, so the page is at port {free}")
            wanted, refusal = free, 0
        if refusal:
            taken = "is taken" if refusal == errno.EADDRINUSE else "cannot be listened on"
            self._around.conditions.set(
                key,
                f"dagster's page waits: port {wanted} of {host} {taken}",
                "end what listens there, or name another with --port",
            )
            return False
        self._around.conditions.clear(key)
        self._port = wanted
        return True

    @property
    def _prefix(self) -> str:
        return self._environ.get("DAGSTER_WEBSERVER_PATH_PREFIX", "").rstrip("/")

    def _webserver_program(self) -> Program:
        listen = ["--host", self._options.host, "--port", str(self._port)]
        return self._program("dagster_webserver", listen)

    def _daemon_program(self) -> Program:
        return self._program("dagster._daemon", ["run"])

    def _program(self, module: str, arguments: list[str]) -> Program:
        assert self._python is not None
        around = self._around
        command = [str(self._python), "-u", str(_HOSTED), module, *arguments]
        command += ["--workspace", str(around.document)]
        return Program(command, self._environ, around.directory)

    def _tool(self, name: str, program: Callable[[], Program]) -> Tool:
        return Tool(
            name,
            program,
            reaper=self._around.reaper,
            output=lambda stream, data: self._around.output(name, stream, data),
            changed=lambda: self._tool_changed(name),
        )

    # How they fare.

    def _tool_changed(self, name: str) -> None:
        tool = next(one for one in self.tools if one.name == name)
        if tool is self._webserver and tool.state != "running":
            self.usable = False
        key = f"dagster_{name}"
        if tool.trouble:
            self._around.conditions.set(
                key, f"dagster's {name} ended and is started again: {tool.trouble}",
                f"its output is in {self._around.log}",
            )  # fmt: skip
        else:
            self._around.conditions.clear(key)
        self._news.set()
        self._around.changed()

    async def _look(self) -> None:
        """Look whether the page answers, for ever; one that does not any more is replaced."""
        silent = 0.0  # seconds; a pause of our own counts for one look at most
        limit = min(_LOOK_TIMEOUT, self._options.patience)
        while True:
            self._news.clear()
            process, began = self._webserver.process, time.monotonic()
            well = process is not None and await self._answers(limit)
            if well or not self.usable or process is not self._webserver.process:
                silent = 0.0
            else:
                silent += min(time.monotonic() - began + _LOOK, limit)
            if silent >= self._options.patience:
                self._webserver.replace(f"it did not answer for {silent:.0f} s")
            elif well and not self.usable and process is self._webserver.process:
                self.usable = True
                self._webserver.well()
                self._around.tell(f"dagster: {self.url}")
                self._around.changed()
            if self._daemon.state == "running" and time.time() - self._daemon.since > _LOOK_AGAIN:
                self._daemon.well()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN if well else _LOOK):
                    await self._news.wait()
                    await asyncio.sleep(_LOOK)

    async def _answers(self, limit: float) -> bool:
        """Whether the page is served; a webserver serves nothing before it has asked every location."""
        host = "127.0.0.1" if self._options.host in ("0.0.0.0", "::") else self._options.host  # noqa: S104
        request = f"GET {self._prefix}/server_info HTTP/1.0\r\nHost: {host}\r\n\r\n"
        try:
            async with asyncio.timeout(limit):
                reader, writer = await asyncio.open_connection(host, self._port)
                try:
                    writer.write(request.encode())
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return False
        return status.split(b" ")[1:2] == [b"200"]


def release_of(version: str) -> tuple[int, ...]:
    """The numbers of a version, to be compared: ``1.13.29`` and ``1.13.29rc1`` are the same release."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bound(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    one = socket.socket(family, kind)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
    except BaseException:
        one.close()
        raise
    return one


def _refusal(host: str, port: int) -> int:
    """The errno for which ``port`` cannot be listened on, 0 when it can. Blocks."""
    try:
        _bound(host, port).close()
    except OSError as error:
        return error.errno or errno.EADDRNOTAVAIL
    return 0


def _free_port(host: str) -> int:
    with contextlib.closing(_bound(host, 0)) as one:
        port: int = one.getsockname()[1]
        return port
