"""The native definitions API: what teams import from ``runner_shim``.

May import loading/, for what it says of a mistake.
"""

__all__ = []
