"""The documents of environments: part of ``supervisor.protocol.documents``, which has the rules."""

from typing import Annotated, TypedDict

__all__ = ["Environment", "EnvironmentRow", "EnvironmentRows", "Package"]


class Environment(TypedDict):
    """What a location runs in: as prepared, or as far as the workspace tells."""

    name: Annotated[str, "as the workspace names it, or what stands for a name"]
    python: Annotated[str, "the version; empty until it is known"]
    executable: Annotated[str, "the interpreter; empty until it is known"]
    prefix: Annotated[str, "its `sys.prefix`; empty until it is known"]
    managed: Annotated[bool, "true for a virtualenv that we make"]
    lacks: Annotated[str | None, "the virtualenv that its project has not; this stands in for it"]
    adding: Annotated[
        str,
        "the command that adds a package to one that is not managed, or makes the one that is lacking; "
        "may be empty",
    ]
    requirements_file: Annotated[str | None, "what it is made from"]
    project: Annotated[str | None, "what it is made from"]


class Package(TypedDict):
    """An installed distribution."""

    name: Annotated[str, "normalized"]
    version: Annotated[str, "may be empty"]


class EnvironmentRow(Environment):
    """An environment in use."""

    locations: Annotated[list[str], "what runs in it"]
    packages: Annotated[list[Package] | None, "by name; null until it is prepared"]


class EnvironmentRows(TypedDict):
    """The environments in use."""

    environments: Annotated[list[EnvironmentRow], "each once"]
