"""The keys of ``[tool.dagster]``, ``[tool.dg]`` and ``dg.toml``, as shapes.

Owns which keys there are and what each takes, as ``keys`` does for the other files. What they mean is
``projects``.
"""

from __future__ import annotations

from typing import Any

from supervisor.workspace_files.document import Node
from supervisor.workspace_files.keys import MODULE, NAME, PATH, SHOWN
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.scalars import Boolean, Text
from supervisor.workspace_files.shapes import AnyMap, Field, ListOf, RecordShape

__all__ = ["DAGSTER_TABLE", "DG_TABLE"]


class _Anything(AnyMap):
    """Whatever is written, kept as plain data and never interpreted."""

    expected = "any value"

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        reading.blame(node.first_flaw())
        return node.plain()

    def schema(self) -> dict[str, Any]:
        return {}


DAGSTER_TABLE = RecordShape(
    {
        "module_name": Field(MODULE, "The one module."),
        "modules": Field(
            ListOf(
                RecordShape(
                    {
                        "type": Field(Text("module"), "Always module.", required=True),
                        "name": Field(MODULE, "The module.", required=True),
                    },
                    'a table such as {type = "module", name = "team.definitions"}',
                ),
                "a list of at least one module",
                empty=False,
                apart=True,
            ),
            "Several modules.",
        ),
        "code_location_name": Field(NAME, "The name of the location."),
    },
    "a table with module_name or modules",
    elsewhere=dict.fromkeys(
        ("python_file", "python_package", "package_name", "working_directory", "attribute"),
        "[tool.dagster] knows modules only; use a workspace.yaml",
    ),
    ignored_by="dagster",
)
"""``[tool.dagster]`` of a pyproject.toml."""

_PROJECT = RecordShape(
    {
        "root_module": Field(MODULE, "The package of the project.", required=True),
        "defs_module": Field(MODULE, "Default <root_module>.defs."),
        "code_location_target_module": Field(MODULE, "Default <root_module>.definitions."),
        "code_location_name": Field(NAME, "Default: the name of the directory."),
        "autoload_defs": Field(Boolean(), "Load defs_module by itself instead."),
        "registry_modules": Field(ListOf(Text(), "a list of modules"), SHOWN),
        "agent_queue": Field(Text(), SHOWN),
        "image": Field(Text(), SHOWN),
        # A table today; the first releases of dg took "active" and other words.
        "python_environment": Field(_Anything(), SHOWN),
    },
    "a table with root_module",
    ignored_by="dagster",
)
DG_TABLE = RecordShape(
    {
        "directory_type": Field(Text("project or workspace"), "What this directory is."),
        "project": Field(_PROJECT, "One code location."),
        "workspace": Field(
            RecordShape(
                {
                    "projects": Field(
                        ListOf(
                            RecordShape(
                                {"path": Field(PATH, "Its directory.", required=True)},
                                'a table such as {path = "projects/risk"}',
                            ),
                            "a list of tables with path",
                            apart=True,
                        ),
                        "The projects.",
                    ),
                    "scaffold_project_options": Field(AnyMap(), "Used by `dg scaffold` only."),
                },
                "a table with projects",
                ignored_by="dagster",
            ),
            "Several projects.",
        ),
        "cli": Field(AnyMap(), "Used by the `dg` command only."),
    },
    "a table with project or workspace",
    ignored_by="dagster",
)
"""``[tool.dg]`` of a pyproject.toml, and the whole of a dg.toml."""
