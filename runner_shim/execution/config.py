"""The config of a native run, checked against the schemas of its definitions.

Owns the check and the defaults. All that is wrong is found before it is told: each problem has the
path of the value, what is expected there, and a sentence. Values are never converted.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import Field
from runner_shim.execution.refusal import Refusal
from runner_shim.loading.load_failure import near

__all__ = ["Checker"]

_MISSING = object()
_WORDS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a map",
}
# How a schema may name a type by a string.
_NAMED = {
    "str": str, "String": str, "int": int, "Int": int, "float": float, "Float": float,
    "bool": bool, "Bool": bool, "list": list, "Array": list, "dict": dict, "Map": dict,
}  # fmt: skip


class Checker:
    """Checks values and remembers what is wrong; ``finish`` raises it."""

    def __init__(self):
        self.problems = []

    def wrong(self, path, expected, message):
        """Note a problem at ``path`` (a tuple of names)."""
        self.problems.append({"path": ".".join(path), "expected": expected, "message": message})

    def finish(self, what):
        """Raise Refusal ``run_config`` when anything was wrong; ``what`` names the run."""
        if not self.problems:
            return
        first = self.problems[0]
        others = [one["message"] for one in self.problems[1:6]]
        hint = None
        if others:
            hint = "%d more: %s" % (len(self.problems) - 1, "; ".join(others))
        raise Refusal(
            "run_config",
            "the config does not fit %s: %s" % (what, first["message"]),
            hint=hint,
            problems=self.problems,
        )

    def keys(self, value, known, path):
        """``value`` as a dict whose keys are among ``known``; what is no dict, or unknown, is wrong."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(path, "a map", "%s: a map is expected, not %s" % (_at(path), _shown(value)))
            return {}
        for key in value:
            if key not in known:
                expected = "one of " + ", ".join(sorted(known)) if known else "nothing"
                said = near(key, known) or "nothing is expected there"
                where = path + (str(key),)
                self.wrong(where, expected, "%s is not known: %s" % (_at(where), said))
        return {key: value[key] for key in value if key in known}

    def config(self, schema, value, path, given=True):
        """``value`` as the schema of a definition has it, with its defaults."""
        if schema is None:
            if given and value is not None and value != {}:
                self.wrong(path, "nothing", "%s: nothing is expected there" % _at(path))
            return {}
        if isinstance(schema, dict):
            return self._shape(schema, value if given and value is not None else {}, path)
        return self._field(schema, value if given else _MISSING, path)

    def _shape(self, schema, value, path):
        fields = {plain_data.text(name): schema[name] for name in schema}
        value = self.keys(value, fields, path)
        found = {}
        for name, field in fields.items():
            one = self._field(field, value.get(name, _MISSING), path + (name,))
            if one is not _MISSING:
                found[name] = one
        return found

    def _field(self, given, value, path):
        field = given if isinstance(given, Field) else Field(given)
        if value is _MISSING:
            if field.has_default:
                return field.default_value
            if isinstance(field.type, dict) and field.is_required is not True:
                # A map of fields that all have defaults need not be written.
                return self._shape(field.type, {}, path)
            if field.is_required is None or field.is_required:
                expected = _expected(field.type)
                self.wrong(path, expected, "%s is missing: %s is expected" % (_at(path), expected))
            return _MISSING
        if isinstance(field.type, dict):
            return self._shape(field.type, value, path)
        return self._value(field.type, value, path)

    def _value(self, kind, value, path):
        if isinstance(kind, list) and len(kind) == 1:
            if not isinstance(value, list):
                return self._unexpected(kind, value, path)
            return [
                self._value(kind[0], one, path + (str(number),)) for number, one in enumerate(value)
            ]
        wanted = _NAMED.get(kind, object) if isinstance(kind, str) else kind
        if wanted is float:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        elif wanted is int:
            fits = isinstance(value, int) and not isinstance(value, bool)
        else:
            fits = wanted not in _WORDS or isinstance(value, wanted)
        return value if fits else self._unexpected(kind, value, path)

    def _unexpected(self, kind, value, path):
        expected = _expected(kind)
        self.wrong(
            path, expected, "%s: %s is expected, not %s" % (_at(path), expected, _shown(value))
        )
        return value


def _expected(kind):
    if isinstance(kind, dict):
        return "a map"
    if isinstance(kind, list) and len(kind) == 1:
        return "a list, each of its items %s" % _expected(kind[0])
    wanted = _NAMED.get(kind) if isinstance(kind, str) else kind
    return _WORDS.get(wanted, "a value")


def _at(path):
    return ".".join(path) or "the config"


def _shown(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return "a string"  # which may be a secret
    return {list: "a list", dict: "a map"}.get(type(value), type(value).__name__)
