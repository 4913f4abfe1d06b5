"""How a Dagster object is read whatever its version: by what it is called and what it answers.

Owns the questions every part of the adapter asks: is this value of that Dagster class (by name, so
that no Dagster module is imported and no version is compared), what does this attribute say, where
is the user's function behind this definition. Does not let one definition that cannot be read
sink the others: what raises is left out and reported once as an ``undescribable`` warning.
"""

import sys

from runner_shim.plain_data import plain, source_of, text

__all__ = [
    "CODE_REFERENCES",
    "COMPONENT_FILES",
    "Reader",
    "asset_name",
    "enum_word",
    "is_a",
    "is_dagster_function",
    "is_hidden_job",
    "is_of_dagster",
    "key_path",
    "module_named",
    "peek",
    "summary",
]

_PACKAGES = ("dagster", "dagster_shared")  # the latter split off in 1.10

# What a folder of components is made from.
COMPONENT_FILES = ("defs.yaml", "component.yaml", "defs.yml", "component.yml")

# Jobs that Dagster makes by itself and hides from people: one that holds every asset, and one for
# each schedule or sensor that targets assets without naming a job.
_HIDDEN_JOBS = ("__ASSET_JOB", "__ASSET_GROUP", "__anonymous_asset_job_")

# What a closure may hold beside the user's function: another definition, with a function of its own.
_ANY_DEFINITION = (
    "NodeDefinition",
    "PipelineDefinition",
    "JobDefinition",
    "ScheduleDefinition",
    "SensorDefinition",
    "ResourceDefinition",
    "AssetsDefinition",
    "RepositoryDefinition",
)

# Metadata that says where a definition stands: it belongs to `sources`, since a moved line must
# not change a snapshot.
CODE_REFERENCES = "dagster/code_references"

# The other metadata that is not the user's: the catalogue of every component type that happens to
# be installed, tens of kilobytes of JSON schema.
_NOT_METADATA = (CODE_REFERENCES, "plugin_component_types_json")


def is_a(value, *names):
    """True when ``value`` is an instance of a class of Dagster that has one of these names."""
    for base in type(value).__mro__:
        if base.__name__ in names and base.__module__.split(".", 1)[0] in _PACKAGES:
            return True
    return False


def is_of_dagster(value):
    """True when ``value`` is an instance of any class of Dagster, or of a subclass of one."""
    return any(base.__module__.split(".", 1)[0] in _PACKAGES for base in type(value).__mro__)


def module_named(*suffixes):
    """The first module ``dagster.<suffix>`` that is imported, or None.

    ``core`` became ``_core`` in 0.15; both spellings are tried.
    """
    for suffix in suffixes:
        for prefix in ("dagster._core.", "dagster.core.", "dagster."):
            module = sys.modules.get(prefix + suffix)
            if module is not None:
                return module
    return None


def is_hidden_job(name):
    """True for the jobs that Dagster makes by itself and does not show to people."""
    return isinstance(name, str) and name.startswith(_HIDDEN_JOBS)


def is_dagster_function(value):
    """True for a function that Dagster itself wrote (a wrapper, a resolver), not the user."""
    module = getattr(value, "__module__", None)
    return isinstance(module, str) and module.split(".", 1)[0] in _PACKAGES


def peek(value, *names):
    """The first of these attributes that ``value`` has and that is not None; may raise."""
    for name in names:
        found = getattr(value, name, None)
        if found is not None:
            return found
    return None


def key_path(key):
    """The parts of an asset key, as a list of str, or None."""
    path = getattr(key, "path", None)
    if path is None:
        return None
    return [text(part) for part in path]


def asset_name(key):
    """An asset key as people write it: its parts joined with ``/``."""
    path = key_path(key)
    return "/".join(path) if path is not None else text(key)


def enum_word(value):
    """An enum member's name in lower case, or None."""
    name = getattr(value, "name", None)
    return name.lower() if isinstance(name, str) else None


def summary(exception):
    """``Type: first line`` of an exception, for a warning."""
    try:
        lines = str(exception).strip().splitlines()
    except Exception:  # a user's __str__ may raise
        lines = []
    first = text(lines[0], 300) if lines else ""
    return type(exception).__name__ + (": " + first if first else "")


class Reader:
    """Reads definitions one after the other; remembers which one, so that a warning can name it."""

    def __init__(self, warn):
        self._warn = warn
        self._label = ""
        self._place = None
        self._problems = []

    def begin(self, kind, name, place=None):
        """From now on, what cannot be read belongs to this definition."""
        self._label = "%s %s" % (kind, text(name, 200))
        self._place = place
        self._problems = []

    def end(self):
        """Report what could not be read since ``begin``."""
        if not self._problems:
            return
        more = len(self._problems) - 1
        message = "%s is described in part: %s" % (self._label, self._problems[0])
        if more:
            message += " (and %d more)" % more
        filename, line = self._place or (None, None)
        self._warn("undescribable", message, file=filename, line=line)
        self._problems = []

    def warn(self, code, message, hint=None):
        """A warning of its own about anything."""
        self._warn(code, message, hint=hint)

    def attempt(self, what, function, *arguments):
        """``function(*arguments)``, or None with a note when it raises."""
        try:
            return function(*arguments)
        except Exception as exc:  # whatever a user's property or a lazy import raises
            self._problems.append("its %s raised %s" % (what, summary(exc)))
            return None

    def peek(self, value, *names):
        """As ``peek``, but an attribute that raises is noted and taken as absent."""
        return self.attempt(names[0].lstrip("_"), peek, value, *names)

    def text(self, value, *names):
        """The first of these attributes as str, or None."""
        found = self.peek(value, *names)
        return text(found) if isinstance(found, str) else None

    def strings(self, values):
        """A sorted list of str without repetitions, or None."""
        if not values or isinstance(values, str):
            return [text(values)] if values else None
        return sorted(set(text(value) for value in values))

    def tags(self, value, *names):
        """Tags as a dict of str to str, or None. Values that are data are shown as JSON."""
        found = self.peek(value, *(names or ("tags",)))
        if not found:
            return None
        return self.attempt("tags", self._tags, found)

    @staticmethod
    def _tags(tags):
        result = {}
        for key in tags:
            # How a key names its asset job inside Dagster is no fact about the user's definition.
            value = plain(tags[key])
            if not isinstance(value, str):
                import json

                value = json.dumps(value, sort_keys=True, ensure_ascii=False)
            result[text(key)] = text(value)
        return result

    def metadata(self, found):
        """Metadata as a dict of plain values, or None. Takes a mapping or a list of entries."""
        if not found:
            return None
        return self.attempt("metadata", self._metadata, found)

    def markdown(self, found):
        """The keys of the values of metadata that are Markdown, or None. Takes what ``metadata`` takes."""
        if not found:
            return None
        return self.attempt("metadata", self._markdown, found) or None

    @staticmethod
    def _metadata(found):
        return {text(key): _metadata_value(value) for key, value in _metadata_pairs(found)}

    @staticmethod
    def _markdown(found):
        # The wrapper's name ends in MetadataValue, before 1.0 in MetadataEntryData.
        return sorted(
            text(key)
            for key, value in _metadata_pairs(found)
            if type(value).__name__.startswith("MarkdownMetadata")
        )

    def owners(self, value):
        """Owners as a list of str, or None."""
        found = self.peek(value, "owners")
        return [text(owner) for owner in found] if found else None

    def source(self, *candidates):
        """``[file, line]`` of the first candidate with a user's function behind it, or None."""
        for candidate in candidates:
            function = _user_function(candidate)
            if function is not None:
                place = source_of(function)
                if place is not None:
                    return place
        return None

    def referenced_source(self, metadata):
        """``[file, line]`` from code reference metadata, or None."""
        if not metadata or not hasattr(metadata, "get"):
            return None
        return self.attempt("code references", _referenced_source, metadata.get(CODE_REFERENCES))


def _metadata_pairs(found):
    if hasattr(found, "items"):
        pairs = list(found.items())
    else:  # before 1.0: entries with a label
        pairs = [
            (entry.label, peek(entry, "value", "entry_data"))
            for entry in found
            if hasattr(entry, "label")
        ]
    return [(key, value) for key, value in pairs if key not in _NOT_METADATA]


def _metadata_value(value):
    """The plain value inside Dagster's wrapper for one."""
    if is_a(value, "MetadataValue", "EventMetadata") or type(value).__name__.endswith(
        ("MetadataValue", "MetadataEntryData")
    ):
        if is_a(value, "DagsterAssetMetadataValue"):
            return asset_name(value.asset_key)
        # `value` is the modern spelling; the others are what the classes were born with.
        inner = peek(value, "value", "text", "url", "path", "data", "md_str")
        if inner is not None and inner is not value:
            return plain(inner)
    if is_a(value, "AssetKey"):
        return asset_name(value)
    return plain(value)


def _user_function(candidate, depth=4):
    """The function of the user inside of what Dagster wraps around one, or None."""
    for _ in range(20):
        if candidate is None:
            return None
        inner = peek(candidate, "decorated_fn", "__wrapped__", "func")
        if inner is None:
            break
        candidate = inner
    if isinstance(candidate, type):
        return None if is_dagster_function(candidate) else candidate
    if not hasattr(candidate, "__code__"):
        return None
    if not is_dagster_function(candidate):
        return candidate
    # Old decorators keep the user's function in the closure of their own and nowhere else.
    for cell in (candidate.__closure__ or ()) if depth > 0 else ():
        try:
            found = cell.cell_contents
        except ValueError:  # a cell that was never filled
            continue
        if callable(found) and not isinstance(found, type) and not is_a(found, *_ANY_DEFINITION):
            function = _user_function(found, depth - 1)
            if function is not None:
                return function
    return None


def _referenced_source(references):
    for reference in getattr(references, "code_references", None) or ():
        filename = getattr(reference, "file_path", None)
        if isinstance(filename, str):
            from runner_shim.plain_data import place

            return place(filename, getattr(reference, "line_number", None))
    return None
