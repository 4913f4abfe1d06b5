"""What user code raised while it ran, as a failure of the run.

Owns the sentences that differ from those of a load: there, ``sys.exit()`` and an interrupt mean
something else. The shape is that of a load failure, and ``step``.
"""

from runner_shim import plain_data
from runner_shim.loading import load_failure

__all__ = ["of_step", "with_step"]


def of_step(error, step):
    """The failure of the step ``step`` (a name, or None) that raised ``error``, as data."""
    if isinstance(error, KeyboardInterrupt):
        failure = load_failure.LoadFailure("interrupted", "it was interrupted", exception=error)
    elif isinstance(error, SystemExit):
        code = "" if error.code is None else plain_data.text(plain_data.plain(error.code), 300)
        failure = load_failure.LoadFailure(
            "system_exit", "sys.exit(%s) was called" % code, exception=error
        )
    else:
        failure = load_failure.from_exception(error, None)
    return with_step(failure.as_data(), step)


def with_step(data, step):
    """A failure's data with the step that it happened in."""
    if step:
        data = dict(data, step=step)
    return data
