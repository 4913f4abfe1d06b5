"""docs/cli.md and docs/client.md name what there is, all of it."""

from __future__ import annotations

import inspect
import re

import click
from places import ROOT

from supervisor import AsyncClient, Client, errors
from supervisor.cli.app import supervise
from supervisor.presentation.words import SYMBOLS
from supervisor.states import STATES

DOCS = ROOT / "docs"


def commands(group: click.Group, path: str = "supervise") -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


def test_every_command_and_option_is_in_the_reference() -> None:
    text = (DOCS / "cli.md").read_text()
    for path, command in [("supervise", supervise), *commands(supervise)]:
        assert path in text or path.split()[-1] in text, path
        assert command.help or path == "supervise"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                named = any(re.search(rf"(?<![\w-]){re.escape(o)}\b", text) for o in parameter.opts)
                assert named or parameter.opts == ["--version"], (path, parameter.opts)


def test_help_shows_no_bounds_that_are_ours() -> None:
    for path, command in [("supervise", supervise), *commands(supervise)]:
        text = command.get_help(click.Context(command, info_name=path))
        assert not re.search(r"<=(None|\d{8,})\]", text), text


def test_the_line_for_editors_is_one_line_of_help() -> None:
    (schema,) = [one for path, one in commands(supervise) if path == "supervise schema"]
    text = schema.get_help(click.Context(schema, info_name="schema"))
    assert "  # yaml-language-server: $schema=./workspace.schema.json\n" in text


def test_every_state_is_in_the_reference() -> None:
    text = (DOCS / "cli.md").read_text()
    assert set(SYMBOLS) == set(STATES)
    styles = (ROOT / "supervisor" / "web" / "static" / "page.css").read_text()
    assert set(STATES) - {"stopped"} <= set(re.findall(r"\.state\.(\w+)", styles))
    for state, (symbol, _) in SYMBOLS.items():
        assert f"`{symbol}` `{state}`" in text


def test_every_exit_status_is_in_the_reference() -> None:
    text = (DOCS / "cli.md").read_text()
    trees = [errors.SupervisorError]
    for one in trees:
        trees += one.__subclasses__()
        assert f"\n| {one.exit_status} |" in text


def test_both_clients_have_the_methods_of_the_reference() -> None:
    text = (DOCS / "client.md").read_text()

    def methods(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}

    assert methods(Client) - {"close"} == methods(AsyncClient) - {"aclose"}
    for name in methods(Client) - {"order"}:
        assert f"`{name}(" in text, name
    for name in ("status", "show", "snapshot", "diff", "wait", "logs", "follow_logs"):
        ours = inspect.signature(getattr(Client, name)).parameters
        theirs = inspect.signature(getattr(AsyncClient, name)).parameters
        assert ours == theirs, name


def test_every_public_error_is_in_the_reference() -> None:
    text = (DOCS / "client.md").read_text()
    for name in errors.__all__:
        if name.endswith("Error") and name not in ("SupervisorError", "AlreadyRunningError"):
            assert name in text
