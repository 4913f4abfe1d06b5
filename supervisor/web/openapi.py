"""The OpenAPI document of ``/api/v1``.

Owns the addresses: what each takes, and which document it gives. The documents' schemas come from their
declarations. Objects may gain fields within version 1, none is renamed. A test asks every address what
this promises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from supervisor import __version__
from supervisor.protocol import parameters
from supervisor.protocol.document_modules import CONTROL_DOCUMENTS
from supervisor.protocol.document_schema import Schema, components
from supervisor.protocol.methods import METHODS
from supervisor.states import RUN_STATES
from supervisor.web import documents
from supervisor.web.run_events import CURSOR

__all__ = ["document"]

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


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
_RUN: Schema = {
    **_asked("run", _NAME, "its id, or the beginning or the end of it", required=True),
    "in": "path",
}
_CURSOR: Schema = {"schema": {"type": "string", "pattern": f"^({CURSOR})?$"}}
_WORDS = _asked("q", _TEXT, "words that must all be there, in any case")

# Path to summary, parameters and the schema of the answer.
_READS: Mapping[str, tuple[str, list[Schema], str]] = {
    "/status": (
        "The status document (docs/protocol.md), and the workspace that the page belongs to.",
        [],
        "ApiStatus",
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
        "LocationStatus",
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
        "Shown",
    ),
    "/duplicates": ("Names that more than one location defines.", [], "Duplicates"),
    "/assets": ("The graph of assets over all locations.", [], "Assets"),
    "/schedules": ("Schedules in words, with their next five ticks.", [_PLACE], "Schedules"),
    "/environments": ("Environments in use and what is installed.", [], "EnvironmentRows"),
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
        "LogChunk",
    ),
    "/runs": (
        "The newest runs, newest first; a range of partitions is one row.",
        [
            _PLACE,
            _asked("job", _TEXT, "only those of this job"),
            _asked("q", _TEXT, "words that must all be in the id, job, assets or partition"),
            _asked("tag", _TEXT, "a tag that it must have: NAME, or NAME=VALUE"),
            {
                **_asked("state", _list({"enum": ["", *RUN_STATES]}), "only these states"),
                "style": "form",
                "explode": True,
            },
            _asked(
                "since",
                {"type": "number", "minimum": 0, "maximum": parameters.MOST_MOMENT},
                "only those launched at this time (Unix seconds) or later",
            ),
            _asked("limit", _whole(1, 1000, 20), "rows at most"),
            _asked("offset", _whole(0, parameters.MOST, 0), "rows to pass over"),
            _asked("parent", _TEXT, "the runs of this range of partitions"),
        ],
        "RunRows",
    ),
    "/runs/{run}": ("One run in full, or a range of partitions.", [_RUN], "RunDetail"),
    "/runs/{run}/events": (
        "What happened in a run and what it wrote, as server-sent events until its end, or with `Accept: "
        "application/json` as one page.",
        [
            _RUN,
            {
                **_asked("after", _TEXT, "the cursor of an earlier answer, or the id of an event"),
                **_CURSOR,
            },
            {
                **_asked("Last-Event-ID", _TEXT, "the same, as browsers send it"),
                **_CURSOR,
                "in": "header",
            },
        ],
        "RunPage",
    ),
}

_STREAM: Schema = {
    "text/event-stream": {
        "schema": {
            "type": "string",
            "description": '`events` (`{"events": [RunEvent]}`), `out` and `err` (`{"text": …}`), each with a '
            'cursor as its id; `runs` (`{"runs": [RunRow]}`) of a range of partitions; `run` (RunRow) first and '
            "when its state changes; at last `end` (RunDetail).",
        }
    }
}

_NAMES = {"/runs/{run}": "run", "/runs/{run}/events": "run_events"}

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


def _answers(schema: str, more: Schema | None = None) -> Schema:
    def content(name: str) -> Schema:
        return {"application/json": {"schema": _ref(name)}}

    return {
        "200": {"description": "The answer.", "content": {**content(schema), **(more or {})}},
        "default": {
            "description": "An error: 401 without a token, or with one that is not valid, 403 from "
            "another site, or for what the role does not allow, 404 for an unknown name, 409 when refused, "
            "422 for a bad parameter, 502 for an answer that cannot be read, 503 while no supervisor runs or "
            "there is no room, 504 when it does not answer in time.",
            "content": content("ApiError"),
        },
    }


def _reached(paths: Schema) -> Schema:
    """The schemas that the paths name, and those that these name."""
    known = components(*CONTROL_DOCUMENTS, documents)
    found: Schema = {}
    waiting: list[Any] = [paths]
    while waiting:
        for name in re.findall(r"#/components/schemas/(\w+)", repr(waiting.pop())):
            if name not in found:
                found[name] = known[name]
                waiting.append(known[name])
    return found


@cache
def document() -> Schema:
    """The document, as it is served under ``/api/v1/openapi.json``."""
    paths: Schema = {
        path: {
            "get": {
                "operationId": _NAMES.get(path, path.strip("/")),
                "summary": words,
                "parameters": parameters,
                "responses": _answers(schema, _STREAM if path.endswith("/events") else None),
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
    for method in METHODS.values():
        if method.over_http:
            body = {"application/json": {"schema": method.schema}}
            paths[f"/methods/{method.name}"] = {
                "post": {
                    "operationId": f"method_{method.name}",
                    "summary": method.sentence,
                    "requestBody": {"required": True, "content": body},
                    "responses": _answers(method.result),
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
            "schemas": _reached(paths),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
