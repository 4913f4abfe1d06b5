"""The command tree: which commands there are, and where they live.

Owns the root group and the lazy table of commands: a command's module is imported when the command
runs. Holds no command but the root, which runs the supervisor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.options import LISTEN, beside_option, face_option, selecting
from supervisor.cli.session import Session

if TYPE_CHECKING:
    from supervisor.cli.beside import Beside
    from supervisor.dagster.face import Face

__all__ = ["HOMES", "supervise"]

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Run": ("run", "up", "dagster", "check", "web", "ps", "shutdown", "upgrade"),
    "Look": ("status", "list", "show", "snapshot", "history", "diff", "logs", "stacks", "why-slow"),
    "Work": ("launch", "runs", "tick", "automations"),
    "Act": ("reload", "restart", "stop", "start", "wait"),
    "Set up": ("init", "config", "env", "install-service", "schema", "completion"),
    "Allow": ("tokens", "keys", "audit"),
}

# Command -> module of this package; the object there is named like the command, with an underscore behind.
HOMES: Mapping[str, str] = {
    "run": "run",
    "up": "up",
    "dagster": "dagster",
    "check": "check",
    "web": "web",
    "ps": "inspect",
    "shutdown": "control",
    "upgrade": "control",
    "status": "status",
    "list": "inspect",
    "show": "inspect",
    "snapshot": "inspect",
    "history": "inspect",
    "diff": "inspect",
    "logs": "logs",
    "stacks": "inspect",
    "why-slow": "why_slow",
    "reload": "control",
    "restart": "control",
    "stop": "control",
    "start": "control",
    "wait": "control",
    "launch": "launch",
    "runs": "runs",
    "tick": "tick",
    "automations": "automations",
    "config": "config",
    "init": "init",
    "env": "environments",
    "install-service": "service",
    "tokens": "tokens",
    "keys": "keys",
    "audit": "audit",
    "schema": "setup",
    "completion": "setup",
}


class _Commands(click.Group):
    """The root group: commands are imported when used, and listed in sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in _SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = HOMES.get(cmd_name)
        if home is None:
            return None
        import importlib

        module = importlib.import_module(f"supervisor.cli.{home}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in HOMES:
            from supervisor.nearest import near

            meant = near(name, HOMES)
            meant = f": did you mean {meant!r}?" if meant else ""
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
    "runs, 4 no such location or definition, or nothing of it loaded.",
)
@click.option(
    "--version", is_flag=True, callback=_print_version, expose_value=False, is_eager=True,
    help="Print the version.",
)  # fmt: skip
@selecting
@beside_option
@face_option
@LISTEN
@click.pass_context
def supervise(
    ctx: click.Context,
    session: Session,
    web: Beside | None,
    face: Face | None,
    listen: str | None,
) -> int | None:
    """Supervise code locations, each in its own environment and interpreter.

    Without a command: run the workspace in the foreground until Ctrl-C.
    """
    ctx.obj = session
    if ctx.invoked_subcommand is not None:
        return None
    from supervisor.cli.run import run_workspace

    return run_workspace(session, web, listen, face=face)
