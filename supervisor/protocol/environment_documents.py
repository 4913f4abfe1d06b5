"""The documents of environments: part of ``supervisor.protocol.documents``, which has the rules."""

from typing import Annotated, TypedDict

__all__ = ["Environment", "EnvironmentRow", "EnvironmentRows", "Package"]


class Environment(TypedDict):
    """What a location runs in; before it is prepared, what the workspace file says."""

    name: Annotated[str, "its name in the workspace file, or a generated one"]
    python: Annotated[str, "the version; empty until it is known"]
    executable: Annotated[str, "the interpreter; empty until it is known"]
    prefix: Annotated[str, "its `sys.prefix`; empty until it is known"]
    managed: Annotated[bool, "true for a virtualenv that we make"]
    lacks: Annotated[
        str | None, "path of the virtualenv that its project lacks; this environment replaces it"
    ]
    adding: Annotated[
        str,
        "the command that adds a package where it is not managed, or makes the missing virtualenv; "
        "may be empty",
    ]
    requirements_file: Annotated[str | None, "the requirements file that it is made from"]
    project: Annotated[str | None, "the project that it is made from"]


class Package(TypedDict):
    """An installed distribution."""

    name: Annotated[str, "normalized"]
    version: Annotated[str, "may be empty"]


class EnvironmentRow(Environment):
    """An environment in use."""

    locations: Annotated[list[str], "names of the locations that run in it"]
    packages: Annotated[list[Package] | None, "by name; null until it is prepared"]


class EnvironmentRows(TypedDict):
    """The environments in use."""

    environments: Annotated[list[EnvironmentRow], "one row for each environment"]
