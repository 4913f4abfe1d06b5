"""The OpenAPI document of ``/api/v1``.

Owns the schemas: what an address takes and what it gives. Objects may gain fields within version 1,
none is renamed, so no schema forbids further ones. A test asks every address what this promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor import __version__, parameters

__all__ = ["document"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_BOOL: Schema = {"type": "boolean"}
_MAP: Schema = {"type": "object"}
_STATE: Schema = {
    "type": "string",
    "enum": [
        "stopped", "starting", "loading", "ready", "failed", "backoff", "crashed", "stopping",
        "elsewhere",
    ],
}  # fmt: skip


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}


_COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
_FRAMEWORKS = _list(_object(name=_TEXT, version=_TEXT))
_CONDITION = _object(key=_TEXT, message=_TEXT, hint=_TEXT, since=_NUMBER)

_SCHEMAS: Mapping[str, Schema] = {
    "Error": _object(error=_object(code=_TEXT, message=_TEXT, hint=_or_null(_TEXT))),
    "Status": _object(
        format={"const": 1},
        revision=_COUNT,
        supervisor=_MAP,
        locations=_list(_ref("Location")),
        workspace=_object(name=_TEXT, directory=_TEXT, key=_TEXT),
    ),
    "Locations": _object(locations=_list(_ref("Location"))),
    "Location": _object(
        name=_TEXT,
        state=_STATE,
        reason=_or_null(_TEXT),
        since=_NUMBER,
        generation=_COUNT,
        restarts=_COUNT,
        next_restart=_or_null(_NUMBER),
        serving=_or_null(
            _object(
                generation=_COUNT,
                fingerprint=_TEXT,
                loaded_at=_NUMBER,
                load_seconds=_or_null(_NUMBER),
                start_seconds=_or_null(_NUMBER),
                alive=_BOOL,
                counts=_COUNTS,
                size=_COUNT,
                python=_TEXT,
                frameworks=_FRAMEWORKS,
            )
        ),
        failure=_or_null(_object(kind=_TEXT, message=_TEXT)),
        process=_or_null(_object(pid=_COUNT, started=_NUMBER, start_method=_TEXT)),
        environment=_or_null(_MAP),
        verification=_or_null(
            _object(
                state={
                    "enum": ["verified", "pending", "off", "differs", "failed", "fork_condemned"]
                },
                at=_or_null(_NUMBER),
                reason=_TEXT,
            )
        ),
        target=_or_null(_MAP),
        remote=_or_null(_TEXT),
        metadata=_MAP,
        warnings=_list(_MAP),
        conditions=_list(_CONDITION),
        log=_or_null(_MAP),
    ),
    "Definitions": _object(
        total=_COUNT,
        offset=_COUNT,
        definitions=_list(
            _object(
                location=_TEXT,
                kind=_TEXT,
                name=_TEXT,
                repository=_or_null(_TEXT),
                lazy=_BOOL,
                description=_TEXT,
                group=_or_null(_TEXT),
                owners=_list(_TEXT),
                tags=_list(_TEXT),
            )
        ),
    ),
    "Definition": _object(
        definition=_object(kind=_TEXT, name=_TEXT),
        source=_or_null({"type": "array", "description": "file and line"}),
        generation=_COUNT,
    ),
    "Duplicates": _object(
        duplicates=_list(_object(kind=_TEXT, name=_TEXT, locations=_list(_TEXT)))
    ),
    "Assets": _object(
        assets=_list(
            _object(
                name=_TEXT,
                locations=_list(_TEXT),
                known_in=_list(_TEXT),
                group=_or_null(_TEXT),
                upstream=_list(_TEXT),
                downstream=_list(_TEXT),
            )
        )
    ),
    "Schedules": _object(
        schedules=_list(
            _object(
                location=_TEXT,
                name=_TEXT,
                repository=_or_null(_TEXT),
                cron_schedule=_list(_TEXT),
                in_words=_list(_TEXT),
                timezone=_TEXT,
                next_ticks=_list({"type": "string", "format": "date-time"}),
                problem=_or_null(_TEXT),
            )
        )
    ),
    "Environments": _object(
        environments=_list(
            _object(
                name=_or_null(_TEXT),
                python=_or_null(_TEXT),
                executable=_or_null(_TEXT),
                prefix=_or_null(_TEXT),
                managed=_BOOL,
                locations=_list(_TEXT),
                packages=_or_null(_list(_object(name=_TEXT, version=_TEXT))),
            )
        )
    ),
    "History": _object(
        location=_TEXT,
        serving=_or_null(_COUNT),
        generations=_list(
            _object(
                generation=_COUNT,
                loaded_at=_NUMBER,
                fingerprint=_TEXT,
                size=_COUNT,
                counts=_COUNTS,
                python=_TEXT,
                frameworks=_FRAMEWORKS,
                load_seconds=_or_null(_NUMBER),
            )
        ),
    ),
    "Diff": _object(
        **{"from": _MAP, "to": _MAP},
        added=_list(_TEXT),
        removed=_list(_TEXT),
        changed=_list(_object(key=_TEXT, fields=_list(_TEXT), before=_MAP, after=_MAP)),
    ),
    "Logs": _object(
        lines=_list(_object(time=_NUMBER, stream=_TEXT, text=_TEXT)),
        next=_COUNT,
        before=_or_null(_COUNT),
    ),
    "Orders": _object(locations={"type": "object", "additionalProperties": _TEXT}),
}


# What any text in a request may be.
_SENDABLE: Schema = {"maxLength": parameters.LONGEST_TEXT, "pattern": "^[^\\u0000]*$"}


def _asked(name: str, schema: Schema, words: str, *, required: bool = False) -> Schema:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": {**schema, **_SENDABLE} if schema.get("type") == "string" else schema,
        "description": words,
    }


def _whole(least: int, most: int, default: int | None = None) -> Schema:
    found: Schema = {"type": "integer", "minimum": least, "maximum": most}
    return found if default is None else {**found, "default": default}


_LOCATION = _asked("location", _NAME, "the name of a location", required=True)
_PLACE = _asked("location", _TEXT, "only those of this location")
_WORDS = _asked("q", _TEXT, "words that must all be there, in any case")

# Path to summary, parameters and the schema of the answer.
_READS: Mapping[str, tuple[str, list[Schema], str]] = {
    "/status": (
        "The status document (docs/protocol.md), and the workspace that the page belongs to.",
        [],
        "Status",
    ),
    "/locations": (
        "Locations, chosen by state and words.",
        [
            _WORDS,
            {
                **_asked("state", _list(_TEXT), "only these states"),
                "style": "form",
                "explode": True,
            },
        ],
        "Locations",
    ),
    "/location": (
        "One location, with its private memory, whole failure and last log lines.",
        [_asked("name", _NAME, "its name", required=True)],
        "Location",
    ),
    "/definitions": (
        "Rows of definitions over all locations.",
        [
            _WORDS,
            _asked("kind", _TEXT, "only this kind"),
            _PLACE,
            _asked("offset", _whole(0, 10**9, 0), "rows to pass over"),
            _asked("limit", _whole(1, 1000, 1000), "rows at most"),
        ],
        "Definitions",
    ),
    "/definition": (
        "One definition in full; a lazy one is constructed now.",
        [
            _LOCATION,
            _asked("name", _NAME, "its name", required=True),
            _asked("kind", _TEXT, "its kind, where a name is that of several"),
            _asked("repository", _TEXT, "its repository, where there are several"),
        ],
        "Definition",
    ),
    "/duplicates": ("Names that more than one location defines.", [], "Duplicates"),
    "/assets": ("The graph of assets over all locations.", [], "Assets"),
    "/schedules": ("Schedules in words, with their next five ticks.", [_PLACE], "Schedules"),
    "/environments": ("Environments in use and what is installed.", [], "Environments"),
    "/history": ("The generations that are kept, oldest first.", [_LOCATION], "History"),
    "/diff": (
        "What changed between two generations, by default the last two.",
        [
            _LOCATION,
            _asked("from", _whole(1, parameters.MOST), "the earlier generation"),
            _asked("to", _whole(1, parameters.MOST), "the later generation"),
        ],
        "Diff",
    ),
    "/logs": (
        "The last lines of a log, or those after a cursor as soon as there are any.",
        [
            _LOCATION,
            _asked("lines", _whole(0, 10_000, 50), "how many"),
            _asked("after", _whole(0, parameters.MOST), "the cursor of an earlier answer"),
            _asked("timeout", _whole(0, 30, 0), "seconds to wait for lines after the cursor"),
        ],
        "Logs",
    ),
}

_ORDER: Schema = {
    "type": "object",
    "required": ["order"],
    "properties": {
        "order": {"type": "string", "enum": ["reload", "restart", "stop", "start"]},
        "locations": {**_list(_NAME), "description": "their names"},
        "all": {"type": "boolean", "description": "all of them, where none is named"},
    },
    "anyOf": [
        {"required": ["locations"], "properties": {"locations": {"minItems": 1}}},
        {"required": ["all"], "properties": {"all": {"const": True}}},
    ],
}


def _answers(schema: str) -> Schema:
    def content(name: str) -> Schema:
        return {"application/json": {"schema": _ref(name)}}

    return {
        "200": {"description": "The answer.", "content": content(schema)},
        "default": {
            "description": "An error: 401 without the token, 403 from another site, 404 for an "
            "unknown name, 409 when refused, 422 for a bad parameter, 502 for an answer that cannot be "
            "read, 503 while no supervisor runs or there is no room, 504 when it does not answer in time.",
            "content": content("Error"),
        },
    }


def document() -> Schema:
    """The document, as it is served under ``/api/v1/openapi.json``."""
    paths: Schema = {
        path: {
            "get": {
                "operationId": path.strip("/"),
                "summary": words,
                "parameters": parameters,
                "responses": _answers(schema),
            }
        }
        for path, (words, parameters, schema) in _READS.items()
    }
    paths["/orders"] = {
        "post": {
            "operationId": "order",
            "summary": "Reload, restart, stop or start; answered at once with what was begun.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ORDER}}},
            "responses": _answers("Orders"),
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "supervise",
            "version": __version__,
            "description": "What `supervise web` shows, for programs.",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {
            "schemas": dict(_SCHEMAS),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
