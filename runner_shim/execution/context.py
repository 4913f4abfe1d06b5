"""What an op, an asset or a resource gets of its run: its first parameter, ``context``.

Owns the names that user code reads there, and the lines that it logs. Everything is a plain attribute
that is set before the function is called.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import InvalidDefinitionError
from runner_shim.imported import standard
from runner_shim.loading.load_failure import near

__all__ = ["Context", "Log", "Resources"]


class Log:
    """``context.log``: its methods are those of a logger; each line is an event LOGS."""

    def __init__(self, events, step):
        self._events = events
        self._step = step

    def log(self, level, message, *arguments):
        """Tell one line; ``level`` is a word, or a number as of ``logging``."""
        if isinstance(level, int):
            level = standard("logging").getLevelName(level)
        text = str(message)
        if arguments:
            only = arguments[0] if len(arguments) == 1 else None
            try:
                text = text % (only if isinstance(only, dict) and only else arguments)
            except (TypeError, ValueError, KeyError):  # a line is no reason to fail
                text = " ".join([text] + [str(one) for one in arguments])
        self._events("LOGS", self._step, text, {"level": str(level).upper()})

    def debug(self, message, *arguments):
        """A line of the level DEBUG."""
        self.log("DEBUG", message, *arguments)

    def info(self, message, *arguments):
        """A line of the level INFO."""
        self.log("INFO", message, *arguments)

    def warning(self, message, *arguments):
        """A line of the level WARNING."""
        self.log("WARNING", message, *arguments)

    warn = warning

    def error(self, message, *arguments):
        """A line of the level ERROR."""
        self.log("ERROR", message, *arguments)

    def exception(self, message, *arguments):
        """A line of the level ERROR, with the traceback of what is being handled."""
        text = standard("traceback").format_exc()
        self.log("ERROR", str(message) % arguments if arguments else str(message) + "\n" + text)

    def critical(self, message, *arguments):
        """A line of the level CRITICAL."""
        self.log("CRITICAL", message, *arguments)


class Resources:
    """``context.resources``: the values of the resources that were asked for, as attributes."""

    def __init__(self, owner, values):
        self.__dict__.update(values)
        self.__dict__["_owner"] = owner

    def __getattr__(self, name):
        names = [one for one in self.__dict__ if one != "_owner"]
        hint = "name it in required_resource_keys"
        if names:
            hint = "%s; %s" % (near(name, names), hint)
        raise AttributeError("%s has no resource %r (%s)" % (self._owner, name, hint))


class Context:
    """One per call. What does not apply is None.

    ``run_id``, ``job_name``, ``op_name``, ``step_key`` (the op's name with the graphs it is in),
    ``op_config``, ``job_config``, ``run_config``, ``resource_config``, ``resources``, ``log``,
    ``tags`` and ``run_tags`` (those of the run), ``op_tags``, ``partition_key``, ``asset_key`` (a
    string with ``/``), ``retry_number``; ``cursor`` is a sensor's alone.
    """

    def __init__(self, **fields):
        for name in _FIELDS:
            setattr(self, name, fields.pop(name, None))
        self.retry_number = self.retry_number or 0
        self.run_tags = self.tags
        self._metadata = {}

    @property
    def has_partition_key(self):
        """True when the run is one of a partition."""
        return self.partition_key is not None

    def add_output_metadata(self, metadata, output_name=None):
        """Metadata (a dict of anything) of an output, by its name; of the only one without."""
        if not isinstance(metadata, dict):
            raise InvalidDefinitionError("metadata of an output is a dict")
        self._metadata.setdefault(output_name, {}).update(plain_data.plain(metadata))

    def metadata_of(self, output_name):
        """What ``add_output_metadata`` was told of an output: a dict."""
        found = dict(self._metadata.get(None, {}))
        found.update(self._metadata.get(output_name, {}))
        return found


_FIELDS = (
    "asset_key",
    "cursor",
    "job_config",
    "job_name",
    "log",
    "op_config",
    "op_name",
    "op_tags",
    "partition_key",
    "resource_config",
    "resources",
    "retry_number",
    "run_config",
    "run_id",
    "step_key",
    "tags",
)
