"""The console of a run: Dagster's own lines about each event are left out.

Owns that switch. A run's events are told as events; where a job names no loggers, Dagster prints each of
them to standard error as well, between the lines of user code. Loggers that a job or a config names stay
as they are, and critical lines are printed.
"""

import importlib
from contextlib import contextmanager

__all__ = ["without_events"]

_MODULES = (
    "dagster._core.execution.context_creation_job",
    "dagster._core.execution.context_creation_pipeline",
    "dagster.core.execution.context_creation_pipeline",
)


@contextmanager
def without_events():
    """While this lasts, the loggers of a run that names none print critical lines alone."""
    module = _module()
    original = getattr(module, "default_system_loggers", None)
    if original is None:
        yield
        return

    def default_system_loggers(*arguments):
        return [
            (definition, dict(config, log_level="CRITICAL"))
            for definition, config in original(*arguments)
        ]

    module.default_system_loggers = default_system_loggers
    try:
        yield
    finally:
        module.default_system_loggers = original


def _module():
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, AssertionError):  # 0.15's finder of old names asserts
            continue
    return None
