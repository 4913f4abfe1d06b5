"""What all native definitions share: a name, a place in a source file, and checked plain fields.

Owns the base class, the error that every wrong definition raises and the checks of names, tags,
owners, metadata, config schemas and type names. Refuses a wrong value where it is written, so
that the traceback points there. Python 3.6, no imports beyond our own.
"""

import sys

from runner_shim import plain_data
from runner_shim.definitions.signature import parameters
from runner_shim.imported import standard

__all__ = [
    "Definition",
    "Field",
    "InvalidDefinitionError",
    "caller",
    "check_config",
    "check_resource_keys",
    "check_retry_policy",
    "check_strings",
    "common",
    "function_parameters",
    "refuse",
    "type_name",
]

_BUILTIN_TYPES = {
    str: "String",
    int: "Int",
    float: "Float",
    bool: "Bool",
    list: "Array",
    dict: "Map",
    object: "Any",
    None: "Nothing",
    type(None): "Nothing",
}


class InvalidDefinitionError(Exception):
    """A definition that cannot be: ``message`` names it; ``file`` and ``line`` say where it is.

    ``kind`` is the kind of load failure it becomes (docs/snapshot.md).
    """

    def __init__(self, message, source=None, hint=None, kind="invalid_definition"):
        Exception.__init__(self, message)
        self.message = message
        self.file, self.line = source or (None, None)
        self.hint = hint
        self.kind = kind


def refuse(definition, message, hint=None):
    """Raise InvalidDefinitionError: ``<kind> '<name>' <message>``, at the definition's place."""
    raise InvalidDefinitionError(
        "%s %r %s" % (definition.KIND.replace("_", " "), definition.name, message),
        definition.source,
        hint,
    )


def caller():
    """``[file, line]`` of the nearest frame that is not ours: where a definition is written."""
    frame = sys._getframe(1)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith("runner_shim.definitions."):
            return plain_data.place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


class Definition:
    """Base of the native definitions.

    ``name`` is its identity within its kind; ``source`` is ``[file, line]``. ``common`` are the
    fields of every kind, already plain: description, tags, owners, metadata.
    """

    KIND = ""  # as in docs/snapshot.md

    def __init__(self, name, source, description=None, tags=None, owners=None, metadata=None):
        self.name = name
        self.source = source
        if not isinstance(name, str) or not name.strip():
            raise InvalidDefinitionError(
                "%s %s has the name %r: a name is a string that is not empty"
                % (
                    "an" if self.KIND[:1] in "aeiou" else "a",
                    self.KIND.replace("_", " "),
                    plain_data.plain(name),
                ),
                source,
                hint='give it one: name="…"' if name is None else None,
            )
        self.name = plain_data.text(name)
        self.common = common(self, description, tags, owners, metadata)

    @property
    def description(self):
        return self.common.get("description")

    def __repr__(self):
        return "<%s %r>" % (type(self).__name__, self.name)


def common(definition, description=None, tags=None, owners=None, metadata=None):
    """The fields of every kind as plain data; refuses what is not of its type."""
    fields = {}
    if description:
        if not isinstance(description, str):
            refuse(definition, "has a description that is not a string")
        fields["description"] = plain_data.text(clean_description(description))
    if tags:
        if not isinstance(tags, dict):
            refuse(definition, "has tags that are not a dict")
        plain = plain_data.plain(tags)
        fields["tags"] = {
            key: value if isinstance(value, str) else _json(value) for key, value in plain.items()
        }
    if owners:
        fields["owners"] = check_strings(definition, "owners", owners)
    if metadata:
        if not isinstance(metadata, dict):
            refuse(definition, "has metadata that is not a dict")
        fields["metadata"] = plain_data.plain(metadata)
    return fields


def _json(value):
    return standard("json").dumps(plain_data.ordered(value))


def clean_description(text):
    """A docstring without the indentation of the code it stands in."""
    lines = text.expandtabs().splitlines()
    margins = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(margins) if margins else 0
    lines = [
        line[margin:].rstrip() if number else line.strip() for number, line in enumerate(lines)
    ]
    return "\n".join(lines).strip()


def check_strings(definition, what, values):
    """``values`` (an iterable of strings) as a list in the given order."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        refuse(definition, "has %s that are not a list of strings" % what)
    values = sorted(values, key=str) if isinstance(values, (set, frozenset)) else list(values)
    for value in values:
        if not isinstance(value, str):
            refuse(definition, "has %s with a %s: all are strings" % (what, type(value).__name__))
    return [plain_data.text(value) for value in values]


def check_resource_keys(definition, keys):
    """Sorted names of the resources that a definition needs."""
    return sorted(set(check_strings(definition, "required_resource_keys", keys or ())))


def check_retry_policy(definition, policy):
    """``policy``, which is a RetryPolicy or None."""
    if policy is not None and not hasattr(policy, "max_retries"):
        refuse(
            definition,
            "has a retry_policy of type %s" % plain_data.dotted_name(type(policy)),
            hint="write RetryPolicy(max_retries=2, delay=10)",
        )
    return policy


def type_name(annotation):
    """An annotation as text, the same in every Python version as far as that can be."""
    try:
        return plain_data.text(_type_name(annotation), 200)
    except Exception:  # annotations are arbitrary objects
        return type(annotation).__name__


def _type_name(annotation):
    if isinstance(annotation, str):
        return annotation
    if annotation is None or isinstance(annotation, type) and annotation in _BUILTIN_TYPES:
        return _BUILTIN_TYPES[annotation]
    arguments = getattr(annotation, "__args__", None)
    if isinstance(arguments, tuple) and arguments:
        origin = getattr(annotation, "__origin__", None)
        if type(annotation).__name__ in ("UnionType", "Union") or str(origin) == "typing.Union":
            names = [_type_name(argument) for argument in arguments]
            return " | ".join(name for name in names if name != "Nothing") + (
                " | None" if "Nothing" in names else ""
            )
        names = ["..." if argument is Ellipsis else _type_name(argument) for argument in arguments]
        name = getattr(annotation, "_name", None) or getattr(origin, "__name__", "Any")
        return "%s[%s]" % (name, ", ".join(names))
    if isinstance(annotation, type):
        return annotation.__qualname__
    return getattr(annotation, "_name", None) or type(annotation).__name__.lstrip("_")


def function_parameters(function):
    """Names of the parameters of ``function`` after a leading context parameter."""
    found = parameters(function)
    return [one.name for one in (found[1:] if found and found[0].is_context else found)]


def annotations_of(function):
    """The annotations of a function; {} where they cannot be evaluated (Python 3.14 is late)."""
    try:
        return dict(function.__annotations__)
    except Exception:  # names of types that exist for type checkers only
        return {}


class Field:
    """One config value: its type, whether it must be given, its default and description.

    ``type`` is a class (str, int, float, bool, list, dict, object), a type's name, or a dict of
    fields. A field with a default, or with ``is_required=False``, may be left out.
    """

    _MISSING = object()

    def __init__(self, type, default_value=_MISSING, is_required=None, description=None):
        self.type = type
        self.default_value = default_value
        self.is_required = is_required
        self.description = description

    @property
    def has_default(self):
        return self.default_value is not Field._MISSING


def check_config(definition, schema):
    """A config schema as the list of fields of docs/snapshot.md, in the order it was given.

    ``schema`` is a dict of name to a type, a Field or a nested dict; or one type, which makes one
    field named ``""``.
    """
    if schema is None:
        return []
    if isinstance(schema, dict):
        return [
            _config_field(definition, plain_data.text(name), value)
            for name, value in schema.items()
        ]
    return [_config_field(definition, "", schema)]


def _config_field(definition, name, value):
    given = value if isinstance(value, Field) else Field(value)
    fields = None
    if isinstance(given.type, dict):
        kind, fields = "Shape", check_config(definition, given.type)
    elif isinstance(given.type, (type, str)):
        kind = type_name(given.type)
    elif isinstance(given.type, list) and len(given.type) == 1 and isinstance(given.type[0], type):
        kind = "[%s]" % type_name(given.type[0])
    else:
        refuse(
            definition,
            "has a config field %r of %s" % (name, plain_data.plain(given.type)),
            hint="a config field is a type (str), a Field, or a dict of fields",
        )
    required = given.is_required
    if required is None:
        required = not given.has_default
    default = _json(plain_data.plain(given.default_value)) if given.has_default else None
    return plain_data.field(name, kind, bool(required), default, given.description, fields)
