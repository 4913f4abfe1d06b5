"""What the functions of ops and assets give and raise beside plain values: outputs, failures, retries.

Owns these records and the arithmetic of a retry's delay. Runs nothing.
"""

from runner_shim import plain_data
from runner_shim.definitions.base import InvalidDefinitionError, caller

__all__ = ["Failure", "Output", "RetryPolicy", "RetryRequested"]

_BACKOFFS = ("constant", "linear", "exponential")
_DOUBLINGS = 30  # of an exponential delay, at most: what follows waits as long


class Output:
    """A value with its metadata; returned, or yielded, by the function of an op or asset.

    ``output_name`` is needed only where it is not clear from the place: an op with several outputs
    that yields them, or returns some of them. ``metadata`` is a dict of anything.
    """

    def __init__(self, value, output_name=None, metadata=None):
        if metadata is not None and not isinstance(metadata, dict):
            raise InvalidDefinitionError("metadata of an Output is a dict", caller())
        self.value = value
        self.output_name = output_name
        self.metadata = metadata or {}


class Failure(Exception):
    """Raised by an op or asset to fail with a sentence of its own and ``metadata`` (a dict of anything).

    Without ``allow_retries`` its retry policy does not apply.
    """

    def __init__(self, description=None, metadata=None, allow_retries=True):
        Exception.__init__(self, description or "it failed on purpose")
        self.description = description
        self.metadata = metadata or {}
        self.allow_retries = allow_retries


class RetryRequested(Exception):
    """Raised by an op or asset to be called again, at most ``max_retries`` times in all.

    ``seconds_to_wait`` is the delay; ``raise RetryRequested() from error`` says why.
    """

    def __init__(self, max_retries=1, seconds_to_wait=None):
        Exception.__init__(self, "a retry was requested")
        seconds_to_wait = seconds_to_wait or 0
        _check(
            "RetryRequested",
            ("max_retries", max_retries, _is_number(max_retries, int), "an integer"),
            (
                "seconds_to_wait",
                seconds_to_wait,
                _is_number(seconds_to_wait, (int, float)),
                "a number of seconds",
            ),
        )
        self.max_retries = max_retries
        self.seconds_to_wait = seconds_to_wait


class RetryPolicy:
    """Call an op or asset again when it raises, at most ``max_retries`` times.

    ``delay`` is in seconds; ``backoff`` says how it grows with the number n of the retry, from 1 on:
    ``constant``, ``linear`` (n times the delay) or ``exponential`` (2**n - 1 times).
    """

    def __init__(self, max_retries=1, delay=0, backoff="constant"):
        backoff = getattr(backoff, "value", backoff)  # an enum of the user's own
        backoff = backoff.lower() if isinstance(backoff, str) else backoff
        _check(
            "RetryPolicy",
            ("max_retries", max_retries, _is_number(max_retries, int), "an integer"),
            ("delay", delay, _is_number(delay, (int, float)), "a number of seconds"),
            ("backoff", backoff, backoff in _BACKOFFS, "one of " + ", ".join(_BACKOFFS)),
        )
        self.max_retries = max_retries
        self.delay = delay
        self.backoff = backoff

    def seconds(self, number):
        """The delay before the retry ``number``, which counts from 1."""
        if self.backoff == "linear":
            return self.delay * number
        if self.backoff == "exponential":
            return self.delay * (2 ** min(number, _DOUBLINGS) - 1)
        return self.delay


def _check(kind, *fields):
    for what, value, fits, expected in fields:
        if not fits:
            raise InvalidDefinitionError(
                "a %s has the %s %r" % (kind, what, plain_data.plain(value)),
                caller(),
                hint="it is %s" % expected,
            )


def _is_number(value, kinds):
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= 0
