"""What Python's standard library has in one version and not in another.

Owns the table, and what is said where a team's code, or a library of its, wants a name that this Python has
not. Is imported only once something failed. Knows no file and no environment.
"""

import sys

from runner_shim import imported

__all__ = ["hint", "lacking_module"]

_ANOTHER = "load it with another python: `python` of its environment says which"
_OLDER = "load it with an older python, or use a release of what imports it that does without"

# What the standard library has had since when: {module: {name: version}}; "" is the module itself.
_SINCE = {
    "asyncio": {"Runner": (3, 11), "TaskGroup": (3, 11), "timeout": (3, 11), "to_thread": (3, 9)},
    "contextlib": {"aclosing": (3, 10), "chdir": (3, 11), "nullcontext": (3, 7)},
    "contextvars": {"": (3, 7)},
    "dataclasses": {"": (3, 7), "KW_ONLY": (3, 10)},
    "datetime": {"UTC": (3, 11)},
    "enum": {"StrEnum": (3, 11), "verify": (3, 11)},
    "functools": {"cache": (3, 9), "cached_property": (3, 8)},
    "graphlib": {"": (3, 9)},
    "itertools": {"batched": (3, 12), "pairwise": (3, 10)},
    "tomllib": {"": (3, 11)},
    "types": {"NoneType": (3, 10), "UnionType": (3, 10)},
    "typing": {
        name: version
        for version, names in (
            ((3, 8), ("Final", "Literal", "Protocol", "TypedDict", "get_args", "get_origin")),
            ((3, 9), ("Annotated",)),
            ((3, 10), ("Concatenate", "ParamSpec", "TypeAlias", "TypeGuard", "is_typeddict")),
            (
                (3, 11),
                ("LiteralString", "Never", "NotRequired", "Required", "Self", "TypeVarTuple")
                + ("Unpack", "assert_never", "assert_type", "dataclass_transform", "reveal_type"),
            ),
            ((3, 12), ("TypeAliasType", "override")),
            ((3, 13), ("NoDefault", "ReadOnly", "TypeIs")),
        )
        for name in names
    },
    "warnings": {"deprecated": (3, 13)},
    "zoneinfo": {"": (3, 9)},
}
_REMOVED = {
    "asynchat": (3, 12),
    "asyncore": (3, 12),
    "imp": (3, 12),
    "smtpd": (3, 12),
    "cgi": (3, 13),
    "crypt": (3, 13),
    "imghdr": (3, 13),
    "pipes": (3, 13),
    "telnetlib": (3, 13),
}


def _running():
    return "%d.%d" % sys.version_info[:2]


def lacking_module(name):
    """(sentence, remedy) where the standard library of another Python has the module ``name``, else None."""
    version = _SINCE.get(name, {}).get("")
    if version is not None and sys.version_info[:2] < version:
        said = "%s is part of python from %d.%d on, and this is python %s"
        return said % ((name,) + version + (_running(),)), _ANOTHER
    version = _REMOVED.get(name)
    if version is not None and sys.version_info[:2] >= version:
        said = "%s is no part of python since %d.%d, and this is python %s"
        return said % ((name,) + version + (_running(),)), _OLDER
    return None


def hint(text, module=None):
    """A remedy where ``text`` is that of an ImportError (of ``module``) or AttributeError for a name that the
    standard library has in another Python, else None."""
    match = imported.standard("re").match(
        r"cannot import name '(\w+)'|module '(\w+)' has no attribute '(\w+)'", text
    )
    if not match:
        return None
    module, name = match.group(2) or module, match.group(1) or match.group(3)
    if module is None:  # Python 3.6 does not say which
        module = next((one for one in sorted(_SINCE) if name in _SINCE[one]), None)
    version = _SINCE.get(module, {}).get(name)
    if version is not None and sys.version_info[:2] < version:
        said = "%s.%s needs python %d.%d, and this is python %s: %s"
        return said % ((module, name) + version + (_running(), _ANOTHER))
    if module == "collections" and sys.version_info[:2] >= (3, 10):
        if hasattr(imported.standard("collections.abc"), name):
            said = "it is collections.abc.%s since python 3.10, and this is python %s: %s"
            return said % (name, _running(), _OLDER)
    return None
