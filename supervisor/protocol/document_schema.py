"""JSON Schema of the documents, as OpenAPI 3.1 takes it.

Owns the way from a ``TypedDict`` to a schema: a document becomes a component, a field that may be
absent is not required, and what ``Annotated`` says beside a type is its description or further keywords.
No schema forbids further fields: some will be added.
"""

from __future__ import annotations

from inspect import cleandoc
from types import ModuleType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

__all__ = ["Count", "Keywords", "Schema", "components"]

Schema = dict[str, Any]

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


class Keywords:
    """Further keywords of JSON Schema for the type that they stand beside."""

    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords


Count = Annotated[int, Keywords(minimum=0)]


def components(*modules: ModuleType) -> dict[str, Schema]:
    """The schema of each document that the modules declare, by its name."""
    found = (getattr(module, name) for module in modules for name in module.__all__)
    return {one.__name__: _object(one) for one in found if is_typeddict(one)}


def _object(document: Any) -> Schema:
    fields = get_type_hints(document, include_extras=True)
    return {
        "type": "object",
        "description": cleandoc(document.__doc__ or ""),
        "properties": {name: _schema(of) for name, of in fields.items()},
        "required": sorted(document.__required_keys__, key=list(fields).index),
    }


def _schema(of: Any) -> Schema:
    origin, arguments = get_origin(of), get_args(of)
    if of is Any:
        return {}
    if is_typeddict(of):
        return {"$ref": f"#/components/schemas/{of.__name__}"}
    if origin is NotRequired:
        return _schema(arguments[0])
    if origin is Annotated:
        found = _schema(arguments[0])
        for said in of.__metadata__:
            found |= said.keywords if isinstance(said, Keywords) else {"description": said}
        return found
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(one) for one in arguments]}
    if origin is list:
        return {"type": "array", **_present("items", _schema(arguments[0]))}
    if origin is dict:
        return {"type": "object", **_present("additionalProperties", _schema(arguments[1]))}
    return {"type": _SCALARS[of]}


def _present(name: str, schema: Schema) -> Schema:
    return {name: schema} if schema else {}
