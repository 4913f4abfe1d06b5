"""User values as plain data: the same bytes in every Python version, on any machine and any day.

Owns the conversion of whatever a definition carries (metadata, tags, defaults, paths, enums) into
None, bool, int, float, str, list and dict with string keys, and the shape of a definition, a
config field and a source position. Does not call ``repr`` (addresses), to consume an iterator,
to follow a cycle, to grow without bound and to raise because a user's object does. Knows no
framework.
"""

import os
import sys
from collections.abc import Mapping

__all__ = [
    "MAX_ITEMS",
    "MAX_TEXT",
    "add_node_places",
    "definition",
    "dotted_name",
    "field",
    "key_of",
    "ordered",
    "place",
    "plain",
    "set_root",
    "source_of",
    "text",
]

# One value of a definition; a snapshot as a whole is bounded by the wire.
MAX_TEXT = 16384  # characters of one string
MAX_ITEMS = 20000  # values inside one call of plain()
ELLIPSIS = "…"

# Integers outside of these do not fit a msgpack integer.
_INT_MIN = -(2**63)
_INT_MAX = 2**64 - 1

_roots = []  # prefixes that become relative, set by the target
_places = {}  # co_filename -> the file as snapshots show it


def set_root(directory):
    """Make ``directory`` (absolute) the place that paths are shown relative to."""
    del _roots[:]
    _places.clear()
    for path in (directory, os.path.realpath(directory)):
        prefix = path.rstrip(os.sep) + os.sep
        if prefix != os.sep and prefix not in _roots:
            _roots.append(prefix)


def _relative(path):
    """``path`` without the root in front of it."""
    if not _roots:
        set_root(os.getcwd())
    for prefix in _roots:
        if path.startswith(prefix):
            return path[len(prefix) :] or "."
        if path == prefix[:-1]:
            return "."
    return path


def text(value, limit=MAX_TEXT):
    """``value`` as a str that can be sent: cut at ``limit`` characters, lone surrogates escaped."""
    value = str.__str__(value) if isinstance(value, str) else str(value)
    if len(value) > limit:
        value = value[:limit] + ELLIPSIS
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        value = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def dotted_name(thing):
    """``module.qualname`` of a class or function; of its type for anything else."""
    if not isinstance(getattr(thing, "__qualname__", None), str):
        thing = type(thing)
    module = getattr(thing, "__module__", None)
    if isinstance(module, str) and module != "builtins":
        return module + "." + thing.__qualname__
    return thing.__qualname__


class _Budget:
    __slots__ = ("left", "path")

    def __init__(self):
        self.left = MAX_ITEMS
        self.path = set()  # ids of the containers we are inside of


def plain(value, depth=8):
    """``value`` as plain data, deterministic; never raises.

    Sets are sorted, enums become their value where that is a string and else their name, dates
    and times their ISO text, durations seconds, classes and functions ``module.qualname``, named
    tuples and dataclasses a dict of their fields, paths (and strings that are paths) under the
    working directory relative to it, integers that msgpack cannot hold, NaN and infinities text,
    other objects the name of their type. Nested deeper than ``depth``, a cycle, and what exceeds
    MAX_ITEMS become "…".
    """
    return _plain(value, depth, _Budget())


def _plain(value, depth, budget):
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if value[:1] == os.sep:
            value = _relative(value)
        return text(value)
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else text(_big(value))
    if kind is float:
        return value if value - value == 0.0 else str(value)
    budget.left -= 1
    if depth <= 0 or budget.left <= 0 or id(value) in budget.path:
        return ELLIPSIS
    budget.path.add(id(value))
    try:
        return _plain_object(value, depth - 1, budget)
    except Exception:  # a user's class may raise anything from any method
        try:
            return dotted_name(type(value))
        except Exception:
            return "object"
    finally:
        budget.path.discard(id(value))


def _big(value):
    # Python 3.11 refuses to print integers of more than 4300 digits.
    return str(value) if value.bit_length() < 4096 else hex(value)


def _plain_object(value, depth, budget):
    if isinstance(value, Mapping):
        return _plain_items(value.items(), depth, budget)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        pairs = zip(value._fields, value)  # noqa: B905 - strict= came with Python 3.10
        return _plain_items(pairs, depth, budget)
    if isinstance(value, (list, tuple)):
        return _plain_list(value, depth, budget)
    if isinstance(value, (set, frozenset)):
        return sorted(_plain_list(value, depth, budget), key=_sort_key)
    enum = sys.modules.get("enum")
    if enum is not None and isinstance(value, enum.Enum):
        return text(value.value if isinstance(value.value, str) else value.name)
    if isinstance(value, str):
        return _plain(str.__str__(value), depth + 1, budget)
    if isinstance(value, int):
        return _plain(int.__int__(value), depth + 1, budget)
    if isinstance(value, float):
        return _plain(float.__float__(value), depth + 1, budget)
    if isinstance(value, (bytes, bytearray)):
        return text(bytes(value[:MAX_TEXT]).decode("utf-8", "backslashreplace"))
    if isinstance(value, type):
        return dotted_name(value)
    if hasattr(value, "__fspath__"):
        return _plain(os.fspath(value), depth + 1, budget)
    if hasattr(value, "__dataclass_fields__"):
        pairs = [(name, getattr(value, name, None)) for name in value.__dataclass_fields__]
        return _plain_items(pairs, depth, budget)
    return _plain_leaf(value)


def _plain_leaf(value):
    datetime = sys.modules.get("datetime")
    if datetime is not None:
        if isinstance(value, (datetime.date, datetime.time)):  # a datetime is a date
            return text(value.isoformat())
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
    module = type(value).__module__
    if module in ("decimal", "_decimal", "_pydecimal", "uuid", "fractions"):
        return text(str(value))
    if isinstance(value, type(sys)):
        return value.__name__
    if type(value).__name__ == "partial" and module == "functools":
        return "functools.partial(%s)" % dotted_name(value.func)
    return dotted_name(value)


def _plain_list(values, depth, budget):
    result = []
    for item in values:
        if budget.left <= 0:
            result.append(ELLIPSIS)
            break
        budget.left -= 1
        result.append(_plain(item, depth, budget))
    return result


def _plain_items(pairs, depth, budget):
    result = {}
    for key, item in pairs:
        if budget.left <= 0:
            result[ELLIPSIS] = ELLIPSIS
            break
        budget.left -= 1
        if type(key) is not str:
            key = _plain(key, depth, budget)
            if not isinstance(key, str):
                key = ascii(ordered(key))
        result[text(key)] = _plain(item, depth, budget)
    return result


def _sort_key(value):
    # ascii(), because what repr() escapes depends on the Unicode tables of the Python version.
    return ascii(ordered(value))


def ordered(value):
    """The same plain data with the keys of every dict in sorted order: the last canonical step."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [ordered(item) for item in value]
    return value


def definition(kind, name, **fields):
    """A definition as in docs/snapshot.md; ``fields`` are plain data, absent values are left out.

    Absent are None and empty strings, lists, dicts and tuples; False and 0 are values.
    """
    result = {"kind": kind, "name": text(name)}
    for key, value in fields.items():
        if not _is_empty(value):
            result[key] = value
    return result


def key_of(definition):
    """``kind:name``, with ``@repository`` where the definition names one (docs/snapshot.md)."""
    key = "%s:%s" % (definition["kind"], definition["name"])
    return key + "@" + definition["repository"] if "repository" in definition else key


def add_node_places(sources, nodes):
    """Put the places of the ops and graphs that jobs are made of into ``sources``, by key.

    ``nodes`` are pairs of a key and a place. What is a definition itself keeps its own; a key that stands
    for two places has none.
    """
    found = {}
    for key, place in nodes:
        if place and key not in sources and found.setdefault(key, place) != place:
            found[key] = None
    sources.update((key, place) for key, place in found.items() if place)


def _is_empty(value):
    # Not `value in _EMPTY`: a user's __eq__ has no say here, and 0 == False must not matter.
    return value is None or (isinstance(value, (str, list, dict, tuple)) and not value)


def field(name, type, required=None, default=None, description=None, fields=None):
    """A config field; ``default`` is JSON text, ``fields`` the list of a nested shape's fields."""
    result = {"name": text(name), "type": text(type)}
    for key, value in (
        ("required", required),
        ("default", default),
        ("description", description),
        ("fields", fields),
    ):
        if not _is_empty(value):
            result[key] = value
    return result


def place(filename, line):
    """``[file, line]`` with the file relative to the working directory when it lies below it."""
    shown = _places.get(filename)
    if shown is None:
        shown = filename
        if not filename.startswith("<"):
            shown = _relative(os.path.abspath(filename))
        shown = _places[filename] = text(shown)
    return [shown, max(1, line or 1)]


def source_of(thing):
    """Where ``thing`` is defined as ``[file, line]``, or None where that cannot be told.

    Takes functions (decorated ones are unwrapped; the line is that of the first decorator),
    methods, partials, classes, code objects and frames; for another object its class. Never
    raises.
    """
    try:
        return _source_of(thing)
    except Exception:  # a user's object may raise from any attribute
        return None


def _source_of(thing):
    for _ in range(100):  # decorators may wrap each other in a circle
        if hasattr(thing, "f_code"):
            return place(thing.f_code.co_filename, thing.f_lineno)
        inner = getattr(thing, "__wrapped__", None)
        if inner is None and not isinstance(thing, type):
            inner = getattr(thing, "__func__", None)
            if inner is None and type(thing).__name__ == "partial":
                inner = thing.func
        if inner is None:
            break
        thing = inner
    code = thing if hasattr(thing, "co_firstlineno") else getattr(thing, "__code__", None)
    if code is not None:
        return place(code.co_filename, code.co_firstlineno)
    if not isinstance(thing, type):
        thing = type(thing)
    module = sys.modules.get(thing.__module__)
    filename = getattr(module, "__file__", None)
    if filename is None:
        return None
    line = thing.__dict__.get("__firstlineno__")  # Python 3.13
    if line is None:
        line = _class_line(filename, thing)
    return place(filename, line)


def _class_line(filename, cls):
    """The line of a class statement, without the cost of parsing the whole file."""
    from runner_shim.imported import standard

    # A class body's functions know their line; the class statement is the nearest one above.
    starts = [
        member.__code__.co_firstlineno
        for member in cls.__dict__.values()
        if hasattr(member, "__code__") and member.__code__.co_filename == filename
    ]
    lines = standard("linecache").getlines(filename)
    last = min(starts) if starts else len(lines)
    for number in range(last, 0, -1):
        words = lines[number - 1].split("(")[0].split(":")[0].split()
        if words == ["class", cls.__name__]:
            return number
    return 1
