"""The document about the client itself, beside those of ``supervisor.protocol.documents``.

Owns its shape; the rules are the same. Holds no behaviour; only what makes schemas imports it to run.
"""

from typing import Annotated, TypedDict

from supervisor.protocol.document_schema import Keywords
from supervisor.roles import Role

__all__ = ["Asker"]


class Asker(TypedDict):
    """The identity of the client."""

    name: Annotated[str, "`operator`, `anonymous`, or the name of its token or key"]
    role: Annotated[str, Keywords(enum=list(Role)), "the role"]
    locations: Annotated[
        list[str], "patterns of the locations for which it has the role; `*` is all"
    ]
