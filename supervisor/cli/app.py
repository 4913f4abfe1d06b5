"""The command tree: which commands there are, what they share, and where they live.

Owns the root group, the options that select a workspace, and the lazy table of commands: a command's
module is imported when the command runs. Holds no command but the root, which runs the supervisor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from supervisor import parameters
from supervisor.cli.terminal import Terminal
from supervisor.errors import ConfigurationError, ConfigurationProblem, SupervisorError
from supervisor.specs import SourcePosition
from supervisor.workspace import Selection

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from supervisor.cli.beside import Beside
    from supervisor.client import Client
    from supervisor.locate import Found

__all__ = [
    "LISTEN",
    "LOCATION",
    "Session",
    "beside_option",
    "json_option",
    "locating",
    "selecting",
    "supervise",
]

F = TypeVar("F", bound=Callable[..., Any])

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Run": ("run", "check", "web", "ps", "shutdown"),
    "Look": ("status", "list", "show", "snapshot", "history", "diff", "logs"),
    "Act": ("reload", "restart", "stop", "start", "wait"),
    "Set up": ("env", "keys", "schema", "completion"),
}

# Command -> module of this package; the object there is named like the command, with an underscore.
_HOMES: Mapping[str, str] = {
    "run": "run",
    "check": "check",
    "web": "web",
    "ps": "inspect",
    "shutdown": "control",
    "status": "status",
    "list": "inspect",
    "show": "inspect",
    "snapshot": "inspect",
    "history": "inspect",
    "diff": "inspect",
    "logs": "logs",
    "reload": "control",
    "restart": "control",
    "stop": "control",
    "start": "control",
    "wait": "control",
    "env": "environments",
    "keys": "keys",
    "schema": "setup",
    "completion": "setup",
}


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = ConfigurationProblem(
            SourcePosition("."), "", f"the current directory cannot be used: {reason}"
        )
        raise ConfigurationError([problem], hint="change to a directory that exists") from None


@dataclass(slots=True)
class Session:
    """What one invocation works with."""

    selection: Selection = field(default_factory=Selection)
    terminal: Terminal = field(default_factory=Terminal)
    cwd: Path = field(default_factory=_current_directory)

    def found(self, *, order: bool = False, quiet: bool = False) -> Found:
        """The running supervisor that is meant. A look may take a guess, which is said on standard
        error; an ``order`` raises ``NotRunningError`` then."""
        from supervisor.locate import find_selected

        found = find_selected(self.selection, cwd=self.cwd)
        if order:
            found.take_order()
        if found.guessed_in is not None and not quiet:
            self.terminal.say(
                f"no workspace file in {found.guessed_in} or above: using the only running "
                f"supervisor, {found.workspace}",
                "dim",
            )
        return found

    def client(self, *, timeout: float = 10.0, order: bool = False, quiet: bool = False) -> Client:
        """A client of it."""
        from supervisor.client import Client

        return Client(found=self.found(order=order, quiet=quiet), timeout=timeout)


class _Commands(click.Group):
    """The root group: commands are imported when used, and listed in sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in _SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = _HOMES.get(cmd_name)
        if home is None:
            return None
        import importlib

        module = importlib.import_module(f"supervisor.cli.{home}")
        command: click.Command = getattr(module, f"{cmd_name}_")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _HOMES:
            import difflib

            near = difflib.get_close_matches(name, _HOMES, n=1)
            meant = f": did you mean {near[0]!r}?" if near else ""
            file = Path(name).suffix in (".yaml", ".yml", ".py", ".toml")
            flag = "-f" if name.endswith(".py") else "-w"
            raise click.UsageError(
                f"no command is named {name!r}"
                + (f": to supervise a file, use {flag} {name}" if file else meant),
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _SECTIONS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                if command is not None:
                    rows.append((name, command.get_short_help_str(limit=66)))
            with formatter.section(title):
                formatter.write_dl(rows)


def _complete_location(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

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
    return [
        CompletionItem(one["name"], help=one["state"])
        for one in document["locations"]
        if one["name"].startswith(incomplete)
    ]


LOCATION: Mapping[str, Any] = {"shell_complete": _complete_location}
"""Keyword arguments that make an argument complete to the names of locations."""

GENERATION = click.IntRange(1, parameters.MOST)
"""The type of an argument that is the number of a generation."""


class _Seconds(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found != found:
            self.fail(f"{value} is no number of seconds", param, ctx)
        return found


SECONDS = _Seconds(0, parameters.MOST_SECONDS)
"""The type of an option that is a time to wait."""

_FILE = click.Path(path_type=Path, dir_okay=False)
_WORKSPACE = click.option(
    "-w",
    "--workspace",
    "workspace",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Workspace file; several are merged. Without it, searched from here upwards.",
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


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from supervisor import __version__

        click.echo(f"supervise {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    epilog="Exit status: 0 well, 1 not all is well, 2 usage or configuration, 3 no supervisor "
    "runs, 4 no such location or definition.",
)
@click.option(
    "--version", is_flag=True, callback=_print_version, expose_value=False, is_eager=True,
    help="Print the version.",
)  # fmt: skip
@selecting
@beside_option
@LISTEN
@click.pass_context
def supervise(
    ctx: click.Context, session: Session, web: Beside | None, listen: str | None
) -> int | None:
    """Supervise code locations, each in its own environment and interpreter.

    Without a command: run the workspace in the foreground until Ctrl-C.
    """
    ctx.obj = session
    if ctx.invoked_subcommand is not None:
        return None
    from supervisor.cli.run import run_workspace

    return run_workspace(session, web, listen)
