"""The keys of every file we read, as shapes: the one source for validation and JSON Schema.

Owns which keys there are, what each takes and one sentence about each. Does not give any of
them a meaning: that is ``locations``, ``cloud`` and ``projects``.
"""

from __future__ import annotations

import re
from typing import Any

from supervisor.specs import KillScope, RestartPolicy, StartMethod
from supervisor.workspace_files.document import Node
from supervisor.workspace_files.face_keys import DAGSTER
from supervisor.workspace_files.notify_keys import NOTIFY
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.run_keys import RUNS
from supervisor.workspace_files.scalars import Boolean, Duration, Enumeration, Number, Size, Text
from supervisor.workspace_files.shapes import (
    AnyMap,
    Choice,
    FalseOr,
    Field,
    ListOf,
    MapOf,
    Named,
    OneOrMore,
    Record,
    RecordShape,
    Shape,
    by_kind,
)
from supervisor.workspace_files.tag_keys import Tags
from supervisor.workspace_files.variables import PATTERN as VARIABLE

__all__ = [
    "ATTRIBUTE",
    "MODULE",
    "NAME",
    "OWN_KEYS",
    "PATH",
    "SHOWN",
    "WORKSPACE",
    "WORKSPACE_LIST",
    "json_schema",
]


def _bad_module(name: str) -> tuple[str, str] | None:
    if "/" in name or name.endswith(".py"):
        return "is a path, not a module name", "python_file"
    module, colon, attribute = name.partition(":")
    if colon:
        return "names an object, too", f"module_name: {module} with attribute: {attribute}"
    if re.search(r"\s", name) or any(not part for part in name.split(".")):
        return "is not a dotted module name", ".".join(re.findall(r"[^\s.]+", name))
    return None


def _bad_attribute(name: str) -> tuple[str, str] | None:
    return None if name.isidentifier() else ("is not the name of an object in a module", "")


def _bad_variable(name: str) -> tuple[str, str] | None:
    if not name or "=" in name or re.search(r"\s", name):
        return "cannot name an environment variable", name.split("=")[0].strip()
    return None


def _bad_environment_name(name: str) -> tuple[str, str] | None:
    if not name.strip() or len(name.encode()) > 100 or re.search(r"[\x00-\x1f/]", name):
        return "cannot name an environment: it must be short and without slashes", ""
    return None


PATH = Text("a path")
MODULE = Text(
    "a dotted module name",
    check=_bad_module,
    pattern=r"^(?!.*\.py$)[^\s/.:]+(\.[^\s/.:]+)*$",
)
ATTRIBUTE = Text(
    "the name of an object in the module",
    check=_bad_attribute,
    pattern=r"^[^\s\d./:()-][^\s./:()-]*$",
)
NAME = Text("a name", empty=True)
_REQUIREMENTS = OneOrMore(Text("a requirement"), "a list of requirements, or a text of lines")

_ENV = Named(
    "env_map",
    MapOf(
        Text("a text", empty=True, written=True),
        "a map of variable names to texts",
        check=_bad_variable,
        pattern=r"^[^=\s]+$",
    ),
)


_RESTART = Named(
    "restart",
    RecordShape(
        {
            "policy": Field(
                Enumeration(RestartPolicy),
                "When a process that died is started again.",
                default="on-failure",
            ),
            "max_restarts": Field(
                Number(0, 1_000_000),
                "More restarts than this within the window give up.",
                default=5,
            ),
            "window": Field(
                Duration(low=0.1), "The time over which restarts are counted.", default="60s"
            ),
            "initial_delay": Field(
                Duration(), "The wait before the first restart; it then doubles.", default="100ms"
            ),
            "max_delay": Field(Duration(), "The longest wait between two restarts.", default="30s"),
        },
        "a policy (always, on-failure, never) or a map",
        shorthand="policy",
    ),
)
_LIMITS = Named(
    "limits",
    RecordShape(
        {
            "memory": Field(Size(), "Memory of the process.", examples=("512MiB", "2GB")),
            "cpu": Field(Number(0, 4096, fraction=True, above=True), "Cores.", examples=(0.5,)),
            "open_files": Field(Number(16, 2**20), "Open file descriptors."),
            "processes": Field(Number(1, 2**22), "Processes and threads of the user."),
            "nice": Field(Number(-20, 19), "Scheduling priority; higher is nicer to others."),
        },
        "a map of limits",
    ),
)

OWN_KEYS = {
    "environment": Field(
        Text("the name of an environment", written=True),
        "The environment, of those under `environments`, to load it in.",
    ),
    "env": Field(
        _ENV,
        "Environment variables of the process; they override env_file.",
        examples=({"REGION": "eu", "DATABASE": "postgresql://app:${DB_PASSWORD}@db/risk"},),
    ),
    "env_file": Field(
        OneOrMore(PATH, "a path or a list of paths"),
        "Files of NAME=value lines; later files override earlier ones.",
        examples=(".env", ["common.env", "team.env"]),
    ),
    "load_timeout": Field(
        Duration(low=0.1), "How long loading may take.", default="180s", examples=("60s", "2m")
    ),
    "stop_timeout": Field(Duration(), "How long stopping may take before a kill.", default="5s"),
    "ping_interval": Field(
        Duration(), "Time between two pings of an idle process; 0 sends none.", default="30s"
    ),
    "ping_timeout": Field(
        Duration(low=0.1),
        "An idle process that has not answered for so long is replaced.",
        default="10s",
    ),
    "kill": Field(
        Enumeration(KillScope),
        "What ends with the process: its session, or its tree: what left the session, too.",
        default="session",
    ),
    "history": Field(Number(1, 10_000), "How many generations are kept on disk.", default=20),
    "restart": Field(_RESTART, "What happens when the process dies."),
    "limits": Field(_LIMITS, "Resource limits of the process."),
    "start_method": Field(Enumeration(StartMethod), "How the process is started.", default="auto"),
    "preload": Field(
        FalseOr(ListOf(MODULE, "a list of installed modules")),
        "Installed modules that the environment's forkserver imports once for all; false for "
        "none. Without it, what locations import.",
        examples=(["pandas"], False),
    ),
    "verify": Field(
        Boolean(),
        "Whether the module is imported a second time, in a fresh process, to verify that forking "
        "changes nothing.",
        default=True,
    ),
    "runs": Field(RUNS, "Limits, retries and keeping of the location's runs."),
    "notify": Field(
        NOTIFY,
        "Receivers for failures of the location and its runs, instead of those of the workspace.",
    ),
    "tags": Field(
        Tags(),
        "What commands may choose locations by, as in `supervise reload --tag team=risk`.",
        examples=({"team": "risk"}, ["nightly", "team=risk"]),
    ),
    "metadata": Field(
        AnyMap(), "Shown to people, never interpreted.", examples=({"owner": "risk"},)
    ),
}
"""What we add to Dagster's keys; they stand in the map of the selector."""

_ENVIRONMENT_KEYS = {
    "executable_path": Field(
        PATH,
        "An interpreter that exists, used as it is: a path, or a command found on PATH.",
        examples=(".venv/bin/python", "python3.8"),
    ),
    "python": Field(
        Text('a version such as "3.8", a command or a path', written=True),
        "The Python of a virtualenv that we make: a version, a specifier, a command, a path, or "
        "several of these in order of preference: 3.8 or >=3.9.",
        examples=("3.11", ">=3.8,<3.11"),
    ),
    "requirements": Field(
        _REQUIREMENTS,
        "What is installed into the virtualenv that we make.",
        examples=(["dagster>=1.5", "pandas"],),
    ),
    "requirements_file": Field(
        PATH, "A requirements.txt to install.", examples=("requirements.txt",)
    ),
    "project": Field(PATH, "A directory with a pyproject.toml to install."),
    "extras": Field(
        ListOf(Text("the name of an extra"), "a list of extras"), "Extras of the project."
    ),
    "groups": Field(
        ListOf(Text("the name of a group"), "a list of dependency groups"),
        "Dependency groups of the project: of PEP 735, uv or poetry.",
    ),
}


def _never(beside: str) -> dict[str, Any]:
    return {"not": {}, "description": f"It cannot stand beside {beside}."}


_MANAGED_KEYS = tuple(key for key in _ENVIRONMENT_KEYS if key != "executable_path")
_ENVIRONMENT = Named(
    "environment",
    RecordShape(
        _ENVIRONMENT_KEYS,
        "a map",
        title="Environment",
        rules={
            "if": {"required": ["executable_path"]},
            "then": {"properties": dict.fromkeys(_MANAGED_KEYS, _never("executable_path"))},
        },
    ),
)


def _one_of(first: str, second: str) -> dict[str, Any]:
    """The rule that one of two keys is there, told by its name."""
    without = {"properties": {first: _never(second)}}
    return {"if": {"required": [second]}, "then": without, "else": {"required": [first]}}


def _target(key: str, shape: Shape, about: str, *, autoload: bool = False) -> dict[str, Field]:
    fields = {key: Field(shape, about, required=True)}
    if not autoload:
        fields["attribute"] = Field(
            ATTRIBUTE,
            "The one object to load; the module is searched without it.",
        )
    fields["location_name"] = Field(NAME, "The name of the location.")
    fields["working_directory"] = Field(PATH, "Where the process runs; first on sys.path.")
    return fields


_TARGETS = {
    "python_file": (
        _target("relative_path", PATH, "The file, relative to the directory of this one."),
        "a path or a map with relative_path",
        "A Python file.",
    ),
    "python_module": (
        _target("module_name", MODULE, "The module, dotted."),
        "a module name or a map with module_name",
        "A module.",
    ),
    "python_package": (
        _target("package_name", MODULE, "The package, dotted."),
        "a package name or a map with package_name",
        "An installed package.",
    ),
    "autoload_defs_module": (
        _target("module_name", MODULE, "The package of definitions, dotted.", autoload=True),
        "a module name or a map with module_name",
        "A package whose submodules are searched for definitions.",
    ),
}
_NO_ATTRIBUTE = {"attribute": "the whole package is loaded; use python_module to name one object"}
_BESIDE_TARGET = dict.fromkeys(
    (*OWN_KEYS, *_ENVIRONMENT_KEYS),
    "it stands beside `target` in python_environment, not inside it",
)


def _selector(kind: str, more: dict[str, Field], elsewhere: dict[str, str]) -> Field:
    fields, expected, about = _TARGETS[kind]
    if kind == "autoload_defs_module":
        elsewhere = elsewhere | _NO_ATTRIBUTE
    shape = RecordShape(
        fields | more, expected, shorthand=next(iter(fields)), elsewhere=elsewhere, title=about
    )
    return Field(shape, about)


_SELECTOR_KEYS = {"executable_path": _ENVIRONMENT_KEYS["executable_path"]} | OWN_KEYS
_IN_SELECTOR = dict.fromkeys(
    ("python", "requirements", "requirements_file", "project", "extras", "groups"),
    "it belongs to python_environment, or to an entry of the top-level `environments`",
)
_LIMIT_KEYS = ("memory", "cpu", "open_files", "processes", "nice")
_IN_LIMITS = {key: f"write limits: {{{key}: …}}" for key in _LIMIT_KEYS}
_INNER_TARGET = Choice(
    {kind: _selector(kind, {}, _BESIDE_TARGET) for kind in _TARGETS},
    "target",
    elsewhere=_BESIDE_TARGET,
)
_PYTHON_ENVIRONMENT = RecordShape(
    {
        "target": Field(_INNER_TARGET, "What to load in this environment.", required=True),
        "name": Field(
            OWN_KEYS["environment"].shape, "The environment, of those under `environments`."
        ),
        **_ENVIRONMENT_KEYS,
        **{key: known for key, known in OWN_KEYS.items() if key != "environment"},
    },
    "a map with target",
    elsewhere={
        "environment": "inside python_environment it is called `name`",
        "location_name": "it stands inside the target's map",
        "attribute": "it stands inside the target's map",
        "working_directory": "it stands inside the target's map",
        **_IN_LIMITS,
    },
    title="A target and the environment to load it in.",
)
_GRPC_SERVER = RecordShape(
    {
        "host": Field(Text("a host name"), "Where it is served.", default="localhost"),
        "port": Field(Number(1, 65535), "The port; or else socket.", examples=(4266,)),
        "socket": Field(PATH, "The path of a unix socket; or else port."),
        "location_name": Field(NAME, "The name of the location."),
        "ssl": Field(Boolean(), "Whether the server speaks TLS."),
        "additional_metadata": Field(AnyMap(), "Shown to people."),
    },
    "a map with port or socket",
    rules=_one_of("port", "socket"),
    elsewhere=dict.fromkeys(
        (*OWN_KEYS, "executable_path"), "the process is served elsewhere, and not started by us"
    ),
    title="A code location that something else serves: listed, never started.",
)

_ITEM = Choice(
    {kind: _selector(kind, _SELECTOR_KEYS, _IN_SELECTOR | _IN_LIMITS) for kind in _TARGETS}
    | {
        "python_environment": Field(_PYTHON_ENVIRONMENT, "A target and its environment."),
        "grpc_server": Field(_GRPC_SERVER, "A code location served elsewhere."),
    },
    "selector",
    elsewhere=dict.fromkeys(
        (
            *OWN_KEYS,
            *_ENVIRONMENT_KEYS,
            "target",
            "location_name",
            "attribute",
            "working_directory",
            "relative_path",
            "module_name",
            "package_name",
        ),
        "it stands in the map of the selector, one level deeper",
    )
    | {one: f"it is called python_{one}" for one in ("file", "module", "package")},
)


class _Legacy(RecordShape):
    """The ``repository:`` block, also as one text: ``module:fn`` or ``file.py:fn``."""

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind != "scalar" or not isinstance(node.value, str):
            return super().read(node, path, reading)
        target, colon, function = node.value.rpartition(":")
        if not colon or not target or _bad_attribute(function):
            return self.wrong(node, path, reading)
        key = "file" if target.endswith(".py") or "/" in target else "module"
        return Record(node, path, {key: target, "fn": function})

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "pattern": "^.+:[^:]+$"}
        return {**by_kind("string", text, super().schema()), "deprecated": True}


_LEGACY = {
    "module": Field(MODULE, "The module."),
    "file": Field(PATH, "The file, relative to the directory of this one."),
    "fn": Field(
        Text("the name of a function", check=_bad_attribute), "Gives the repository.", required=True
    ),
}

_NOT_DEFAULTS = dict.fromkeys(
    ("relative_path", "module_name", "package_name", "location_name", "attribute"),
    "it stands in the map of a location's selector",
) | dict.fromkeys(
    _ENVIRONMENT_KEYS,
    "write an entry of the top-level `environments` and name it as `environment`",
)

WORKSPACE_LIST = ListOf(Named("location", _ITEM), "a list of locations", apart=True)
WORKSPACE = RecordShape(
    {
        "load_from": Field(WORKSPACE_LIST, "The code locations."),
        "environments": Field(
            MapOf(
                _ENVIRONMENT,
                "a map of environments",
                check=_bad_environment_name,
                pattern=r"^\s*[^\s/][^/]{0,99}$",
                apart=True,
            ),
            "Python environments by name, shared by locations.",
        ),
        "defaults": Field(
            RecordShape(OWN_KEYS, "a map of location keys", elsewhere=_NOT_DEFAULTS),
            "What every location in this file gets unless it says otherwise.",
        ),
        "notify": Field(NOTIFY, "Webhooks and commands to call when a location or a run fails."),
        "runs": Field(
            RUNS, "The same for all runs of the workspace; a location's own keys override them."
        ),
        "dagster": Field(DAGSTER, "How Dagster's own webserver and daemon find the locations."),
        "repository": Field(
            _Legacy(_LEGACY, "a map with module or file, and fn", rules=_one_of("module", "file")),
            "Deprecated: one repository, as before Dagster 0.10.",
        ),
        "scheduler": Field(
            AnyMap(), "Deprecated, from before Dagster 0.8: ignored with a warning."
        ),
        "partitions": Field(
            AnyMap(), "Deprecated, from before Dagster 0.8: ignored with a warning."
        ),
    },
    "a map with load_from",
    elsewhere=dict.fromkeys(_ITEM.fields, "it stands in an item of load_from"),
    title="Workspace",
)

SHOWN = "Honoured by a cloud only: kept and shown."


def json_schema() -> dict[str, Any]:
    """The workspace file as JSON Schema (draft 2020-12), from the shapes that validate it."""
    schema = WORKSPACE.schema()
    named = (
        *(Named("location", _ITEM), _ENVIRONMENT, _ENV, _RESTART, _LIMITS, RUNS, NOTIFY),
        DAGSTER,
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:workspace-supervisor:workspace",
        "title": "Workspace of workspace-supervisor",
        **{key: value for key, value in schema.items() if key != "title"},
        "anyOf": [{"required": [key]} for key in ("load_from", "repository", "environments")],
        "$defs": {
            "env": {
                "description": "The value of an environment variable of the supervisor.",
                "type": "object",
                "properties": {"env": {"type": "string", "minLength": 1}},
                "required": ["env"],
                "additionalProperties": False,
            },
            "variable": {
                "description": "A text with ${NAME} or ${NAME:-default} in it.",
                "type": "string",
                "pattern": VARIABLE,
            },
            **{shape.name: shape.shape.schema() for shape in named},
        },
    }
