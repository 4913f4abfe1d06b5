"""``[tool.supervise]`` of a pyproject.toml: our own settings beside files that have no place for them.

Owns the table's shape, where it is looked for, and the variable that goes before it. What follows from it is
decided in ``assembly``.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from supervisor.errors import ConfigurationProblem
from supervisor.nearest import near
from supervisor.specs import Source, SourcePosition
from supervisor.workspace_files.document import DocumentError, read_text, shorten
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.scalars import Enumeration
from supervisor.workspace_files.shapes import Field, Invalid, RecordShape
from supervisor.workspace_files.toml import TomlDocument

__all__ = ["TABLE", "VARIABLE", "ToolTables", "Which"]

VARIABLE = "SUPERVISE_ENVIRONMENTS"
_PLACE = "tool.supervise"


class Which(StrEnum):
    """Which environments projects are loaded in that name none."""

    EXISTING = "existing"
    MANAGED = "managed"


TABLE = RecordShape(
    {
        "environments": Field(
            Enumeration(Which),
            "managed: where a project has no .venv, its environment is made from what it declares and locks.",
            default=Which.EXISTING,
        )
    },
    "a table with environments",
)
"""``[tool.supervise]``."""


class ToolTables:
    """What the variable, and the tables of the directories of a workspace, say.

    ``root`` is the workspace's own directory. ``looked_at`` are the files that may have such a table.
    """

    def __init__(self, reading: Reading, root: Path) -> None:
        self.looked_at: list[Path] = []
        self._reading = reading
        self._root = root
        self._known: dict[Path, tuple[Which | None, Source, ConfigurationProblem | None]] = {}

    def managed(self, directory: Path) -> Source | None:
        """Where it is said that the environment of the project in ``directory`` is made; None where it is
        not. The variable goes before the project's own table, and that before the workspace's."""
        said = self._reading.environ.get(VARIABLE, "")
        if said:
            return self._of_variable(said)
        for place in (directory, self._root):
            which, source = self._of_table(place)
            if which is not None:
                return source if which is Which.MANAGED else None
        return None

    def _of_variable(self, said: str) -> Source | None:
        position, words = SourcePosition(f"variable {VARIABLE}"), [one.value for one in Which]
        if said not in words:
            self._reading.problem(
                position,
                "",
                f'the value "{shorten(said)}" is not known',
                expected=" or ".join(words),
                suggestion=near(said, words),
            )
        return Source(position) if said == Which.MANAGED else None

    def _of_table(self, place: Path) -> tuple[Which | None, Source]:
        path = place / "pyproject.toml"
        if path not in self._known:
            self.looked_at.append(path)
            with self._reading.apart() as scope:
                which, source = self._read(path)
            self._known[path] = which, source, scope.problem
        which, source, problem = self._known[path]
        self._reading.blame(problem)
        return which, source

    def _read(self, path: Path) -> tuple[Which | None, Source]:
        nothing = None, Source(SourcePosition(str(path)))
        text = ""
        try:
            text = read_text(path)
            if "supervise" not in text:  # nor does it have to be sound
                return nothing
            node = TomlDocument(text, str(path)).node(*_PLACE.split("."))
        except DocumentError as error:
            for one in error.problems if "tool.supervise" in text else ():
                self._reading.problem(one.position, one.path, one.message)
            return nothing
        if node is None:
            return nothing
        record = TABLE.read(node, _PLACE, self._reading)
        if isinstance(record, Invalid) or not record.written("environments"):
            return nothing
        return record.get("environments"), Source(record.value_position("environments"))
