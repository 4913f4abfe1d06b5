"""Commands that need no supervisor: schema and completion.

Owns the printing of the JSON Schema and of shell scripts; what is in them comes from the workspace
reader and from click.
"""

from __future__ import annotations

import click

from supervisor.cli.app import supervise
from supervisor.cli.session import Session

__all__ = ["completion_", "schema_"]


@click.command("schema", short_help="Print the JSON Schema of workspace files.")
@click.option("--json", "as_json", is_flag=True, help="It is JSON with or without this.")
@click.pass_obj
def schema_(session: Session, as_json: bool) -> int:
    """Print the JSON Schema of workspace files, for editors.

    Save it, and name it in the first line of workspace.yaml:

    \b
    # yaml-language-server: $schema=./workspace.schema.json
    """
    from supervisor.workspace_files import json_schema

    session.terminal.data(json_schema())
    return 0


@click.command("completion", short_help="Print a completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion_(session: Session, shell: str) -> int:
    """Print a script that makes SHELL complete commands, options and location names.

    \b
    bash: supervise completion bash > ~/.local/share/bash-completion/completions/supervise
    zsh:  supervise completion zsh > "${fpath[1]}/_supervise"
    fish: supervise completion fish > ~/.config/fish/completions/supervise.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    # Bash's class asks the bash on PATH for its version, to warn of one too old; the script is the
    # same for all, and need not be used on this machine.
    variables = {
        "complete_func": "_supervise_completion",
        "complete_var": "_SUPERVISE_COMPLETE",
        "prog_name": supervise.name or "supervise",
    }
    session.terminal.print((made.source_template % variables).strip())
    return 0
