"""The keys of ``dagster_cloud.yaml``, as shapes.

Owns which keys there are and what each takes, as ``keys`` does for workspace files. What they mean is
``cloud``.
"""

from __future__ import annotations

from supervisor.workspace_files.keys import ATTRIBUTE, MODULE, OWN_KEYS, PATH, SHOWN
from supervisor.workspace_files.scalars import Text
from supervisor.workspace_files.shapes import AnyMap, Choice, Field, ListOf, RecordShape

__all__ = ["CLOUD"]

_CODE_SOURCE = Choice(
    {
        "package_name": Field(MODULE, "The package."),
        "module_name": Field(MODULE, "The module."),
        "python_file": Field(PATH, "The file, relative to build.directory."),
        "autoload_defs_module_name": Field(MODULE, "The package of definitions."),
    },
    "code source",
)
_CLOUD_KEYS = {
    "code_source": Field(_CODE_SOURCE, "What to load."),
    "working_directory": Field(PATH, "Where the process runs, relative to build.directory."),
    "executable_path": Field(PATH, "The interpreter, relative to build.directory."),
    "attribute": Field(ATTRIBUTE, "The one object to load."),
    "build": Field(
        RecordShape(
            {
                "directory": Field(PATH, "Where the paths of the location start."),
                "registry": Field(Text(), SHOWN),
            },
            "a map",
        ),
        "Where the code lies.",
    ),
    "image": Field(Text(), SHOWN),
    "agent_queue": Field(Text(), SHOWN),
    "container_context": Field(AnyMap(), SHOWN),
    "git": Field(AnyMap(), SHOWN),
    "pex_metadata": Field(AnyMap(), SHOWN),
}
_CLOUD_DEFAULTS = {key: known for key, known in _CLOUD_KEYS.items() if key != "code_source"}
_CLOUD_ELSEWHERE = {
    key: "a cloud file has no such key; write a workspace.yaml to use it"
    for key in OWN_KEYS
    if key != "metadata"
}
CLOUD = RecordShape(
    {
        "defaults": Field(RecordShape(_CLOUD_DEFAULTS, "a map"), "What every location gets."),
        "locations": Field(
            ListOf(
                RecordShape(
                    {
                        "location_name": Field(Text("a name"), "The name.", required=True),
                        **_CLOUD_KEYS,
                        "code_source": Field(_CODE_SOURCE, "What to load.", required=True),
                    },
                    "a map with location_name and code_source",
                    elsewhere=_CLOUD_ELSEWHERE,
                ),
                "a list of locations",
                apart=True,
            ),
            "The code locations.",
            required=True,
        ),
    },
    "a map with locations",
)
"""``dagster_cloud.yaml``."""
