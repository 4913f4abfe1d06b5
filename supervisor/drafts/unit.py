"""The unit with which systemd runs a supervisor: docs/systemd.md says why each line is there.

Owns the one text of it, for a system's own services and for a user's.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["unit_text"]

_UNIT = """\
[Unit]
Description=Code locations of {directory}
After=network-online.target

[Service]
Type=notify
Environment=DAGSTER_IS_DEV_CLI=
{user}WorkingDirectory={directory}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
SuccessExitStatus=75
RestartForceExitStatus=75
WatchdogSec=30
TimeoutStopSec=120
KillMode=process
Delegate=yes
DelegateSubgroup=supervisor
LimitNOFILE=65536
TasksMax=infinity
{runtime}
[Install]
WantedBy={wanted_by}
"""
_RUNTIME = """\
RuntimeDirectory={name}
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=/run/{name}
"""


def unit_text(
    command: Sequence[str], directory: str, *, user: str | None = None, name: str = "supervise"
) -> str:
    """The unit ``name`` that runs ``command`` in ``directory``; with ``user`` a system's that runs as
    that user, else one of the user who installs it."""
    system = user is not None
    return _UNIT.format(
        directory=_escaped(directory),
        command=" ".join(map(_word, command)),
        user=f"User={user}\n" if system else "",
        runtime=_RUNTIME.format(name=name) if system else "",
        wanted_by="multi-user.target" if system else "default.target",
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """A word of ExecStart, where ``$`` and ``%`` have a meaning (systemd.service(5))."""
    text = _escaped(text).replace("\\", "\\\\").replace("$", "$$")
    return '"' + text.replace('"', '\\"') + '"' if not text or set(text) & set(" \t'\";") else text
