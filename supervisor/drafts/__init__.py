"""Drafts of workspace files, from what a directory holds; and of the unit that runs one.

Owns looking at a directory (projects, virtualenvs, scripts, locks; code servers of Dagster) and the text of
a workspace file that says what was found, and that of a systemd unit. Imports nothing of a team and starts no process. Writes no
file: ``supervise init`` and ``supervise install-service`` do.
"""

__all__: list[str] = []
