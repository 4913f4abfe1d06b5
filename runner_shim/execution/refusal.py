"""Why an order cannot be run, as data: a LoadFailure with what is wrong in its config.

Owns that class alone; who raises it decides.
"""

from runner_shim import plain_data
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["Refusal", "not_supported"]


class Refusal(LoadFailure):
    """An order that is refused; ``problems`` are dicts of ``path``, ``expected`` and ``message``."""

    def __init__(self, kind, message, hint=None, problems=(), place=None):
        file, line = place or (None, None)
        LoadFailure.__init__(self, kind, message, hint=hint, file=file, line=line)
        self.problems = list(problems)

    def as_data(self):
        """As LoadFailure's, and ``problems`` where there are some."""
        data = LoadFailure.as_data(self)
        if self.problems:
            data["problems"] = plain_data.plain(self.problems)
        return data


def not_supported(message, place=None, hint=None):
    """The Refusal of a definition that asks for something that runs do not do."""
    return Refusal("not_supported", message, hint=hint, place=place)
