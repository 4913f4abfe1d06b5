"""The options and arguments that commands share.

Owns their names and texts, and how a command gets its ``Session``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from supervisor.cli.session import Session
from supervisor.errors import SupervisorError
from supervisor.presentation.words import plural
from supervisor.protocol import parameters
from supervisor.workspace_files import Selection, file_in

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from supervisor.face_settings import Listen
    from supervisor.protocol.documents import LocationStatus

__all__ = [
    "FACE_LISTEN",
    "GENERATION",
    "LISTEN",
    "LOCATION",
    "SECONDS",
    "TAG_COMPLETION",
    "Listing",
    "ListingOf",
    "beside_option",
    "face_option",
    "json_option",
    "locating",
    "selecting",
]

F = TypeVar("F", bound=Callable[..., Any])


class Listing(click.Group):
    """Lists where no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (self._is_listed(args[0]) and args[0] not in ("-h", "--help")):
            if (
                len(args) > 1
                and args[0] not in self.commands
                and not any(one.startswith("-") for one in args[:2])
            ):
                names = ", ".join(self.list_commands(ctx))
                raise click.UsageError(f"no command is named {args[0]!r}: there are {names}", ctx)
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def _is_listed(self, word: str) -> bool:
        return word.startswith("-")


class ListingOf(Listing):
    """What is no name of a command is the location that ``list`` is about."""

    def _is_listed(self, word: str) -> bool:
        return word not in self.commands


def _locations(ctx: click.Context) -> list[LocationStatus]:
    """Those of the supervisor that is meant, while the shell completes; none when it does not answer."""
    # While completing, no callback has run: what was typed is in the parameters.
    typed = [one.params.get("workspace") for one in (ctx, ctx.parent) if one is not None]
    files = next(filter(None, typed), ())
    try:
        session = ctx.find_object(Session) or Session()
        if files:
            session = replace(session, selection=Selection(files=tuple(files)))
        with session.client(timeout=1.0, quiet=True) as client:
            document = client.status()
    except (SupervisorError, OSError):
        return []
    return document["locations"]


def _complete_location(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(one["name"], help=one["state"])
        for one in _locations(ctx)
        if one["name"].startswith(incomplete)
    ]


def _complete_tag(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    found: dict[str, int] = {}
    for one in _locations(ctx):
        for name, value in (one.get("tags") or {}).items():
            tag = f"{name}={value}" if value else name
            found[tag] = found.get(tag, 0) + 1
    return [
        CompletionItem(tag, help=plural(count, "location"))
        for tag, count in sorted(found.items())
        if tag.startswith(incomplete)
    ]


LOCATION: Mapping[str, Any] = {"shell_complete": _complete_location}
"""Keyword arguments that make an argument complete to the names of locations."""

TAG_COMPLETION: Mapping[str, Any] = {"shell_complete": _complete_tag}
"""The same for an option that is a tag of locations."""


class _Generation(click.types.IntParamType):
    name = "generation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            found = int(value)
        except ValueError:
            found = 0
        if not 1 <= found <= parameters.MOST:
            self.fail(f"{value!r} is no generation: they are counted from 1", param, ctx)
        return found


class _Seconds(click.types.FloatParamType):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            found = float(value)
        except ValueError:
            found = -1.0
        if not 0 <= found <= parameters.MOST_SECONDS:  # nor what is no number at all
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return found


# Not click's ranges: help would show bounds that concern no user.
GENERATION = _Generation()
"""The type of an argument that is the number of a generation."""

SECONDS = _Seconds()
"""The type of an option that is a time to wait."""


class _WorkspaceFile(click.Path):
    """A file, or the directory that has one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("it is empty: name a workspace file", param, ctx)
        if not Path(value).is_dir():
            return super().convert(value, param, ctx)
        found = file_in(Path(value))
        if found is None:
            self.fail(f"no workspace file is in {os.fspath(value)!r}", param, ctx)
        return found


_WORKSPACE = click.option(
    "-w",
    "--workspace",
    "workspace",
    multiple=True,
    type=_WorkspaceFile(path_type=Path),
    metavar="FILE",
    help="Workspace file, or its directory; several are merged. Without it, searched from here upwards.",
)


def json_option(function: F) -> F:
    """``--json``, as the parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def locating(function: F) -> F:
    """``-w``, to say which running supervisor is meant; the function gets the ``Session`` first."""

    @click.pass_context
    def wrapped(
        ctx: click.Context, /, *args: Any, workspace: tuple[Path, ...], **kwargs: Any
    ) -> Any:
        session = ctx.ensure_object(Session)
        if workspace:
            session.selection = Selection(files=workspace)
        return function(session, *args, **kwargs)

    return _like(function, _WORKSPACE(wrapped))


def selecting(function: F) -> F:
    """All options that select a workspace; the function gets the ``Session`` first."""

    @click.pass_context
    def wrapped(
        ctx: click.Context,
        /,
        *args: Any,
        workspace: tuple[Path, ...],
        python_file: tuple[str, ...],
        module_name: tuple[str, ...],
        package_name: tuple[str, ...],
        autoload_defs_module: tuple[str, ...],
        working_directory: str | None,
        attribute: str | None,
        **kwargs: Any,
    ) -> Any:
        session = ctx.ensure_object(Session)
        chosen = Selection(
            files=workspace,
            python_files=python_file,
            modules=module_name,
            packages=package_name,
            autoload_modules=autoload_defs_module,
            working_directory=working_directory,
            attribute=attribute,
        )
        if chosen != Selection():
            session.selection = chosen
        return function(session, *args, **kwargs)

    options = (
        _WORKSPACE,
        click.option(
            "-f", "--python-file", multiple=True, metavar="FILE", help="Python file to load."
        ),
        click.option(
            "-m", "--module-name", multiple=True, metavar="MODULE", help="Module to load."
        ),
        click.option("--package-name", multiple=True, metavar="PACKAGE", help="Package to load."),
        click.option(
            "--autoload-defs-module",
            multiple=True,
            metavar="MODULE",
            help="Module whose definitions are loaded from all of its submodules.",
        ),
        click.option(
            "-d",
            "--working-directory",
            metavar="DIRECTORY",
            help="Where the code runs, first on its sys.path.",
        ),
        click.option(
            "-a", "--attribute", metavar="NAME", help="The object in the module that is meant."
        ),
    )
    command: Any = wrapped
    for option in reversed(options):
        command = option(command)
    return _like(function, command)


def beside_option(function: F) -> F:
    """``--web`` and ``--web-port``, as the parameter ``web``: None, or where the page listens."""

    @click.pass_context
    def wrapped(
        ctx: click.Context, /, *args: Any, web: bool, web_port: int | None, **kwargs: Any
    ) -> Any:
        beside = None
        if web or web_port is not None:
            from supervisor.cli.beside import Beside

            beside = Beside() if web_port is None else Beside(port=web_port)
        return ctx.invoke(function, *args, web=beside, **kwargs)

    options = (
        click.option("--web", is_flag=True, help="Serve the web page, too, on this machine only."),
        click.option(
            "--web-port",
            type=click.IntRange(0, 65535),
            metavar="PORT",
            help="The same, on that port (default 3070; 0 takes a free one).",
        ),
    )
    command: Any = wrapped
    for option in reversed(options):
        command = option(command)
    return _like(function, command)


def face_option(function: F) -> F:
    """``--dagster`` and ``--dagster-listen``, as the parameter ``face``: None, or what they add."""

    @click.pass_context
    def wrapped(
        ctx: click.Context,
        /,
        *args: Any,
        dagster: bool,
        dagster_listen: Listen | None,
        **kwargs: Any,
    ) -> Any:
        face = None
        if dagster or dagster_listen is not None:
            from supervisor.dagster.face import Face

            face = Face(listen=dagster_listen)
        return ctx.invoke(function, *args, face=face, **kwargs)

    option = click.option(
        "--dagster",
        is_flag=True,
        help="Serve the locations to Dagster's webserver and daemon, too. See `supervise dagster`.",
    )
    return _like(function, option(FACE_LISTEN(wrapped)))


def _listen(ctx: click.Context, param: click.Parameter, value: str | None) -> Listen | None:
    from supervisor.face_settings import Listen

    try:
        return None if value is None else Listen.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


FACE_LISTEN = click.option(
    "--dagster-listen",
    callback=_listen,
    metavar="[HOST:]PORT",
    help="Serve them over TCP, too, from that port on. Without HOST on this machine only: it "
    "has no password.",
)

LISTEN = click.option(
    "--listen",
    metavar="ADDRESS",
    help="Answer clients that have keys there, too: tcp://host:port. See `supervise keys`.",
)


def _like(function: F, wrapped: Any) -> F:
    """``wrapped`` under the name, words and options of ``function``."""
    wrapped.__name__ = function.__name__
    wrapped.__doc__ = function.__doc__
    own = getattr(function, "__click_params__", [])
    wrapped.__click_params__ = [*own, *getattr(wrapped, "__click_params__", [])]
    result: F = wrapped
    return result
