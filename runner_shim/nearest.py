"""Which of some names a mistyped one may have stood for: the shim's half of ``supervisor.nearest``."""

from .imported import standard

__all__ = ["nearest"]

# As supervisor/nearest.py has it.
_ALIKE = 0.7


def nearest(name, names):
    """The one of ``names`` that ``name`` was probably meant to be, or None."""
    close = standard("difflib").get_close_matches(name, sorted(names), 1, _ALIKE)
    return close[0] if close else None
