"""``supervise web``: the web page of a supervisor, in a process of its own.

Owns the options, which workspace the page belongs to for life, and what is said at the start. The page
is a client like any other: it starts also when no supervisor runs, and shows that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.options import selecting
from supervisor.cli.session import Session
from supervisor.errors import RequestError, SupervisorError
from supervisor.roles import Role

if TYPE_CHECKING:
    from supervisor.client.locate import Identity

__all__ = ["web_"]

# What listens at the port may be anything: so long it is waited for (seconds), so much of it is read (bytes).
_PATIENCE = 3.0
_MOST_READ = 64 * 1024 * 1024


@click.command("web", short_help="Serve the web page of a running supervisor.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=3070, show_default=True,
    help="Port to listen on; 0 takes a free one.",
)  # fmt: skip
@click.option("--token", metavar="TOKEN", help="Ask everyone for TOKEN; also SUPERVISE_WEB_TOKEN.")
@click.option(
    "--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Ask everyone for the token in FILE.",
)  # fmt: skip
@click.option(
    "--behind-proxy", multiple=True, metavar="HOST",
    help="A name that a proxy in front of the page is asked by; the proxy decides who may.",
)  # fmt: skip
@click.option(
    "--require-token", is_flag=True, help="Ask everyone for a token of `supervise tokens`.",
)  # fmt: skip
@click.option(
    "--role", type=click.Choice([one.value for one in Role]),
    help="What may do who shows the page's own token (default editor), or where it has none, who shows "
    "nothing (default viewer).",
)  # fmt: skip
@click.option(
    "--address",
    metavar="tcp://HOST:PORT",
    help="Of the supervisor on another machine, with --keys.",
)
@click.option(
    "--keys", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="The keys of `supervise keys add` that the page connects to --address with.",
)  # fmt: skip
@click.option("--of", "of", nargs=2, metavar="DIRECTORY KEY", hidden=True)  # for `supervise --web`
@selecting
def web_(
    session: Session,
    host: str,
    port: int,
    token: str | None,
    token_file: Path | None,
    behind_proxy: tuple[str, ...],
    require_token: bool,
    role: str | None,
    address: str | None,
    keys: Path | None,
    of: tuple[str, str] | None,
) -> int:
    """Serve the web page of a supervisor, until Ctrl-C.

    It is the page of one workspace: the one that is named or stands here. Where no workspace file is
    found, it is that of the only supervisor that runs, and stays so. Listens on this machine only, where
    your own processes may do everything. Elsewhere it asks for a token, or stands behind a proxy that you
    name. With --address and --keys it is the page of a supervisor that listens on another machine, and may do
    what the keys may.
    """
    from supervisor.client.locate import Identity, identity_of
    from supervisor.web.app import policy_of, serve

    if address is not None or keys is not None:
        identity = _elsewhere(session, address, keys)
    elif of is not None:
        identity = Identity.of((Path(of[0]), of[1]))
    else:
        identity = identity_of(session.selection, cwd=session.cwd)
    if identity.guessed_in is not None:
        session.terminal.say(
            f"no workspace file in {identity.guessed_in} or above: this is the page of the only "
            f"running supervisor, {identity.name}, and stays so",
            "dim",
        )
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
    elif token is None:
        token = os.environ.get("SUPERVISE_WEB_TOKEN")
    # An empty one stays what it is and is refused: who names a token wants to be asked for it.
    granted = None if role is None else Role(role)
    policy = policy_of(host, token, behind_proxy, require_token, granted)

    def said(line: str) -> None:
        session.terminal.print(f"supervise web: {line}")
        session.terminal.out.flush()

    # Beside its supervisor, that says itself how it fares.
    told = None if of is not None else said
    try:
        serve(identity, host=host, port=port, policy=policy, said=said, told=told)
    except RequestError:
        if not _is_page_of(identity, host, port):
            raise
        raise RequestError(
            f"the page of {identity.name} is at http://{host}:{port}/ already",
            hint="open it there; --port serves it at another port, too",
        ) from None
    return 0


def _is_page_of(identity: Identity, host: str, port: int) -> bool:
    """Whether what listens there is the page of the supervisor of ``identity``, as far as it says so."""
    import http.client
    import json

    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        pid = identity.find(os.environ).pid
        connection.request("GET", "/api/v1/status")
        document = json.loads(connection.getresponse().read(_MOST_READ))
        return bool(document["supervisor"]["pid"] == pid)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        http.client.HTTPException,
        SupervisorError,
    ):
        return False
    finally:
        connection.close()


def _elsewhere(session: Session, address: str | None, keys: Path | None) -> Identity:
    from supervisor.client.locate import Identity
    from supervisor.curve_keys import ClientKeys, check_address
    from supervisor.workspace_files import Selection

    if address is None or keys is None:
        raise click.UsageError("--address and --keys belong together")
    if session.selection != Selection():
        raise click.UsageError("--address names a supervisor, and a workspace was chosen too")
    check_address(address)
    return Identity.at(address, ClientKeys.read(keys))
