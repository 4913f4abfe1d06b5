"""Validates what was sent against the declarations of documents, with nothing undeclared in it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from supervisor.protocol.document_modules import CONTROL_DOCUMENTS
from supervisor.protocol.document_schema import components
from supervisor.web import documents as api_documents

_COMPONENT = re.compile(r"#/components/schemas/(\w+)")


def closed(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas of documents, each without room for a further field."""
    return {name: {**one, "additionalProperties": False} for name, one in schemas.items()}


class Checked:
    """Validates documents; ``sent`` has each ``Name.field`` that was there, and was not null."""

    def __init__(self, schemas: Mapping[str, Any] | None = None) -> None:
        found = components(*CONTROL_DOCUMENTS, api_documents) if schemas is None else schemas
        self._schemas = closed(found)
        self.sent: set[str] = set()

    def __call__(self, name: str, document: Any) -> Any:
        """``document``, which must be a ``name``."""
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": self._schemas}}
        problems = [
            f"{'/'.join(map(str, one.absolute_path))}: {one.message[:500]}"
            for one in Draft202012Validator(whole).iter_errors(document)
        ]
        assert not problems, f"no {name}: " + "; ".join(problems)
        self._note(whole, document)
        return document

    def unsent(self, *names: str) -> set[str]:
        """The fields of these documents, and of those in them, that were never there."""
        waiting, found = deque(names), set[str]()
        declared: set[str] = set()
        while waiting:
            name = waiting.popleft()
            if name not in found:
                found.add(name)
                waiting += _COMPONENT.findall(repr(self._schemas[name]))
                declared |= {f"{name}.{field}" for field in self._schemas[name]["properties"]}
        return declared - self.sent

    def _note(self, schema: Mapping[str, Any], value: Any) -> None:
        for one in schema.get("anyOf", ()):
            self._note(one, value)
        named = _COMPONENT.fullmatch(schema.get("$ref", ""))
        if named is not None and isinstance(value, Mapping):
            for field, inner in self._schemas[named[1]]["properties"].items():
                if value.get(field) is not None:
                    self.sent.add(f"{named[1]}.{field}")
                    self._note(inner, value[field])
        elif isinstance(value, list) and "items" in schema:
            for one in value:
                self._note(schema["items"], one)
        elif isinstance(value, Mapping) and isinstance(schema.get("additionalProperties"), Mapping):
            for one in value.values():
                self._note(schema["additionalProperties"], one)
